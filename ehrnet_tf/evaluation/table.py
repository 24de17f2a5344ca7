"""What `evaluate` measured, for people to read."""

from __future__ import annotations

from typing import Any

from ehrnet_tf.evaluation.breakdown import KINDS
from ehrnet_tf.evaluation.coco_ap import FIGURES


def figure_table(figures: dict[str, Any]) -> str:
    """The figures of `evaluate` as lines of text."""
    lines = [f"{figures['model']} ({figures['precision']}), {figures['images']} pictures, {figures['protocol']}"]
    lines.append("  ".join(f"{name} {figures[name]:.3f}" for name in FIGURES))
    stages = ", ".join(f"{stage} {ms:.1f}" for stage, ms in figures["ms"].items())
    lines.append(f"ms a picture: {stages} (reading and decoding in threads of their own)")
    if "AP_true_groups" in figures:
        groups, heatmaps = figures["AP_true_groups"], figures["AP_true_heatmaps"]
        lines.append(f"AP with true grouping {groups:.3f}, with true heat-maps {heatmaps:.3f}")
    if "keypoints" in figures:
        lines.append(f"\n{'keypoint':16} {'labelled':>8} {'AP':>6}  " + " ".join(f"{kind:>9}" for kind in KINDS))
        for name, row in figures["keypoints"].items():
            shares = " ".join(f"{row[kind]:9.3f}" for kind in KINDS)
            lines.append(f"{name:16} {row['labelled']:8} {row['AP']:6.3f}  {shares}")
        lines.append(f"\n{'people of':16} {'labelled':>8} {'AP':>6} {'AR':>6}")
        for name, row in figures["sizes"].items():
            lines.append(f"{name:16} {row['people']:8} {row['AP']:6.3f} {row['AR']:6.3f}")
    return "\n".join(lines)
