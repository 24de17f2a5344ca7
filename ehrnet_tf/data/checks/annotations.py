"""A split's json as it stands, faults included, and what is wrong with its lists. `data.coco` reads the usable part."""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
from collections import Counter
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ehrnet_tf.data.checks.findings import Case, Findings
from ehrnet_tf.data.coco import Records, read_records
from ehrnet_tf.keypoints import KeypointSet


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """The pictures of a split and the P people in them (annotations that are no crowds), labelled or not.

    Attributes:
      name: "train2017".
      folder: where its pictures lie.
      keypoint_set: K keypoints.
      images: the json's pictures by id; of two with one id the last, as in training.
      crowds: annotations that mark crowds.
      people: the other annotations.
      points: (P, K, 3) float64: x, y in pixels, v, as in the json; zeros for a malformed list.
      boxes: (P, 4) float64: left, top, width, height in pixels; NaN where there is none.
      sizes: (P, 2): width and height of the person's picture, pixels.
    """

    name: str
    folder: Path
    keypoint_set: KeypointSet
    images: dict[Any, dict]
    crowds: list[dict]
    people: list[dict]
    points: np.ndarray
    boxes: np.ndarray
    sizes: np.ndarray

    @property
    def labelled(self) -> np.ndarray:
        """(P, K) bool."""
        return self.points[:, :, 2] > 0

    def picture(self, image: dict) -> str:
        """What a picture is called in a case."""
        return f"{self.name}/{image['file_name']}"

    def case(self, person: int, detail: str = "") -> Case:
        """A case that concerns the person of that index."""
        annotation = self.people[person]
        return Case(self.picture(self.images[annotation["image_id"]]), annotation.get("id"), detail)


def read_split(root: Path, name: str, keypoint_set: KeypointSet, limit: int | None, findings: Findings) -> Split:
    """Reads the first ``limit`` pictures of a split and their annotations, and notes what its lists have wrong.

    Raises:
      DataError: the split cannot be trained on, as `read_records` says.
    """
    records = _usable_records(root, name, keypoint_set, limit)
    data = json.loads(records.annotation_file.read_text(encoding="utf-8"))
    category = records.category_id
    listed = data["images"][:limit]
    images = {image["id"]: image for image in listed}
    annotations = [a for a in data["annotations"] if a.get("category_id", category) == category]
    _check_lists(name, listed, {image["id"] for image in data["images"]}, annotations, findings)

    annotations = [a for a in annotations if a.get("image_id") in images]
    crowds = [a for a in annotations if a.get("iscrowd")]
    people = [a for a in annotations if not a.get("iscrowd")]
    points = [_numbers(keypoint_set.labels(a), 3 * len(keypoint_set)) for a in people]
    split = Split(
        name=name,
        folder=root / name,
        keypoint_set=keypoint_set,
        images=images,
        crowds=crowds,
        people=people,
        points=np.nan_to_num(np.array(points).reshape(-1, len(keypoint_set), 3)),
        boxes=np.array([_numbers(a.get("bbox"), 4) for a in people]).reshape(-1, 4),
        sizes=np.array([[images[a["image_id"]][side] for side in ("width", "height")] for a in people]).reshape(-1, 2),
    )
    malformed = [i for i, values in enumerate(points) if np.isnan(values).any()]
    remedy = "correct the list or remove the annotation"
    findings.note("error", "keypoint_list", "keypoint lists malformed", remedy, map(split.case, malformed))
    return split


def _usable_records(root: Path, name: str, keypoint_set: KeypointSet, limit: int | None) -> Records:
    """What `read_records` finds usable; what it would log is found here in detail."""
    log = logging.getLogger("ehrnet_tf.data")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        return read_records(root, name, keypoint_set, limit=limit)
    finally:
        log.setLevel(level)


def _numbers(values: Any, count: int) -> np.ndarray:
    """``count`` float64; all NaN where ``values`` is no list of so many numbers."""
    try:
        return np.array(values, np.float64).reshape(count)
    except (TypeError, ValueError):
        return np.full(count, np.nan)


def _check_lists(name: str, images: list[dict], known: set[Any], annotations: list[dict], findings: Findings) -> None:
    """What is listed twice, and annotations that belong to no picture."""
    files = {image["id"]: f"{name}/{image['file_name']}" for image in images}
    cases = [Case(f"{name}/{file}", detail=f"{n} times") for file, n in _twice(i["file_name"] for i in images)]
    findings.note("error", "file_twice", "pictures listed twice", "keep one entry, with all people", cases)
    cases = [Case("", detail=f"{name}: id {i}, {n} times; the last counts") for i, n in _twice(i["id"] for i in images)]
    findings.note("error", "image_id_twice", "picture ids used twice", "number the pictures anew", cases)
    of_id = {annotation.get("id"): annotation for annotation in annotations}
    cases = [
        Case(files.get(of_id[i].get("image_id"), name), i, f"{n} times")
        for i, n in _twice(annotation.get("id") for annotation in annotations)
    ]
    findings.note("warning", "annotation_id_twice", "annotation ids used twice", "number the annotations anew", cases)
    cases = [
        Case("", a.get("id"), f"{name}: no picture has id {a.get('image_id')}")
        for a in annotations
        if a.get("image_id") not in known
    ]
    text = "annotations of unlisted pictures (ignored)"
    findings.note("warning", "annotation_without_picture", text, "list the picture or remove them", cases)


def _twice(values: Iterable[Hashable]) -> list[tuple[Any, int]]:
    """What occurs more than once, and how often."""
    return list(itertools.takewhile(lambda entry: entry[1] > 1, Counter(values).most_common()))
