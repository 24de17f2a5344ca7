"""Pictures in which a model is best and worst, what is labelled beside what was found, as JPEG files in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from ehrnet_tf.data.coco import Record
from ehrnet_tf.drawing import draw_poses
from ehrnet_tf.errors import DataError
from ehrnet_tf.evaluation.breakdown import KINDS, Person
from ehrnet_tf.evaluation.worst import rank
from ehrnet_tf.images import decode_image
from ehrnet_tf.keypoints import KeypointSet

SHOWN = 0.1  # the least score of people that are drawn
_SIDE = 420  # the longer one, pixels
_QUALITY = 80  # of the JPEG
_SCORES = 6  # that are listed
_BOX = (213, 94, 0)  # vermilion of Okabe and Ito
_KINDS = {
    "missed": "not found, or too far off",
    "swapped": "joints taken from somebody else",
    "jitter": "joints beside their places",
}


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture twice.

    Attributes:
      title: a few words.
      text: what is to be seen.
      labelled, found: JPEG files with the labelled people, and with those found.
      size: (height, width) of both, pixels.
      people: how many are drawn on each.
    """

    title: str
    text: str
    labelled: bytes
    found: bytes
    size: tuple[int, int]
    people: tuple[int, int]


def worst(
    people: Sequence[Person],
    results: Sequence[Mapping[str, Any]],
    records: Iterable[Record],
    keypoints: KeypointSet,
    count: int,
) -> dict[Any, Picture]:
    """The pictures of the people that a model gets most wrong, by image id, in the order of `evaluation.worst.rank`.

    Args:
      people: what `match_people` gave.
      results: COCO results.
      records: the pictures.
      keypoints: the set.
      count: how many pictures at most, and not more than half of those with people; those that cannot be read are left
        out.
    """
    painter = _Painter(results, records, keypoints)
    drawn: dict[Any, Picture] = {}
    count = min(count, (len({person.image_id for person in people}) + 1) // 2)
    for kind, person in rank(people):
        if len(drawn) == count:
            break
        if person.image_id in drawn:
            continue
        counts = ", ".join(f"{person.count(k)} {k}" for k in KINDS if person.count(k))
        text = f"{_KINDS[kind]}; the marked person's OKS {person.oks:.2f} ({counts})"
        picture = painter.paint(person.image_id, kind, text, person.box)
        if picture is not None:
            drawn[person.image_id] = picture
    return drawn


def best(
    people: Sequence[Person],
    results: Sequence[Mapping[str, Any]],
    records: Iterable[Record],
    keypoints: KeypointSet,
    count: int,
    without: Container[Any] = (),
) -> list[Picture]:
    """The pictures whose labelled people have the highest mean OKS.

    Of those that have as many labelled keypoints as the median picture or more; pictures in which nobody is found who
    is not labelled come first.

    Args:
      people, results, records, keypoints: as for `worst`.
      count: how many pictures at most.
      without: image ids that are left out.
    """
    painter = _Painter(results, records, keypoints)
    drawn: list[Picture] = []
    for image_id, oks, labelled in _ranked_best(people, painter):
        if len(drawn) == count:
            break
        if image_id in without:
            continue
        plural = "person" if labelled == 1 else "people"
        picture = painter.paint(image_id, f"OKS {oks:.2f}", f"mean over {labelled} labelled {plural}", None)
        if picture is not None:
            drawn.append(picture)
    return drawn


def _ranked_best(people: Sequence[Person], painter: _Painter) -> list[tuple[Any, float, int]]:
    """Image id, mean OKS and number of people of the pictures that can be among the best, the best first."""
    together: dict[Any, list[Person]] = {}
    for person in people:
        together.setdefault(person.image_id, []).append(person)
    if not together:
        return []
    joints = {number: sum(len(p.kinds) - p.count("") for p in group) for number, group in together.items()}
    enough = np.median(list(joints.values()))
    ranked = []
    for number, group in together.items():
        oks = sum(person.oks for person in group) / len(group)
        if joints[number] >= enough and oks > 0:
            unlabelled = max(0, len(painter.found(number)) - len(group))
            ranked.append((unlabelled, -oks, -joints[number], number, len(group)))
    ranked.sort(key=lambda entry: entry[:3])
    return [(number, -oks, count) for _, oks, _, number, count in ranked]


class _Painter:
    def __init__(self, results: Sequence[Mapping[str, Any]], records: Iterable[Record], keypoints: KeypointSet):
        self._records = {record.image_id: record for record in records}
        self._keypoints = keypoints
        self._found: dict[Any, list[Mapping[str, Any]]] = {}
        for result in results:
            if result["score"] >= SHOWN:
                self._found.setdefault(result["image_id"], []).append(result)

    def found(self, image_id: Any) -> Sequence[Mapping[str, Any]]:
        return self._found.get(image_id, ())

    def paint(self, image_id: Any, title: str, text: str, box: Sequence[float] | None) -> Picture | None:
        """A picture with people and, if given, a box (left, top, width, height); None if it cannot be read."""
        record = self._records[image_id]
        try:
            image = decode_image(record.read(), record.path)
        except DataError:
            return None
        height, width = image.shape[:2]
        scale = _SIDE / max(height, width)
        size = max(1, round(height * scale)), max(1, round(width * scale))
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        factor = np.array([size[1] / width, size[0] / height, 1], np.float32)
        labelled = np.array(record.keypoints, np.float32)
        labelled[..., 2] = labelled[..., 2] > 0
        people = self.found(image_id)
        found = np.array([p["keypoints"] for p in people], np.float32).reshape(-1, len(self._keypoints), 3)
        files = []
        for points in (labelled, found):
            half = draw_poses(image, points * factor, self._keypoints)
            if box is not None:
                left, top, across, down = box
                corners = np.array([[left, top], [left + across, top + down]]) * factor[:2]
                cv2.rectangle(half, *np.rint(corners).astype(int).tolist(), _BOX, 2, cv2.LINE_AA)
            files.append(_jpeg(half))
        scores = sorted((p["score"] for p in people), reverse=True)
        listed = ", ".join(f"{score:.2f}" for score in scores[:_SCORES]) + (" ..." if len(scores) > _SCORES else "")
        text += f"; found with scores {listed}" if scores else "; nobody found"
        return Picture(f"picture {image_id}: {title}", text, *files, size, (len(labelled), len(found)))


def _jpeg(image: np.ndarray) -> bytes:
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
