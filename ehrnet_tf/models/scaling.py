"""The family: how a name, a letter and the number phi, becomes every width, depth, module count and resolution.

    phi                             0     -1     -2     -3     -4
    input        512 + 32 phi       512   480    448    416    384
    backbone     width  x 1.1^phi, depth x 1.2^phi   (EfficientNet-B0's table below, rounded as EfficientNet does;
                                                     above 0 the multipliers of B1 ... B7)
    branch b     ceil(32 * 2^b * 1.2455^phi)
    modules      of the fusion stages 2, 3, 4: 1, then a table

    letter       H, the published network, or E ("edge"), the same scaled alike, of parts that integer and mobile
                 hardware runs well: `FAMILIES`
    B            the backbone alone, as a classifier: input 224 * 1.15^phi, last layer 1280 wide, scaled as the rest

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
CLASSIFIER_SIZE, CLASSIFIER_GROWTH, CLASSIFIER_WIDTH = 224, 1.15, 1280


@dataclasses.dataclass(frozen=True)
class Family:
    """What the letter decides: the defaults of the arguments of the same names of `EfficientHRNet`."""

    activation: str  # of the backbone
    squeeze_excite: bool
    width_divisor: int  # branch widths are rounded to multiples of it
    upsampling: str  # in the head: "transposed" convolution, or "resize" and convolution


FAMILIES = {
    "H": Family(activation="swish", squeeze_excite=True, width_divisor=1, upsampling="transposed"),
    "E": Family(activation="relu6", squeeze_excite=False, width_divisor=8, upsampling="resize"),
}


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
    """Everything that the name decides."""

    name: str
    phi: float
    family: Family
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


def parse(variant: str | float, letters: str, expected: str) -> tuple[str, float]:
    """The letter and the phi of a name; a number alone has the first letter.

    Raises:
      UsageError: the name is of another form; ``expected`` says what would do.
    """
    match = re.fullmatch(rf"([{letters}]?)([+-]?\d+(?:\.\d+)?)", str(variant).strip(), re.IGNORECASE)
    if not match:
        raise UsageError(f"variant '{variant}': expected {expected}")
    return match.group(1).upper() or letters[0], float(match.group(2)) + 0.0  # -0 is 0


def variant_name(model_name: str) -> str | None:
    """ "H-2" of a model named efficienthrnet_h-2, "B0" of compactefficientnet_b0; None of any other."""
    match = re.fullmatch(r"(?:efficienthrnet|compactefficientnet)_([hbe]-?[\d.]+)", model_name)
    return match and match.group(1).upper()


def backbone_stages(phi: float) -> tuple[Blocks, ...]:
    """EfficientNet-B0's stages, scaled."""
    width, depth = multipliers(phi)
    return tuple(
        dataclasses.replace(b, width=make_divisible(b.width * width), repeats=math.ceil(round(b.repeats * depth, 6)))
        for b in B0
    )


def scale(variant: str | float, width_divisor: int | None = None) -> Scale:
    """The dimensions of a variant.

    Args:
      variant: "H0" ... "H-4", "E0" ... "E-4", "H1" ..., "H-1.5", or phi itself as a number (family H). Any phi builds.
      width_divisor: branch widths are rounded by `make_divisible` to multiples of it; 1: as published; None: the
        family's.

    Raises:
      UsageError: the name is none of these, phi leaves no picture (input below 64), or the divisor is not positive.
    """
    letter, phi = parse(variant, "".join(FAMILIES), "H0, H-1 ... H-4, E0 ... E-4, or another H<phi> or E<phi>")
    input_size = 32 * round((512 + 32 * phi) / 32)
    if not 64 <= input_size <= 4096:
        raise UsageError(f"variant '{variant}': gives an input of {input_size} pixels; it must lie in 64 .. 4096")
    divisor = FAMILIES[letter].width_divisor if width_divisor is None else width_divisor
    if not isinstance(divisor, int) or divisor < 1:
        raise UsageError(f"width_divisor must be a positive integer, not {divisor}")
    branches = (math.ceil(round(BRANCH_WIDTH * 2**b * BRANCH_GROWTH**phi, 6)) for b in range(BRANCHES))
    return Scale(
        name=f"{letter}{phi:g}",
        phi=phi,
        family=FAMILIES[letter],
        input_size=input_size,
        stem_width=make_divisible(STEM_WIDTH * multipliers(phi)[0]),
        stages=backbone_stages(phi),
        branch_widths=tuple(make_divisible(width, divisor) for width in branches),
        modules=MODULES[min(max(round(-phi), 0), len(MODULES) - 1)],
    )


@dataclasses.dataclass(frozen=True)
class ClassifierScale:
    """Everything that the name of a `CompactEfficientNet` decides."""

    name: str
    phi: float
    input_size: int  # pixels
    stem_width: int
    stages: tuple[Blocks, ...]
    width: int  # of the last convolution


def classifier_scale(variant: str | float) -> ClassifierScale:
    """The dimensions of a classifier, "B0" ... "B-4" or any other B<phi>, or phi itself; see `scale`."""
    letter, phi = parse(variant, "B", "B0, B-1 ... B-4 or another B<phi>")
    input_size = round(CLASSIFIER_SIZE * CLASSIFIER_GROWTH**phi)
    if not 32 <= input_size <= 4096:
        raise UsageError(f"variant '{variant}': gives an input of {input_size} pixels; it must lie in 32 .. 4096")
    return ClassifierScale(
        name=f"{letter}{phi:g}",
        phi=phi,
        input_size=input_size,
        stem_width=make_divisible(STEM_WIDTH * multipliers(phi)[0]),
        stages=backbone_stages(phi),
        width=make_divisible(CLASSIFIER_WIDTH * multipliers(phi)[0]),
    )
