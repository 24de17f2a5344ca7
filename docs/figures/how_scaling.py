"""How one number scales the family: sizes from `models.scaling`, parameters and multiply-adds from built models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from how_style import GREY, INK, LEFT, PALE, PEOPLE, RIGHT, new, save

from ehrnet_tf.models.efficienthrnet import EfficientHRNet
from ehrnet_tf.models.scaling import scale, variant_name
from ehrnet_tf.models.statistics import PUBLISHED, count_macs

PHIS = tuple(np.linspace(-4, 0, 9))
PARTS = ("backbone", "transition", "stage", "head")  # what layer names begin with
PART_NAMES = ("backbone", "transitions", "fusion", "head")
PART_COLORS = (PEOPLE[0], GREY, PEOPLE[1], PEOPLE[2])


def measure(model: keras.Model) -> dict:
    """Counts an EfficientHRNet of fixed size.

    Returns:
      "phi", "parameters" (without batch norms' running statistics), "macs", and "parts": the multiply-adds of the
      layers whose names begin with each of `PARTS`.
    """
    macs = count_macs(model)
    return {
        "phi": scale(variant_name(model.name)).phi,
        "parameters": sum(math.prod(v.shape) for v in model.trainable_variables),
        "macs": sum(macs.values()),
        "parts": {part: sum(n for name, n in macs.items() if name.startswith(part)) for part in PARTS},
    }


def measure_family() -> list[dict]:
    """`measure` of all `PHIS`: builds them one by one, a minute on two cores."""
    return [measure(EfficientHRNet(f"H{phi:g}")) for phi in PHIS]


def draw(out: Path, measured: Sequence[dict]) -> Path:
    """Draws how_scaling.png."""
    figure, axes = new(5.6, nrows=2, ncols=3)
    fine = np.linspace(-4, 0, 201)
    steps = [scale(f"H{phi:.2f}") for phi in fine]
    published = [scale(name) for name in PUBLISHED]
    whole = [s.phi for s in published]

    _sizes(axes[0, 0], fine, steps, published)
    _widths(axes[0, 1], fine, steps, published)
    _depths(axes[0, 2], published)
    _counts(axes[1, 0], measured, "parameters", 1e6, 0, "Parameters, millions")
    _counts(axes[1, 1], measured, "macs", 1e9, 1, "Multiply-adds, billions")
    _shares(axes[1, 2], [row for row in measured if row["phi"] in whole])
    for plot in axes.flat:
        plot.set_xticks(whole, [s.name for s in published])
        plot.set_xlim(-4.5, 1.2 if plot is axes[0, 1] else 0.5)
    return save(figure, out / "how_scaling.png")


def _sizes(axes, fine, steps, published) -> None:
    axes.plot(fine, [s.input_size for s in steps], color=LEFT)
    axes.plot([s.phi for s in published], [s.input_size for s in published], "o", color=INK, ms=4)
    for s in published:
        axes.annotate(s.input_size, (s.phi, s.input_size), (0, 6), textcoords="offset points", ha="center")
    axes.set(title="Input side, pixels", ylim=(350, 545))


def _widths(axes, fine, steps, published) -> None:
    for branch in range(len(published[0].branch_widths)):
        widths = [s.branch_widths[branch] for s in published]
        axes.plot(fine, [s.branch_widths[branch] for s in steps], color=LEFT)
        axes.plot([s.phi for s in published], widths, "o", color=INK, ms=4)
        for s, width in zip(published, widths, strict=True):
            axes.annotate(width, (s.phi, width), (0, 5), textcoords="offset points", ha="center")
        axes.annotate(f"1/{4 * 2**branch}", (0.35, widths[0]), va="center", fontweight="bold")
    axes.set(title="Branch widths, channels", yscale="log", ylim=(10, 420), yticks=[])
    axes.minorticks_off()
    axes.spines["left"].set_visible(False)


def _depths(axes, published) -> None:
    blocks = [sum(stage.repeats for stage in s.stages) for s in published]
    modules = [sum(s.modules) for s in published]
    where = np.array([s.phi for s in published])
    for offset, counts, color, label in (
        (-0.2, blocks, PEOPLE[0], "backbone blocks"),
        (0.2, modules, PEOPLE[1], "fusion modules"),
    ):
        bars = axes.bar(where + offset, counts, 0.38, color=color, label=label)
        axes.bar_label(bars, padding=1)
    axes.legend(loc="upper left")
    axes.set(title="Depth", ylim=(0, 24))


def _counts(axes, measured, key, unit, index, title) -> None:
    phis = [row["phi"] for row in measured]
    values = [row[key] / unit for row in measured]
    axes.plot(phis, values, "-", color=LEFT, label="counted")
    inside = [(scale(name).phi, row[index]) for name, row in PUBLISHED.items()]
    axes.plot(*zip(*inside, strict=True), "x", color=RIGHT, ms=7, mew=1.8, label="published")
    for phi, value in zip(phis, values, strict=True):
        axes.plot(phi, value, "o", color=INK, ms=4 if phi % 1 == 0 else 2.5)
        if phi % 1 == 0:
            axes.annotate(f"{value:.1f}", (phi, value), (5, -11), textcoords="offset points", ha="center")
    axes.legend(loc="upper left")
    axes.set(title=title, ylim=(-0.1 * max(values), None))
    axes.grid(axis="y", color=PALE)


def _shares(axes, measured) -> None:
    bottom = np.zeros(len(measured))
    totals = np.array([row["macs"] for row in measured])
    for part, name, color in zip(PARTS, PART_NAMES, PART_COLORS, strict=True):
        shares = 100 * np.array([row["parts"][part] for row in measured]) / totals
        bars = axes.bar([row["phi"] for row in measured], shares, 0.7, bottom, color=color, label=name)
        axes.bar_label(bars, [f"{s:.0f}" for s in shares], label_type="center", color="white")
        bottom += shares
    axes.set(title="Where the multiply-adds are, %", ylim=(0, 142), yticks=[0, 50, 100])
    axes.legend(loc="upper center", ncols=2, columnspacing=0.8, handlelength=1.2)
