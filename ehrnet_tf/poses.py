"""The people found in one picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ehrnet_tf import drawing
from ehrnet_tf.errors import UsageError
from ehrnet_tf.keypoints import KeypointSet


@dataclasses.dataclass(frozen=True, eq=False)
class Poses:
    """N people with K keypoints each.

    Attributes:
      keypoints: (N, K, 3) float32: x (right) and y (down) in pixels of the picture, in the continuous frame (the first
        pixel's centre is 0.5, 0.5), and score; an absent joint has score 0.
      scores: (N,) float32, one a person.
      keypoint_set: names the K keypoints.
      image_size: (height, width) of the picture, in pixels.

    Raises:
      UsageError: the shapes do not belong together.
    """

    keypoints: np.ndarray
    scores: np.ndarray
    keypoint_set: KeypointSet
    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        keypoints = np.asarray(self.keypoints, np.float32)
        scores = np.asarray(self.scores, np.float32)
        expected = (len(scores) if scores.ndim == 1 else "N", len(self.keypoint_set), 3)
        if scores.ndim != 1 or keypoints.shape != expected:
            raise UsageError(f"keypoints {keypoints.shape}, scores {scores.shape}: give {expected} and (N,)")
        object.__setattr__(self, "keypoints", keypoints)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "image_size", (int(self.image_size[0]), int(self.image_size[1])))

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, min_score: float) -> Poses:
        """The people whose score is at least ``min_score``, in the same order."""
        return self.select(np.flatnonzero(self.scores >= min_score))

    def select(self, people: Sequence[int] | np.ndarray) -> Poses:
        """The people with these indices, in the order given."""
        chosen = np.asarray(people, np.intp)
        return dataclasses.replace(self, keypoints=self.keypoints[chosen], scores=self.scores[chosen])

    def to_coco(self, image_id: int, category_id: int = 1) -> list[dict[str, Any]]:
        """The people in COCO's results format.

        Args:
          image_id: the picture's id in the annotation file.
          category_id: the id that the annotation file gives the set's category (COCO: 1 for persons).

        Returns:
          one ``{"image_id", "category_id", "keypoints": [x, y, score, ...], "score"}`` a person, plain numbers:
          coordinates in pixels to 1/1000, scores to 6 decimals.
        """
        return [
            {
                "image_id": image_id,
                "category_id": category_id,
                "keypoints": [number for joint in joints for number in joint],
                "score": score,
            }
            for joints, score in self._rounded()
        ]

    def to_dict(self) -> dict[str, Any]:
        """The people as plain values for JSON, keypoints by name.

        Returns:
          ``{"image_size": [height, width], "keypoint_set": name, "category": name, "people": [{"score", "keypoints":
          {name: [x, y, score]}}]}``, rounded as in ``to_coco``; "people" are objects of the set's category.
        """
        return {
            "image_size": list(self.image_size),
            "keypoint_set": self.keypoint_set.name,
            "category": self.keypoint_set.category,
            "people": [
                {"score": score, "keypoints": dict(zip(self.keypoint_set.names, joints))}
                for joints, score in self._rounded()
            ],
        }

    def draw(self, image: np.ndarray, min_score: float = 0.1) -> np.ndarray:
        """Draws the people on a copy of the picture: see ``drawing.draw_poses``."""
        return drawing.draw_poses(image, self.keypoints, self.keypoint_set, self.scores, min_score)

    def _rounded(self) -> list[tuple[list[list[float]], float]]:
        """Each person's K [x, y, score] and the person's score, as Python floats."""
        return [
            ([[round(x, 3), round(y, 3), round(s, 6)] for x, y, s in joints], round(score, 6))
            for joints, score in zip(self.keypoints.tolist(), self.scores.tolist())
        ]
