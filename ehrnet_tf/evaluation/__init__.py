"""Scoring models on COCO keypoint data."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "average_precision": "ehrnet_tf.evaluation.coco_ap",
    "breakdown": "ehrnet_tf.evaluation.breakdown",
    "draw_worst": "ehrnet_tf.evaluation.worst",
    "evaluate": "ehrnet_tf.evaluation.scoring",
    "match_people": "ehrnet_tf.evaluation.breakdown",
    "precision_recall": "ehrnet_tf.evaluation.precision_recall",
}
__all__ = ["average_precision", "breakdown", "draw_worst", "evaluate", "match_people", "precision_recall"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
