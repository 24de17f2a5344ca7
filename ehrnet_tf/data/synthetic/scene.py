"""One synthetic picture: background, people, foreground, photograph, and the true COCO annotations.

Every picture follows from (seed, split, index) alone. Coordinates are continuous pixels, x right, y down; the centre of
the top-left pixel is (0.5, 0.5).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from ehrnet_tf.data.synthetic.canvas import LABELS, Canvas, plain, random_colour, random_material, segment
from ehrnet_tf.data.synthetic.figures import SKINS, Figure
from ehrnet_tf.errors import UsageError

CROWD_SHARE, SMALL_SHARE = 0.05, 0.08
LEAST_AREA = 24
"""Visible pixels below which a figure is not annotated."""


def make_picture(
    seed: int, split: int, index: int, size: int = 256, max_people: int = 6, upright: bool = False
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Draws picture ``index`` of a split.

    Args:
      size: the longer side in pixels.
      max_people: 1 to ``max_people`` people are annotated one by one, each number equally often.
      upright: draw only people who stand or walk and face the viewer: easier to learn.

    Returns:
      (H, W, 3) uint8 RGB, and COCO annotations (without id and image_id).

    Raises:
      UsageError: an argument is out of range.
    """
    for name, value, least in (("seed", seed, 0), ("split", split, 0), ("index", index, 0), ("size", size, 64)):
        if value < least:
            raise UsageError(f"{name} {value}: must be {least} or more")
    if not 1 <= max_people <= 30:
        raise UsageError(f"max_people {max_people}: must be between 1 and 30")
    image, annotations, _ = _make(np.random.default_rng([seed, split, index]), size, max_people, upright)
    return image, annotations


def _make(
    rng: np.random.Generator, size: int, max_people: int, upright: bool
) -> tuple[np.ndarray, list[dict[str, Any]], list[Figure]]:
    """Picture, annotations, and the figures of the annotations that have keypoints, in the same order."""
    short = int(size * rng.uniform(0.62, 1))
    height, width = [(short, size), (size, short), (size, size)][rng.choice(3, p=[0.5, 0.35, 0.15])]
    light = np.array([rng.uniform(-0.7, 0.7), rng.uniform(-0.8, 0), 1.0])
    canvas = Canvas(_backdrop(rng, height, width), light / np.linalg.norm(light))
    for _ in range(rng.integers(5, 15)):
        _clutter(rng, canvas)
    if rng.random() < 0.6:
        canvas.image = cv2.GaussianBlur(canvas.image, (0, 0), rng.uniform(0.4, 2.2))

    crowd = _place_crowd(rng, canvas) if rng.random() < CROWD_SHARE else []
    count = int(rng.integers(1, max_people + 1))
    people = _place_people(rng, height, width, count, upright)
    small = count > 1 and rng.random() < SMALL_SHARE  # the farthest one is tiny and gets no keypoints
    if small:
        tiny = people[0]
        spot = rng.uniform(0.1, 0.9) * width, rng.uniform(0.3, 0.75) * height
        tiny.place(spot, rng.uniform(0.1, 0.17) * height, tiny.person)
    for figure in crowd + people:
        if figure in people and figure.pose == "sit":
            _seat(rng, canvas, figure)
        figure.draw(canvas)
    if rng.random() < 0.4:
        for _ in range(rng.integers(1, 3)):
            _foreground(rng, canvas)

    annotations, figures = [], []
    for figure in people:
        unlabelled = small and figure is people[0]
        annotation = _annotation(canvas.label, figure, not unlabelled)
        if annotation:
            annotations.append(annotation)
            figures.append(figure)
    if crowd and (annotation := _crowd_annotation(canvas.label, [figure.person for figure in crowd])):
        annotations.append(annotation)
    return _photograph(rng, canvas.image), annotations, figures


def _place_people(rng: np.random.Generator, height: int, width: int, count: int, upright: bool) -> list[Figure]:
    """``count`` placed figures, numbered from 1, the farthest first: those whose lowest point is highest up."""
    largest = np.interp(count, [1, 6], [0.98, 0.66])
    least = np.interp(count, [1, 6], [0.55, 0.36])
    span = rng.uniform(0.55, 1.0)  # a narrow span makes people overlap
    slots = rng.permutation((np.arange(count) + 0.5) / count - 0.5)
    placed = []
    for slot in slots:
        figure = Figure(rng, upright)
        low, high = figure.extent()
        stature = rng.uniform(least, largest) * height
        stature *= min(1.0, 1.05 * height / (stature * (high - low)[1]), 1.3 * width / (stature * (high - low)[0]))
        x = width * (0.5 + slot * span + rng.normal(0, 0.06)) - stature * (low + high)[0] / 2
        room = height - stature * (high - low)[1]
        y = room * rng.uniform(0.3, 1.0) - stature * low[1]
        if rng.random() < 0.15:
            y += rng.uniform(-0.15, 0.45) * stature
        placed.append((y + stature * high[1] + rng.normal(0, 0.03 * height), len(placed), figure, (x, y), stature))
    placed.sort(key=lambda item: item[:2])
    for number, (_, _, figure, origin, stature) in enumerate(placed, 1):
        figure.place(origin, stature, number)
    return [item[2] for item in placed]


def _place_crowd(rng: np.random.Generator, canvas: Canvas) -> list[Figure]:
    """A patch of many tiny figures, numbered from 100."""
    height, width = canvas.label.shape
    wide, tall = rng.uniform(0.3, 0.6) * width, rng.uniform(0.05, 0.15) * height
    x, y = rng.uniform(0.05, 0.35) * width, rng.uniform(0.25, 0.5) * height
    stature = rng.uniform(0.11, 0.17) * height
    spots = rng.uniform(0, 1, (int(rng.integers(14, 26)), 2)) * (wide, tall) + (x, y)
    crowd = []
    for number, spot in enumerate(sorted(spots, key=lambda spot: spot[1])):
        figure = Figure(rng)
        figure.place(spot, stature * rng.uniform(0.85, 1.15), 100 + number)
        crowd.append(figure)
    return crowd


def _annotation(label: np.ndarray, figure: Figure, labelled: bool) -> dict[str, Any] | None:
    """The COCO annotation of a drawn figure, None where next to nothing of it can be seen."""
    mask = (label // LABELS == figure.person).astype(np.uint8)
    area = int(mask.sum())
    if area < LEAST_AREA:
        return None
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outlines = [o[:, 0] + 0.5 for o in outlines if len(o) >= 3]
    if not outlines:
        return None
    points = figure.keypoints(label) if labelled else np.zeros((17, 3))
    flat = [int(v) if i % 3 == 2 else round(float(v), 2) for i, v in enumerate(points.ravel())]
    return {
        "segmentation": [[round(float(v), 2) for v in outline.ravel()] for outline in outlines],
        "num_keypoints": int((points[:, 2] > 0).sum()),
        "area": float(area),
        "iscrowd": 0,
        "keypoints": flat,
        "bbox": _box(mask),
        "category_id": 1,
    }


def _crowd_annotation(label: np.ndarray, persons: list[int]) -> dict[str, Any] | None:
    """One annotation for all figures of a crowd: the region round them less who stands before it."""
    person = label // LABELS
    own = (person >= persons[0]) & (person <= persons[-1])
    region = cv2.morphologyEx(own.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    mask = region * (own | (person == 0))
    if mask.sum() < LEAST_AREA:
        return None
    column_wise = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(column_wise, prepend=0, append=0 if column_wise[-1] == 0 else 2))
    counts = np.diff(edges, prepend=0).tolist()
    if column_wise[-1] == 0:
        counts.append(int(column_wise.size - edges[-1]))
    return {
        "segmentation": {"counts": counts, "size": list(label.shape)},
        "num_keypoints": 0,
        "area": float(mask.sum()),
        "iscrowd": 1,
        "keypoints": [0] * 51,
        "bbox": _box(mask),
        "category_id": 1,
    }


def _box(mask: np.ndarray) -> list[float]:
    """x, y, width, height of the set pixels of an (H, W) uint8 mask."""
    return [float(v) for v in cv2.boundingRect(mask)]


def _backdrop(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(H, W, 3) float32: a gradient, perhaps a ground, and noise at several scales."""
    corners = np.stack([[random_colour(rng) for _ in range(2)] for _ in range(2)])
    corners += np.float32(rng.uniform(0, 0.9)) * (corners.mean((0, 1)) - corners)
    image = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.6:
        horizon = int(rng.uniform(0.35, 0.85) * height)
        image[horizon:] = random_colour(rng)
    for cells in (4, 14, 50):
        if rng.random() < 0.75:
            channels = 3 if rng.random() < 0.25 else 1
            noise = rng.standard_normal((cells, int(cells * rng.uniform(0.3, 2)) + 1, channels), np.float32)
            noise = cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, channels)
            image += noise * np.float32(rng.uniform(5, 28))
    return image


def _clutter(rng: np.random.Generator, canvas: Canvas) -> None:
    """Paints one background object: a building, pole, ball, tree, or something that looks like a limb."""
    height, width = canvas.label.shape
    unit = max(height, width)
    spot = rng.uniform(-0.05, 1.05, 2) * (width, height)
    kind = rng.choice(["box", "pole", "ball", "tree", "limb", "limb"])
    if kind == "box":
        half = rng.uniform(0.02, 0.16) * unit
        end = spot + rng.uniform(0.05, 0.45) * unit * _heading(rng, rng.choice([0, 90]), 5)
        segment(canvas, spot, end, (half,) * 3, random_material(rng, 0.3), unit, flat=(30, 30), roundness=0.2)
    elif kind == "pole":
        half = rng.uniform(0.003, 0.02) * unit
        end = spot + rng.uniform(0.3, 1.2) * unit * _heading(rng, rng.choice([0, 90]), 12)
        segment(canvas, spot, end, (half,) * 3, random_material(rng), unit)
        if rng.random() < 0.4:  # a lamp or sign, which with the pole resembles a head on a body
            half = rng.uniform(0.015, 0.05) * unit
            segment(canvas, spot, spot + (0.01, 0.01), (half,) * 3, random_material(rng), unit)
    elif kind == "ball":
        half = rng.uniform(0.01, 0.09) * unit
        end = spot + rng.uniform(0, 0.08) * unit * _heading(rng)
        segment(canvas, spot, end, (half, half * rng.uniform(0.8, 1.3), half), random_material(rng), unit)
    elif kind == "tree":
        _branch(rng, canvas, spot, rng.normal(0, 10), rng.uniform(0.1, 0.25) * unit, rng.uniform(0.006, 0.02) * unit, 3)
    else:
        skin = rng.random() < 0.3
        material = plain(SKINS[rng.integers(len(SKINS))]) if skin else random_material(rng)
        angle, half = rng.uniform(0, 360), rng.uniform(0.01, 0.035) * unit
        for _ in range(rng.integers(1, 4)):
            end = spot + rng.uniform(0.05, 0.16) * unit * _heading(rng, angle)
            thin = half * rng.uniform(0.6, 1.0)
            segment(canvas, spot, end, (half, (half + thin) / 2, thin), material, unit)
            spot, half, angle = end, thin, angle + rng.normal(0, 60)


def _heading(rng: np.random.Generator, degrees: float | None = None, spread: float = 0.0) -> np.ndarray:
    """(2,) unit vector, clockwise from up; any direction without ``degrees``."""
    angle = np.radians(rng.uniform(0, 360) if degrees is None else degrees + rng.normal(0, 1) * spread)
    return np.array([np.sin(angle), -np.cos(angle)])


def _branch(
    rng: np.random.Generator, canvas: Canvas, spot: np.ndarray, angle: float, length: float, half: float, depth: int
) -> None:
    """Paints a branch with its twigs, and leaves at the ends of some."""
    end = spot + length * _heading(rng, angle)
    bark = plain(np.array([90, 70, 50]) * rng.uniform(0.4, 1.6))
    segment(canvas, spot, end, (half, half * 0.85, half * 0.7), bark, 100)
    if depth > 0:
        for _ in range(rng.integers(1, 4)):
            turned = angle + rng.normal(0, 35)
            _branch(rng, canvas, end, turned, length * rng.uniform(0.5, 0.85), half * 0.65, depth - 1)
    elif rng.random() < 0.5:
        half = length * rng.uniform(0.2, 0.5)
        green = plain(np.array([70, 110, 50]) * rng.uniform(0.5, 1.5))
        segment(canvas, end, end + (0.01, 0.01), (half,) * 3, green, 100)


def _seat(rng: np.random.Generator, canvas: Canvas, figure: Figure) -> None:
    """Paints a stool or box under a sitting figure, behind it."""
    half = figure.scale * rng.uniform(0.08, 0.14)
    top = figure.origin + figure.scale * np.array([0, 0.05])
    foot = top + figure.scale * np.array([0, rng.uniform(0.15, 0.26)])
    segment(canvas, top, foot, (half,) * 3, random_material(rng), figure.scale, flat=(30, 30), roundness=0.3)


def _foreground(rng: np.random.Generator, canvas: Canvas) -> None:
    """Paints one object in front of everybody: a bar, a box at the lower border, or a plant."""
    height, width = canvas.label.shape
    unit = max(height, width)
    spot = rng.uniform(0.05, 0.95, 2) * (width, height)
    kind = rng.choice(["bar", "box", "plant"])
    if kind == "bar":
        along, half = unit * _heading(rng, rng.choice([0, 90]), 8), rng.uniform(0.008, 0.025) * unit
        segment(canvas, spot - along, spot + along, (half,) * 3, random_material(rng), unit)
    elif kind == "box":
        half, tall = rng.uniform(0.05, 0.13) * unit, rng.uniform(0.12, 0.35) * height
        foot = np.array([spot[0], height * rng.uniform(0.85, 1.05)])
        top = foot - (0, tall)
        segment(canvas, foot, top, (half,) * 3, random_material(rng), unit, flat=(30, 30), roundness=0.3)
    else:
        leaf = np.array([60, 110, 50]) * rng.uniform(0.5, 1.6) + rng.normal(0, 15, 3)
        foot = np.array([spot[0], height * rng.uniform(0.8, 1.05)])
        for _ in range(rng.integers(8, 20)):
            start = foot + rng.normal(0, 0.02, 2) * unit
            end = start + rng.uniform(0.06, 0.22) * unit * _heading(rng, 0, 35)
            half = rng.uniform(0.008, 0.02) * unit
            tone = plain(np.clip(leaf * rng.uniform(0.7, 1.2), 0, 255))
            segment(canvas, start, end, (half * 0.4, half, half * 0.2), tone, unit)


def _photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: the painting as a camera gives it (blur, exposure, contrast, colour cast, sensor noise)."""
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.35, 0.9))
    gain = rng.uniform(0.75, 1.2) * rng.uniform(0.92, 1.08, 3)
    middle, offset = 118, rng.uniform(-18, 22)
    image = (image - middle) * gain.astype(np.float32) + np.float32(middle + offset)
    grain = rng.uniform(0, 8)
    image += rng.standard_normal(image.shape, np.float32) * np.float32(grain)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
