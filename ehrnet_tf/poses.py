"""The people found in one picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ehrnet_tf import drawing
from ehrnet_tf.errors import MissingExtraError, UsageError
from ehrnet_tf.keypoints import KeypointSet

if TYPE_CHECKING:
    import pandas

NO_ID = -1  # of a person whom a tracker cannot follow, having no keypoint


@dataclasses.dataclass(frozen=True, eq=False)
class Poses:
    """N people with K keypoints each.

    Attributes:
      keypoints: (N, K, 3) float32: x (right) and y (down) in pixels of the picture, in the continuous frame (the first
        pixel's centre is 0.5, 0.5), and score; an absent joint has score 0.
      scores: (N,) float32, one a person.
      keypoint_set: names the K keypoints.
      image_size: (height, width) of the picture, in pixels.
      ids: (N,) int64, who is who from picture to picture, as a Tracker gives them, NO_ID for someone without; or None.

    Raises:
      UsageError: the shapes do not belong together, or ids are no whole numbers from 0 (or NO_ID).
    """

    keypoints: np.ndarray
    scores: np.ndarray
    keypoint_set: KeypointSet
    image_size: tuple[int, int]
    ids: np.ndarray | None = None

    def __post_init__(self) -> None:
        keypoints = np.asarray(self.keypoints, np.float32)
        scores = np.asarray(self.scores, np.float32)
        expected = (len(scores) if scores.ndim == 1 else "N", len(self.keypoint_set), 3)
        if scores.ndim != 1 or keypoints.shape != expected:
            raise UsageError(f"keypoints {keypoints.shape}, scores {scores.shape}: give {expected} and (N,)")
        object.__setattr__(self, "keypoints", keypoints)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "image_size", (int(self.image_size[0]), int(self.image_size[1])))
        if self.ids is not None:
            object.__setattr__(self, "ids", _checked_ids(self.ids, len(scores)))

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, min_score: float) -> Poses:
        """The people whose score is at least ``min_score``, in the same order."""
        return self.select(np.flatnonzero(self.scores >= min_score))

    def select(self, people: Sequence[int] | np.ndarray) -> Poses:
        """The people with these indices, in the order given."""
        chosen = np.asarray(people, np.intp)
        ids = None if self.ids is None else self.ids[chosen]
        return dataclasses.replace(self, keypoints=self.keypoints[chosen], scores=self.scores[chosen], ids=ids)

    def to_coco(self, image_id: int, category_id: int = 1) -> list[dict[str, Any]]:
        """The people in COCO's results format.

        Args:
          image_id: the picture's id in the annotation file.
          category_id: the id that the annotation file gives the set's category (COCO: 1 for persons).

        Returns:
          one ``{"image_id", "category_id", "keypoints": [x, y, score, ...], "score"}`` a person, plain numbers:
          coordinates in pixels to 1/1000, scores to 6 decimals; and "track_id" for people who have an id.
        """
        return [
            {
                "image_id": image_id,
                "category_id": category_id,
                "keypoints": [number for joint in joints for number in joint],
                "score": score,
                **({} if person is None else {"track_id": person}),
            }
            for person, (joints, score) in zip(self._plain_ids(), self._rounded())
        ]

    def to_dict(self) -> dict[str, Any]:
        """The people as plain values for JSON, keypoints by name.

        Returns:
          ``{"image_size": [height, width], "keypoint_set": name, "category": name, "people": [{"score", "keypoints":
          {name: [x, y, score]}}]}``, rounded as in ``to_coco``; "people" are objects of the set's category, and begin
          with their "id" if they have one.
        """
        return {
            "image_size": list(self.image_size),
            "keypoint_set": self.keypoint_set.name,
            "category": self.keypoint_set.category,
            "people": [
                {
                    **({} if person is None else {"id": person}),
                    "score": score,
                    "keypoints": dict(zip(self.keypoint_set.names, joints)),
                }
                for person, (joints, score) in zip(self._plain_ids(), self._rounded())
            ],
        }

    def to_pandas(self) -> pandas.DataFrame:
        """The people as a table of N K rows: one a person and keypoint, in this order.

        Returns:
          a pandas.DataFrame with the columns ``person`` (int64, 0 to N - 1), ``id`` (Int64, <NA> without one),
          ``person_score`` (float32), ``keypoint`` (category of the names, in the set's order), ``x``, ``y`` (float32,
          pixels, NaN where the keypoint is absent) and ``score`` (float32). One row a person:
          ``table.pivot(index="person", columns="keypoint", values=["x", "y", "score"])``.

        Raises:
          MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtraError("pandas", None) from error

        names = list(self.keypoint_set.names)
        count, joints = len(self), self.keypoints.reshape(-1, 3)
        places = np.where(joints[:, 2:] > 0, joints[:, :2], np.float32(np.nan))
        ids = pd.array([pd.NA if i is None else i for i in self._plain_ids()], dtype="Int64")
        return pd.DataFrame(
            {
                "person": np.repeat(np.arange(count, dtype=np.int64), len(names)),
                "id": ids.repeat(len(names)),
                "person_score": np.repeat(self.scores, len(names)),
                "keypoint": pd.Categorical.from_codes(np.tile(np.arange(len(names)), count), names),
                "x": places[:, 0],
                "y": places[:, 1],
                "score": joints[:, 2],
            }
        )

    def draw(self, image: np.ndarray, min_score: float = 0.1, boxes: bool = False) -> np.ndarray:
        """Draws the people, with their ids if there are any, else their scores, on a copy of the picture.

        See ``drawing.draw_poses``.
        """
        labels = None if self.ids is None else ["" if i is None else str(i) for i in self._plain_ids()]
        return drawing.draw_poses(image, self.keypoints, self.keypoint_set, self.scores, min_score, labels, boxes)

    def _plain_ids(self) -> list[int | None]:
        """Each person's id as a Python int, None without one."""
        if self.ids is None:
            return [None] * len(self)
        return [None if person == NO_ID else person for person in self.ids.tolist()]

    def _rounded(self) -> list[tuple[list[list[float]], float]]:
        """Each person's K [x, y, score] and the person's score, as Python floats."""
        return [
            ([[round(x, 3), round(y, 3), round(s, 6)] for x, y, s in joints], round(score, 6))
            for joints, score in zip(self.keypoints.tolist(), self.scores.tolist())
        ]


def _checked_ids(given: Any, count: int) -> np.ndarray:
    """(N,) int64."""
    ids = np.asarray(given)
    if ids.shape != (count,):
        raise UsageError(f"ids {ids.shape}: give ({count},), one a person")
    if count and (ids.dtype.kind not in "iu" or ids.min() < NO_ID):
        raise UsageError(f"ids {ids.tolist()!s:.60}: give whole numbers from 0, or {NO_ID} for someone without an id")
    return ids.astype(np.int64)
