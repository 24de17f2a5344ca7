"""Compound scaling: how one number, phi, becomes every width, depth, module count and resolution.

    phi                        0     -1     -2     -3     -4
    input        512 + 32 phi  512   480    448    416    384
    backbone     width  x 1.1^phi, depth x 1.2^phi   (EfficientNet-B0's table below, rounded as EfficientNet does;
                                                     above 0 the multipliers of B1 ... B7)
    branch b     ceil(32 * 2^b * 1.2455^phi)
    modules      of the fusion stages 2, 3, 4: 1, then a table

Sources: EfficientHRNet (arXiv 2007.08090) and its published configurations. The published multipliers are 1.1^phi and
1.2^phi cut or rounded to three digits; with the exact powers every rounded width and depth of the five published sizes
comes out the same. Above 0 the authors take EfficientNet's own multipliers. The growth rate 1.2455 (not the paper's
1.25) is the one that gives the published widths.
"""

from __future__ import annotations

import dataclasses
import math
import re

from ehrnet_tf.errors import UsageError

BRANCHES = 4
BRANCH_WIDTH = 32
BRANCH_GROWTH = 1.2455
# Fusion modules of stages 2, 3 and 4 at phi = 0, -1, -2, -3, -4; sizes beyond take the nearest.
MODULES = ((1, 4, 3), (1, 3, 3), (1, 2, 3), (1, 1, 3), (1, 1, 2))

STEM_WIDTH = 32


@dataclasses.dataclass(frozen=True)
class Blocks:
    """One EfficientNet stage: `repeats` MBConv blocks, the first with `stride`."""

    kernel: int
    repeats: int
    width: int
    expand: int
    stride: int
    tap: bool = False  # the stage's output feeds a branch


# EfficientNet-B0 (arXiv 1905.11946, table 1); the four taps lie at strides 4, 8, 16 and 32.
B0 = (
    Blocks(kernel=3, repeats=1, width=16, expand=1, stride=1),
    Blocks(kernel=3, repeats=2, width=24, expand=6, stride=2, tap=True),
    Blocks(kernel=5, repeats=2, width=40, expand=6, stride=2, tap=True),
    Blocks(kernel=3, repeats=3, width=80, expand=6, stride=2),
    Blocks(kernel=5, repeats=3, width=112, expand=6, stride=1, tap=True),
    Blocks(kernel=5, repeats=4, width=192, expand=6, stride=2),
    Blocks(kernel=3, repeats=1, width=320, expand=6, stride=1, tap=True),
)


# Width and depth multipliers of EfficientNet-B0 ... B7 (its published code; not powers).
B0_TO_B7 = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8), (1.6, 2.2), (1.8, 2.6), (2.0, 3.1))


@dataclasses.dataclass(frozen=True)
class Scale:
    """Everything that phi decides."""

    name: str
    phi: float
    input_size: int  # pixels
    stem_width: int
    stages: tuple[Blocks, ...]  # of the backbone
    branch_widths: tuple[int, ...]  # at strides 4, 8, 16, 32
    modules: tuple[int, int, int]  # of the fusion stages 2, 3, 4


def make_divisible(value: float, divisor: int = 8) -> int:
    """The multiple of ``divisor`` nearest to ``value``, but never below 90 % of it (EfficientNet's rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def multipliers(phi: float) -> tuple[float, float]:
    """Width and depth of the backbone over EfficientNet-B0's; between two sizes of EfficientNet, linear."""
    largest = len(B0_TO_B7) - 1
    if phi <= 0:
        return 1.1**phi, 1.2**phi
    if phi >= largest:
        width, depth = B0_TO_B7[largest]
        return width * 1.1 ** (phi - largest), depth * 1.2 ** (phi - largest)
    below = math.floor(phi)
    (width, depth), (width_above, depth_above) = B0_TO_B7[below : below + 2]
    part = phi - below
    return width + part * (width_above - width), depth + part * (depth_above - depth)


def scale(variant: str | float, width_divisor: int | None = None) -> Scale:
    """The dimensions of a variant.

    Args:
      variant: "H0" ... "H-4", "H1" ..., "H-1.5", or phi itself as a number. Any phi builds.
      width_divisor: if given, branch widths are rounded by `make_divisible` to multiples of it.

    Raises:
      UsageError: the name is none of these, phi leaves no picture (input below 64), or the divisor is not positive.
    """
    match = re.fullmatch(r"[Hh]?([+-]?\d+(?:\.\d+)?)", str(variant).strip())
    if not match:
        raise UsageError(f"variant '{variant}': expected H0, H-1, H-2, H-3, H-4 or another H<phi>")
    phi = float(match.group(1))
    input_size = 32 * round((512 + 32 * phi) / 32)
    if not 64 <= input_size <= 4096:
        raise UsageError(f"variant '{variant}': gives an input of {input_size} pixels; phi must lie in -14 .. 112")
    if width_divisor is not None and width_divisor < 1:
        raise UsageError(f"width_divisor must be a positive integer, not {width_divisor}")
    width, depth = multipliers(phi)
    stages = tuple(
        dataclasses.replace(b, width=make_divisible(b.width * width), repeats=math.ceil(round(b.repeats * depth, 6)))
        for b in B0
    )
    branches = [math.ceil(round(BRANCH_WIDTH * 2**b * BRANCH_GROWTH**phi, 6)) for b in range(BRANCHES)]
    if width_divisor:
        branches = [make_divisible(w, width_divisor) for w in branches]
    return Scale(
        name=f"H{phi:g}",
        phi=phi,
        input_size=input_size,
        stem_width=make_divisible(STEM_WIDTH * width),
        stages=stages,
        branch_widths=tuple(branches),
        modules=MODULES[min(max(round(-phi), 0), len(MODULES) - 1)],
    )
