"""How a picture goes through the network and its maps become people."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ehrnet_tf.errors import UsageError
from ehrnet_tf.runtime.runner import STRIDE

DECODERS = ("live", "exact")
SIZES = ("letterbox", "reference")


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Test-time options.

    Attributes:
      decoder: "live": `decoding.decode_live` on stage 2's maps, about a millisecond; "exact": the reference's
        procedure, at the input's full resolution.
      flip: the mirrored picture goes through the network as well, and heat-maps are averaged; only with "exact".
      scales: the sizes at which the picture goes through the network, in units of its nominal input; heat-maps are
        averaged, tags are taken at scale 1. More than one only with "exact", and 1 among them.
      sizes: "letterbox": the picture is fitted into the nominal input, the padding counts as empty. "reference": the
        reference's procedure: the short side becomes the nominal size, rounded up to a multiple of 64; the long side
        follows; the padding (less than 64 pixels) is searched as well.

    Raises:
      UsageError: an unknown value, or a combination that is not defined.
    """

    decoder: str = "live"
    flip: bool = False
    scales: tuple[float, ...] = (1.0,)
    sizes: str = "letterbox"

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", _check_scales(self.scales))
        for name, known in (("decoder", DECODERS), ("sizes", SIZES)):
            if getattr(self, name) not in known:
                raise UsageError(f"{name} '{getattr(self, name)}': expected one of {', '.join(known)}")
        if self.decoder == "live" and (self.flip or len(self.scales) > 1):
            raise UsageError("the live decoder takes neither the flip test nor several scales; use the exact one")

    def describe(self, size: tuple[int, int]) -> str:
        """One line for people: everything that was done, with the nominal input's (height, width)."""
        if self.sizes == "reference":
            where = f"reference sizes, short side {min(size)}, multiples of 64"
        else:
            inputs = (letterbox_size(size, scale) for scale in self.scales)
            where = f"letterbox to {', '.join(f'{width}x{height}' for height, width in inputs)}"
        flip = "flip" if self.flip else "no flip"
        scales = ", ".join(f"{s:g}" for s in self.scales)
        scale = "single scale" if self.scales == (1.0,) else f"scale{'s' * (len(self.scales) > 1)} {scales}"
        return f"{where}, {flip}, {scale}, {self.decoder} decoder"


def letterbox_size(nominal: tuple[int, int], scale: float) -> tuple[int, int]:
    """(height, width) of the letterbox at a scale: the multiples of 32 nearest to the scaled nominal input.

    Raises:
      UsageError: they would have another shape than the nominal input.
    """
    height, width = (max(1, round(side * scale / STRIDE)) * STRIDE for side in nominal)
    if height * nominal[1] != width * nominal[0]:
        raise UsageError(f"scale {scale:g}: of {nominal[1]}x{nominal[0]} it leaves no two multiples of {STRIDE}")
    return height, width


def _check_scales(scales: Sequence[float]) -> tuple[float, ...]:
    try:
        scales = tuple(float(s) for s in scales)
    except (TypeError, ValueError) as error:
        raise UsageError(f"scales {scales!r}: give a sequence of numbers") from error
    listed = ", ".join(f"{s:g}" for s in scales)
    if not scales or not all(0 < s < float("inf") for s in scales) or len(set(scales)) < len(scales):
        raise UsageError(f"scales {listed or 'none'}: give positive numbers, each once")
    if len(scales) > 1 and 1.0 not in scales:
        raise UsageError(f"scales {listed}: 1 must be among them, since tags are taken there")
    return scales
