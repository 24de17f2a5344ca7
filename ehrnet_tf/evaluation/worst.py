"""Pictures of the worst misses: what was labelled beside what was found."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ehrnet_tf.contact_sheet import captioned, grid, write_picture
from ehrnet_tf.data.coco import Record
from ehrnet_tf.drawing import draw_poses
from ehrnet_tf.errors import UsageError
from ehrnet_tf.evaluation.breakdown import NEAR, Person
from ehrnet_tf.images import decode_image
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.runtime.letterbox import letterbox

_SIDE = 480  # pixels of a half picture
_COLUMNS = 2
_BOX = (230, 60, 60)
_SHOWN = 0.1  # the least score of people that are drawn


def draw_worst(
    people: Sequence[Person],
    results: Sequence[Mapping[str, Any]],
    records: Sequence[Record],
    keypoints: KeypointSet,
    count: int,
    folder: str | os.PathLike,
) -> list[Path]:
    """Draws the people that a model gets most wrong, and an overview of them all.

    In turn: a person missed (OKS below 0.5: the least similar first, then the largest), one with joints swapped with
    somebody else's (the most first), one with jitter (the most similarity lost by it first). Left what is labelled,
    right what was found; a box marks the person.

    Args:
      people: what `match_people` gave.
      results: COCO results.
      records: the pictures.
      keypoints: the set.
      count: how many pictures.
      folder: where to; made if it is missing. Files NN_KIND_PICTURE.jpg and overview.jpg; those of an earlier call are
        removed.

    Returns:
      The pictures' paths; fewer than ``count`` if less went wrong.

    Raises:
      UsageError: ``count`` below 1.
    """
    if count < 1:
        raise UsageError(f"worst {count}: must be at least 1")
    for kind in ("missed", "swapped", "jitter"):
        for earlier in Path(folder).glob(f"[0-9]*_{kind}_*.jpg"):
            earlier.unlink()
    (Path(folder) / "overview.jpg").unlink(missing_ok=True)
    pictures = {record.image_id: record for record in records}
    found: dict[Any, list[Mapping[str, Any]]] = {}
    for result in results:
        found.setdefault(result["image_id"], []).append(result)
    drawn, tiles = [], []
    for number, (kind, person) in enumerate(rank(people)[:count], start=1):
        record = pictures[person.image_id]
        path = Path(record.path)
        tile = _draw(decode_image(record.read(), record.path), kind, person, found.get(person.image_id, []), keypoints)
        tiles.append(tile)
        drawn.append(write_picture(Path(folder) / f"{number:02}_{kind}_{path.stem}.jpg", tile))
    if tiles:
        write_picture(Path(folder) / "overview.jpg", grid(tiles, _COLUMNS))
    return drawn


def rank(people: Sequence[Person]) -> list[tuple[str, Person]]:
    """The people that went wrong, worst first, the kinds "missed", "swapped", "jitter" in turn; nobody twice."""
    kinds: dict[str, list[tuple[Any, Person]]] = {"missed": [], "swapped": [], "jitter": []}
    for person in people:
        lost = sum(1 - s for s, kind in zip(person.similarity, person.kinds, strict=True) if kind == "jitter")
        if person.count("swap"):
            kinds["swapped"].append(((-person.count("swap"), person.oks), person))
        elif person.oks < NEAR:
            kinds["missed"].append(((round(person.oks, 3), -person.area), person))
        elif lost:
            kinds["jitter"].append((-lost, person))
    ranked = [[(kind, person) for _, person in sorted(each, key=lambda e: e[0])] for kind, each in kinds.items()]
    return [turn for turns in zip_longest(*ranked) for turn in turns if turn is not None]


def _draw(
    image: np.ndarray,
    kind: str,
    person: Person,
    results: Sequence[Mapping[str, Any]],
    keypoints: KeypointSet,
) -> np.ndarray:
    """The two halves side by side, below a caption."""
    labelled = person.labelled[None].copy()
    labelled[..., 2] = labelled[..., 2] > 0
    shown = [r["keypoints"] for r in results if r["score"] >= _SHOWN]
    found = np.array(shown, np.float32).reshape(-1, len(keypoints), 3)
    halves = []
    for points in (labelled, found):
        half, box = letterbox(draw_poses(image, points, keypoints), (_SIDE, _SIDE))
        left, top, width, height = person.box
        corners = box.to_input(np.array([[left, top], [left + width, top + height]]))
        cv2.rectangle(half, *np.rint(corners).astype(int).tolist(), _BOX, 2, cv2.LINE_AA)
        halves.append(half)
    counts = ", ".join(
        f"{person.count(k)} {k}" for k in ("good", "jitter", "inversion", "swap", "miss") if person.count(k)
    )
    text = f"{kind}: picture {person.image_id}, OKS {person.oks:.2f} ({counts}); left labelled, right found"
    return captioned(np.concatenate(halves, axis=1), text)
