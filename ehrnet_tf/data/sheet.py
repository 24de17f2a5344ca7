"""A contact sheet of training samples: what the network sees, what it shall answer, and where no loss is taken."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import cv2
import numpy as np

from ehrnet_tf.config import Config
from ehrnet_tf.contact_sheet import CAPTION, captioned, grid, write_picture
from ehrnet_tf.data.coco import Record, Records, load_records
from ehrnet_tf.errors import UsageError

_COLUMNS = 2
_GAP = 12  # pixels between samples
_PANEL = 320  # pixels; the side of each of a sample's three pictures
_LINE = 4  # pixels between these
_TITLE = (
    "{}: evaluation input | training input with the joints of the tag loss, a colour a person | "
    "heat-map targets, a colour a keypoint; hatched: no loss"
)
_STRIPES = 8  # pixels from stripe to stripe
_FONT = (cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)  # face, scale, thickness
_SUFFIXES = (".jpg", ".jpeg", ".png")


def draw_sheet(
    path: str | os.PathLike, root: str | Path, split: str, config: Config, samples: int = 8, seed: int = 0
) -> Path:
    """Draws samples of the training pipeline, spread evenly over the split's pictures with people.

    Args:
      path: .jpg or .png file to write.
      root: see `ehrnet_tf.data.coco_dataset`.
      split: see `ehrnet_tf.data.coco_dataset`.
      config: the configuration that a training would have.
      samples: how many pictures.
      seed: of the augmentation.

    Returns:
      The path.

    Raises:
      UsageError: another suffix, or ``samples`` below 1.
      DataError: the split cannot be trained on.
    """
    check_suffix(path)
    if samples < 1:
        raise UsageError(f"samples {samples}: must be at least 1")
    records = load_records(root, split, config)
    peopled = [record for record in records if len(record.keypoints)] or list(records)
    chosen = [peopled[i] for i in np.unique(np.linspace(0, len(peopled) - 1, samples).round().astype(int))]
    tiles = [_tile(records, record, root, split, config, seed + n) for n, record in enumerate(chosen)]
    sheet = grid(tiles, min(_COLUMNS, len(tiles)), _GAP)
    sheet = np.concatenate([sheet, legend(records.keypoints.names, sheet.shape[1])])
    return write_picture(path, captioned(sheet, _TITLE.format(split)))


def check_suffix(path: str | os.PathLike) -> None:
    """Refuses what is neither a JPEG nor a PNG file's name.

    Raises:
      UsageError: see above.
    """
    if Path(path).suffix.lower() not in _SUFFIXES:
        raise UsageError(f"{path}: a sheet is a picture; end its name in .jpg or .png")


def _tile(records: Records, record: Record, root: str | Path, split: str, config: Config, seed: int) -> np.ndarray:
    """One picture three times, below its name."""
    from ehrnet_tf.data.pipeline import coco_dataset

    config = dataclasses.replace(config, train=dataclasses.replace(config.train, batch_size=1))
    alone = dataclasses.replace(records, items=(record,))

    def sample(training: bool) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
        images, targets, weights = next(iter(coco_dataset(root, split, config, training, seed, alone)))
        return (
            images[0].numpy(),
            {name: values[0].numpy() for name, values in targets.items()},
            {name: values[0].numpy() for name, values in weights.items()},
        )

    image, targets, weights = sample(training=True)
    people = tag_people(targets["tags"], targets["heatmaps_4"].shape)
    panels = [
        _fit(sample(training=False)[0]),
        draw_people(_fit(image), people, records.keypoints.skeleton, _PANEL / targets["heatmaps_4"].shape[0]),
        draw_targets(_fit(image), targets["heatmaps_2"], weights["heatmaps_2"]),
    ]
    text = f"{Path(record.path).name}: {len(people)} of {len(record.keypoints)} people in sight"
    return captioned(grid(panels, len(panels), _LINE), text)


def tag_people(tags: np.ndarray, shape: tuple[int, int, int]) -> list[dict[int, tuple[float, float]]]:
    """The joints that the tag loss reads.

    Args:
      tags: (max_people, K·n, 2) int32, see `targets.tag_joints`.
      shape: (H, W, K) of the tag map.

    Returns:
      For each person that has any: keypoint → x, y in map cells (continuous), the mean of its n cells' centres.
    """
    _, width, k = shape
    people = []
    for joints in tags:
        cells: dict[int, list[tuple[int, int]]] = {}
        for index in joints[joints[:, 1] > 0, 0].tolist():
            cells.setdefault(index % k, []).append((index // k % width, index // k // width))
        if cells:
            people.append({joint: tuple(np.mean(xy, axis=0) + 0.5) for joint, xy in cells.items()})
    return people


def draw_people(
    image: np.ndarray,
    people: list[dict[int, tuple[float, float]]],
    skeleton: tuple[tuple[int, int], ...],
    scale: float,
) -> np.ndarray:
    """A picture (H, W, 3) uint8 RGB with the joints of `tag_people`, ``scale`` pixels a cell, a colour a person."""
    result = image.copy()
    for joints, colour in zip(people, hues(len(people)).tolist(), strict=True):
        places = {k: np.rint(np.array(xy) * scale - 0.5).astype(int).tolist() for k, xy in joints.items()}
        for a, b in skeleton:
            if a in places and b in places:
                cv2.line(result, places[a], places[b], colour, 1, cv2.LINE_AA)
        for place in places.values():
            cv2.circle(result, place, 3, (0, 0, 0), cv2.FILLED, cv2.LINE_AA)
            cv2.circle(result, place, 2, colour, cv2.FILLED, cv2.LINE_AA)
    return result


def draw_targets(image: np.ndarray, heatmaps: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """A picture with its heat-map targets, a colour a keypoint, and hatching where no loss is taken.

    Args:
      image: (S, S, 3) uint8 RGB; shown grey and dark.
      heatmaps: (h, w, K) float32, 0..1.
      weights: (h, w) float32, 0 where no loss is taken.

    Returns:
      (S, S, 3) uint8 RGB.
    """
    side = image.shape[0]
    maps = cv2.resize(heatmaps.reshape(*heatmaps.shape[:2], -1), (side, side), interpolation=cv2.INTER_LINEAR)
    maps = maps.reshape(side, side, -1)
    free = cv2.resize(weights, (side, side), interpolation=cv2.INTER_NEAREST) == 0
    ground = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) * np.float32(0.5)
    rows, columns = np.indices(free.shape)
    striped = (rows + columns) % _STRIPES < 2
    ground[free] *= 0.5
    ground[free & striped] = (120, 60, 60)
    top = maps.max(axis=2, keepdims=True)
    colour = hues(maps.shape[2])[maps.argmax(axis=2)]
    return np.rint(ground * (1 - top) + colour * top).astype(np.uint8)


def legend(names: tuple[str, ...], width: int) -> np.ndarray:
    """The colours of the heat-map targets with the keypoints' names: (height, width, 3) uint8, as high as it takes."""
    places, x, y = [], 6, 0
    for name in names:
        length = 22 + cv2.getTextSize(name, *_FONT)[0][0]
        if x + length > width and x > 6:
            x, y = 6, y + CAPTION
        places.append((x, y + 18))
        x += length + 12
    strip = np.full((y + CAPTION, width, 3), 255, np.uint8)
    for (x, y), name, colour in zip(places, names, hues(len(names)).tolist(), strict=True):
        cv2.circle(strip, (x + 7, y - 5), 7, colour, cv2.FILLED, cv2.LINE_AA)
        cv2.putText(strip, name, (x + 18, y), _FONT[0], _FONT[1], (0, 0, 0), _FONT[2], cv2.LINE_AA)
    return strip


def hues(count: int) -> np.ndarray:
    """(count, 3) uint8 RGB: bright colours spread round the circle, neighbours far from each other."""
    hue = (np.arange(count) * 0.618034 % 1 * 180).astype(np.uint8)  # OpenCV: 0..179; the golden angle
    hsv = np.stack([hue, np.full_like(hue, 200), np.full_like(hue, 255)], axis=1)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0] if count else np.zeros((0, 3), np.uint8)


def _fit(image: np.ndarray) -> np.ndarray:
    method = cv2.INTER_AREA if image.shape[0] > _PANEL else cv2.INTER_LINEAR
    return cv2.resize(image, (_PANEL, _PANEL), interpolation=method)
