"""Reads a COCO keypoint data set: ``ROOT/annotations/person_keypoints_SPLIT.json`` and the pictures in ``ROOT/SPLIT/``.

The json is checked, never trusted: what makes the whole file unusable is a `DataError`, what concerns one picture or
keypoint is counted, logged and skipped. No tensorflow here.

Frame: continuous, x right, y down; pixel (row i, column j) covers [j, j+1) x [i, i+1). The json's numbers are taken as
such coordinates unchanged.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ehrnet_tf import keypoints as keypoint_sets
from ehrnet_tf.config import Config
from ehrnet_tf.data.pictures import PictureError
from ehrnet_tf.data.regions import region_mask_png
from ehrnet_tf.data.shards import Place, open_pictures
from ehrnet_tf.errors import DataError
from ehrnet_tf.keypoints import KeypointSet

_LOG = logging.getLogger("ehrnet_tf.data")
_LOGGED = 20  # skipped pictures that the log names; `Records.skipped` has all


@dataclasses.dataclass(frozen=True)
class Record:
    """One picture and the P people in it that have at least one labelled keypoint.

    Attributes:
      image_id: the json's id.
      path: the picture's file; in shards, a name for messages.
      width, height: of the picture in pixels.
      keypoints: (P, K, 3) float32: x, y in picture pixels and v (0 unlabelled, 1 labelled but hidden, 2 visible).
      areas: (P,) float32, square pixels, as annotated; where they are not, the boxes' times the set's ``area_per_box``.
      boxes: (P, 4) float32: left, top, width, height in pixels.
      mask: a PNG picture of (height, width) uint8, 0 where people are unlabelled (crowds, people without keypoints)
        and 255 elsewhere; empty where there is no such region.
      place: where the picture's bytes are.
      file_name: the picture's in the json.
    """

    image_id: int
    path: str
    width: int
    height: int
    keypoints: np.ndarray
    areas: np.ndarray
    boxes: np.ndarray
    mask: bytes
    place: Place
    file_name: str = ""

    def read(self) -> bytes:
        """The picture's file, still encoded.

        Raises:
          DataError: it cannot be read.
        """
        return self.place.read()


@dataclasses.dataclass(frozen=True)
class Records(Sequence):
    """The usable pictures of a split, in the json's order.

    Attributes:
      annotation_file: the json they come from.
      keypoints: the keypoint set.
      items: one `Record` a picture.
      skipped: path of every picture left out (``annotation ID`` where there is none) → the reason, one line.
      category_id: the json's id of the set's category.
    """

    annotation_file: Path
    keypoints: KeypointSet
    items: tuple[Record, ...]
    skipped: dict[str, str]
    category_id: Any

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]

    def __iter__(self) -> Iterator[Record]:
        return iter(self.items)


def load_records(root: str | Path, split: str, config: Config, training: bool = True) -> Records:
    """`read_records` with the keypoint set and the picture limit (``data.limit``, ``data.val_limit``) of ``config``."""
    limit = config.data.limit if training else config.data.val_limit
    return read_records(root, split, config.model.keypoints, annotated_only=training, limit=limit)


def read_records(
    root: str | Path,
    split: str,
    keypoints: str | Path | KeypointSet = "coco",
    annotated_only: bool = False,
    limit: int | None = None,
) -> Records:
    """Reads and checks a split.

    Counted and logged under "ehrnet_tf.data", not fatal: a picture without a file, a truncated file or one that is no
    picture or has another size than the json says, an annotation of an unknown picture, a keypoint with v > 0 outside
    its picture (taken as v = 0).

    Args:
      root: the data set's folder.
      split: "train2017": names the json and the folder of pictures.
      keypoints: keypoint set, name or YAML file; its category is the one that is read.
      annotated_only: leave out pictures without any annotation, as the reference does for training.
      limit: stop after so many usable pictures.

    Raises:
      DataError: the folder or the json is missing, broken, empty or not COCO keypoints, or no picture is usable.
      UsageError: there is no such keypoint set.
    """
    keypoint_set = keypoint_sets.load(keypoints)
    root = Path(root)
    path = _annotation_file(root, split)
    data = _read_json(path)
    pictures = open_pictures(root, split)
    category = _find_category(data["categories"], keypoint_set, path)
    images = _check_images(data["images"], path)

    skipped: dict[str, str] = {}
    by_image: dict[Any, list[dict]] = {image_id: [] for image_id in images}
    for annotation in data["annotations"]:
        if not isinstance(annotation, dict):
            raise DataError(f"{path}: annotations holds {annotation!r:.40}, not a mapping; export the file again")
        if annotation.get("category_id", category) != category:
            continue
        if isinstance(annotation.get("image_id"), (int, str)) and annotation["image_id"] in by_image:
            by_image[annotation["image_id"]].append(annotation)
        else:
            image_id = annotation.get("image_id")
            skipped[f"annotation {annotation.get('id')}"] = f"{path.name} lists no picture with id {image_id}"

    records: list[Record] = []
    outside = 0
    for image_id, image in images.items():
        if limit is not None and len(records) >= limit:
            break
        if annotated_only and not by_image[image_id]:
            continue
        try:
            file, place, size = pictures.find(image["file_name"])
        except PictureError as error:
            skipped[str(root / split / image["file_name"])] = str(error)
            continue
        if size != (image["width"], image["height"]):
            skipped[file] = "is {}x{} pixels, the json says {}x{}".format(*size, image["width"], image["height"])
            continue
        record, lost = _build_record(image_id, image, file, place, by_image[image_id], keypoint_set, path)
        records.append(record)
        outside += lost

    _report(path, len(records), skipped, outside)
    if not records:
        reason = next(iter(skipped.items()), ("no picture", "has annotations"))
        raise DataError(f"{path}: no usable picture in {pictures.home} ({' '.join(reason)}); check the pictures there")
    return Records(path, keypoint_set, tuple(records), skipped, category)


def _annotation_file(root: Path, split: str) -> Path:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; it must hold annotations/person_keypoints_{split}.json and {split}/")
    path = root / "annotations" / f"person_keypoints_{split}.json"
    if not path.is_file():
        prefix = "person_keypoints_"
        splits = sorted(p.stem.removeprefix(prefix) for p in (root / "annotations").glob(f"{prefix}*.json"))
        there = f"the splits here are: {', '.join(splits)}" if splits else "the folder holds no splits at all"
        raise DataError(f"{path}: no such annotation file; {there}")
    return path


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: not readable as JSON ({reason}); copy or export the file again") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(data, dict) or not isinstance(data.get(key), list):
            raise DataError(f"{path}: has no list '{key}'; a COCO keypoint file is needed")
    if not data["images"]:
        raise DataError(f"{path}: lists no pictures; an empty split cannot be used")
    return data


def _find_category(categories: list, keypoint_set: KeypointSet, path: Path) -> Any:
    """The id of the category that carries the keypoints."""
    names = []
    for category in categories:
        if isinstance(category, dict) and "id" in category and isinstance(category.get("keypoints"), list):
            if category.get("name") == keypoint_set.category:
                _check_names(category["keypoints"], keypoint_set, path)
                return category["id"]
            names.append(str(category.get("name")))
    if names:
        raise DataError(
            f"{path}: no category '{keypoint_set.category}' with keypoints, only {', '.join(names)}; name one of them "
            f"as 'category' of the keypoint set"
        )
    raise DataError(f"{path}: no category lists keypoints; a COCO keypoint file is needed, not instances")


def _check_names(names: list, keypoint_set: KeypointSet, path: Path) -> None:
    """A category must have the set's number of keypoints, and, if it has the very names, their order."""
    if len(keypoint_set.annotation_keys) > 1:
        return  # such a category names the keypoints of the first list alone
    category, remedy = f"{path}: category '{keypoint_set.category}'", "give the matching set as model.keypoints"
    if len(names) != len(keypoint_set):
        raise DataError(
            f"{category} names {len(names)} keypoints, the set '{keypoint_set.name}' {len(keypoint_set)}; {remedy}"
        )
    for there, here in zip(names, keypoint_set.names, strict=True):
        if there != here and set(map(str, names)) == set(keypoint_set.names):
            raise DataError(
                f"{category} has '{there}' where the set '{keypoint_set.name}' has '{here}': the same keypoints in "
                f"another order; {remedy}"
            )


def _check_images(images: list, path: Path) -> dict[Any, dict]:
    """The json's pictures by id."""
    checked = {}
    for image in images:
        if not isinstance(image, dict) or not isinstance(image.get("id"), (int, str)):
            raise DataError(f"{path}: images holds {image!r:.60}, which has no id; export the file again")
        sized = all(isinstance(image.get(k), int) and image[k] > 0 for k in ("width", "height"))
        if not sized or not isinstance(image.get("file_name"), str):
            raise DataError(f"{path}: picture {image['id']} needs file_name and positive integers width and height")
        checked[image["id"]] = image
    return checked


def _build_record(
    image_id: Any,
    image: dict,
    file: str,
    place: Place,
    annotations: list[dict],
    keypoint_set: KeypointSet,
    path: Path,
) -> tuple[Record, int]:
    """The record of a picture, and how many labelled keypoints lay outside it."""
    width, height = image["width"], image["height"]
    people, areas, boxes, regions = [], [], [], []
    outside = 0
    for annotation in annotations:
        box = _box(annotation)
        if not annotation.get("iscrowd"):
            points = _keypoints(annotation, keypoint_set, path)
            x, y = points[:, 0], points[:, 1]
            lost = (points[:, 2] > 0) & ~((x >= 0) & (x < width) & (y >= 0) & (y < height))
            points[lost] = 0
            outside += int(lost.sum())
            if (points[:, 2] > 0).any():
                people.append(points)
                areas.append(_number(annotation.get("area"), box[2] * box[3] * keypoint_set.area_per_box))
                boxes.append(box)
                continue
        regions.append((annotation.get("segmentation"), box))
    record = Record(
        image_id=image_id,
        path=file,
        place=place,
        file_name=image["file_name"],
        width=width,
        height=height,
        keypoints=np.array(people, np.float32).reshape(-1, len(keypoint_set), 3),
        areas=np.array(areas, np.float32),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        mask=region_mask_png(regions, height, width),
    )
    return record, outside


def _keypoints(annotation: dict, keypoint_set: KeypointSet, path: Path) -> np.ndarray:
    """(K, 3) float32; whatever has v = 0 is all zeros."""
    k, values = len(keypoint_set), keypoint_set.labels(annotation)
    try:
        points = np.array(values, np.float32).reshape(k, 3)
    except (TypeError, ValueError):
        held = f"{len(values)} values" if isinstance(values, list) else type(values).__name__
        raise DataError(
            f"{path}: annotation {annotation.get('id')}: {' + '.join(keypoint_set.annotation_keys)} must be {3 * k} "
            f"numbers ({k} times x, y, v), not {held}; correct it or remove the annotation"
        ) from None
    points[~(points[:, 2] > 0)] = 0
    return points


def _number(value: Any, default: float) -> float:
    return float(value) if isinstance(value, (int, float)) else default


def _box(annotation: dict) -> tuple[float, ...]:
    """Left, top, width, height; zeros where the annotation has no usable box."""
    box = annotation.get("bbox")
    if isinstance(box, list) and len(box) == 4 and all(isinstance(b, (int, float)) for b in box):
        return tuple(box) if np.isfinite(box).all() else (0.0,) * 4
    return (0.0,) * 4


def _report(path: Path, usable: int, skipped: dict[str, str], outside: int) -> None:
    lines = [f"\n  {name}: {reason}" for name, reason in skipped.items()]
    if len(lines) > _LOGGED:
        lines[_LOGGED:] = [f"\n  and {len(lines) - _LOGGED} more"]
    level = logging.WARNING if skipped or outside else logging.DEBUG
    message = "%s: %d pictures; skipped %d pictures or annotations; %d keypoints outside their picture ignored%s"
    _LOG.log(level, message, path, usable, len(skipped), outside, "".join(lines))
