"""What the synthetic pictures are painted on and with: a labelled canvas, materials, shaded tapered segments.

Pictures have continuous pixel coordinates, x right, y down; the centre of the top-left pixel is (0.5, 0.5).
"""

from __future__ import annotations

import dataclasses
from typing import Sequence, Union

import numpy as np

LABELS = 32
"""A canvas label is ``person * LABELS + part``; 0 is whatever is no person."""

Vector = Union[Sequence[float], np.ndarray]


class Canvas:
    """A picture being painted.

    Attributes:
      image: (H, W, 3) float32, RGB, 0..255.
      label: (H, W) int32, which part of which person each pixel shows.
      light: (3,) float, unit vector towards the light (figure frame).
    """

    def __init__(self, image: np.ndarray, light: np.ndarray):
        self.image = image
        self.label = np.zeros(image.shape[:2], np.int32)
        self.light = light

    def window(self, low: Vector, high: Vector) -> tuple[slice, slice, np.ndarray, np.ndarray] | None:
        """Row and column slices of the box low..high (x, y), and its pixel centres x (1, w) and y (h, 1), float32."""
        height, width = self.label.shape
        x0, y0 = max(0, int(low[0]) - 1), max(0, int(low[1]) - 1)
        x1, y1 = min(width, int(high[0]) + 2), min(height, int(high[1]) + 2)
        if x0 >= x1 or y0 >= y1:
            return None
        xs = np.arange(x0, x1, dtype=np.float32)[None] + np.float32(0.5)
        ys = np.arange(y0, y1, dtype=np.float32)[:, None] + np.float32(0.5)
        return slice(y0, y1), slice(x0, x1), xs, ys

    def paint(self, rows: slice, columns: slice, alpha: np.ndarray, colour: np.ndarray, label: int) -> None:
        """Lays colour (h, w, 3; used up) over a window with opacity alpha (h, w); labels what it covers by half."""
        region = self.image[rows, columns]
        colour -= region
        colour *= alpha[..., None]
        region += colour
        self.label[rows, columns][alpha > 0.5] = label


@dataclasses.dataclass(frozen=True)
class Material:
    """A colour or a pattern of two colours.

    Attributes:
      kind: one of ``Material.KINDS``.
      first, second: (3,) float32 RGB.
      period: of the pattern, in the unit of the coordinates given to ``colours``.
      table: (64, 64) float32 noise in 0..1.
    """

    KINDS = ("folds", "hoops", "stripes", "checks", "dots", "noise", "halves")

    kind: str
    first: np.ndarray
    second: np.ndarray
    period: float
    table: np.ndarray

    def colours(self, along: np.ndarray, across: np.ndarray) -> np.ndarray:
        """(h, w, 3) float32 RGB at the coordinates (h, w) along and across the painted segment."""
        turn = np.float32(2 * np.pi / self.period)
        if self.kind == "hoops":
            weight = np.clip(0.5 + 2 * np.sin(along * turn), 0, 1)
        elif self.kind == "stripes":
            weight = np.clip(0.5 + 2 * np.sin(across * turn), 0, 1)
        elif self.kind == "checks":
            weight = np.clip(0.5 + 3 * np.sin(along * turn) * np.sin(across * turn), 0, 1)
        elif self.kind == "dots":
            weight = np.clip(3 * np.sin(along * turn) * np.sin(across * turn) - 1, 0, 1)
        elif self.kind == "noise":
            step = np.float32(6 / self.period)
            weight = self.table[(along * step).astype(np.int32) & 63, (across * step).astype(np.int32) & 63]
        elif self.kind == "halves":
            weight = (along > self.period).astype(np.float32)
        else:
            weight = 0.5 + 0.5 * np.sin((along + 0.6 * across) * turn)
        colour = weight[..., None] * (self.second - self.first)
        colour += self.first
        return colour


_NO_TABLE = np.zeros((1, 1), np.float32)


def plain(colour: Vector) -> Material:
    """A material of nearly one colour (3,)."""
    colour = np.asarray(colour, np.float32)
    return Material("folds", colour, colour * np.float32(0.92), 0.11, _NO_TABLE)


def random_colour(rng: np.random.Generator) -> np.ndarray:
    """(3,) float32 RGB: grey to vivid, dark to light."""
    grey = rng.uniform(20, 235)
    return np.clip(grey + rng.uniform(0, 1) ** 1.7 * rng.uniform(-150, 150, 3), 5, 250).astype(np.float32)


def random_material(rng: np.random.Generator, plain_share: float = 0.45) -> Material:
    """A cloth: one colour with folds, or a pattern."""
    first = random_colour(rng)
    if rng.random() < plain_share:
        return Material("folds", first, first * np.float32(rng.uniform(0.78, 0.96)), rng.uniform(0.06, 0.25), _NO_TABLE)
    table = rng.random((64, 64), np.float32)
    return Material(str(rng.choice(Material.KINDS)), first, random_colour(rng), rng.uniform(0.03, 0.12), table)


def segment(
    canvas: Canvas,
    start: Vector,
    end: Vector,
    radii: Sequence[float],
    material: Material,
    scale: float,
    label: int = 0,
    flat: tuple[float, float] = (1.0, 1.0),
    roundness: float = 1.0,
) -> None:
    """Paints a shaded tapered capsule: limbs, torsos, poles, balls, boxes.

    Args:
      start, end: (2,) pixels, the axis.
      radii: half-widths in pixels at the start, the middle and the end.
      scale: pixels a unit of the material's coordinates.
      flat: how much the caps at start and end are flattened (1 is round, 30 nearly square).
      roundness: 0 is evenly lit, 1 lit like a cylinder.
    """
    (ax, ay), (bx, by) = start[:2], end[:2]
    reach = max(radii) + 1
    window = canvas.window((min(ax, bx) - reach, min(ay, by) - reach), (max(ax, bx) + reach, max(ay, by) + reach))
    if window is None:
        return
    rows, columns, xs, ys = window
    length = max(float(np.hypot(bx - ax, by - ay)), 1e-2)
    ux, uy = (bx - ax) / length, (by - ay) / length
    px, py = xs - np.float32(ax), ys - np.float32(ay)
    along = px * np.float32(ux) + py * np.float32(uy)
    across = py * np.float32(ux) - px * np.float32(uy)
    position = np.minimum(np.maximum(along, 0), np.float32(length))
    beyond = (along - position) * np.where(along < 0, np.float32(flat[0]), np.float32(flat[1]))
    distance = np.sqrt(across * across + beyond * beyond)
    t = position * np.float32(1 / length)
    r0, r1, r2 = radii
    radius = np.float32(r0) + t * (np.float32(4 * r1 - 3 * r0 - r2) + t * np.float32(2 * r0 - 4 * r1 + 2 * r2))
    alpha = np.minimum(np.maximum(radius - distance + np.float32(0.5), 0), 1)
    inverse = 1 / np.maximum(radius, np.float32(0.5))
    slope = np.minimum(distance * inverse, 1)
    side = float(canvas.light[1] * ux - canvas.light[0] * uy)
    lit = np.sqrt(1 - slope * slope) * np.float32(canvas.light[2]) + across * inverse * np.float32(side)
    shade = (1 - 0.5 * roundness) + np.float32(0.62 * roundness) * np.maximum(lit, 0)
    colour = material.colours(along * np.float32(1 / scale), across * np.float32(1 / scale))
    colour *= shade[..., None]
    canvas.paint(rows, columns, alpha, colour, label)
