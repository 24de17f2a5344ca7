"""One picture and everything that the decoder makes of it, by the package's own functions."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import cv2
import numpy as np

from ehrnet_tf.data.synthetic import make_picture
from ehrnet_tf.decoding import decode_live
from ehrnet_tf.decoding.live import group_greedily
from ehrnet_tf.drawing import draw_poses
from ehrnet_tf.poses import Poses
from ehrnet_tf.runtime.estimator import PoseEstimator

# The held-out picture of that number of `ehrnet make-data --upright --max-people 3` with seed 0: three people, two of
# them in front of each other, and a knee that only refinement finds.
PICTURE = 19


def made_up(index: int = PICTURE) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """A made-up picture (H, W, 3) uint8 and its COCO annotations."""
    return make_picture(seed=0, split=1, index=index, size=256, max_people=3, upright=True)


@dataclasses.dataclass(frozen=True)
class Scene:
    """A picture, and its maps by one network.

    Attributes:
      picture: (H, W, 3) uint8.
      estimator: the network.
    """

    picture: np.ndarray
    estimator: PoseEstimator

    @functools.cached_property
    def prepared(self):
        return self.estimator.prepare(self.picture)

    @functools.cached_property
    def maps(self) -> dict[str, np.ndarray]:
        """All three maps, (h, w, K) float32 each."""
        outputs = self.estimator.runner(self.input[None])
        return {name: maps[0] for name, maps in outputs.items()}

    @property
    def input(self) -> np.ndarray:
        """(S, S, 3) uint8, letterboxed."""
        return self.prepared.inputs[0]

    @property
    def heat(self) -> np.ndarray:
        return self.maps["heatmaps_2"]

    @property
    def stride(self) -> float:
        """Input pixels a cell of ``heat``."""
        return self.prepared.size[1] / self.heat.shape[1]

    @property
    def region(self) -> tuple[int, int, int, int]:
        """The cells of ``heat`` that lie in the picture: top, left, bottom, right."""
        return self.prepared.box.region(self.heat.shape[:2], self.stride)

    def decode(self, **changes: Any) -> tuple[np.ndarray, np.ndarray]:
        """`decode_live` on this scene: people (N, K, 4) in cells of ``heat``, and their scores."""
        settings, grouping = self.estimator.settings, self.estimator.keypoints.grouping
        return decode_live(self.heat, self.maps["tags"], settings, grouping, self.region, **changes)

    def candidates(self, adjust: bool = True) -> list[np.ndarray]:
        """K arrays (n, 4): x, y in cells, heat, tag of a keypoint's peaks, in descending order of heat.

        They are what the decoder gives if hardly any two tags are near enough to be one person's.
        """
        alone, _ = self.decode(tag_threshold=1e-9, adjust=adjust, refine=False)
        found = [joints[joints[:, 2] > 0] for joints in alone.transpose(1, 0, 2)]
        return [joints[np.argsort(-joints[:, 2], kind="stable")] for joints in found]

    def grouped(self, visited: int | None = None) -> np.ndarray:
        """(N, K, 4): people after the first ``visited`` keypoints of the grouping order; None: after all."""
        grouping = self.estimator.keypoints.grouping
        candidates = self.candidates()
        for keypoint in grouping[visited:] if visited is not None else ():
            candidates[keypoint] = candidates[keypoint][:0]
        return group_greedily(candidates, self.estimator.settings, grouping)

    @functools.cached_property
    def shown(self) -> np.ndarray:
        """The indices of the people who are scored high enough for a call of the estimator to give them."""
        _, scores = self.decode()
        return np.flatnonzero(scores >= self.estimator.min_score)

    @functools.cached_property
    def poses(self) -> Poses:
        return self.estimator(self.picture)

    def drawn(self) -> np.ndarray:
        """The picture, three times as large, with its poses."""
        picture = cv2.resize(self.picture, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
        return draw_poses(picture, self.poses.keypoints * [3, 3, 1], self.poses.keypoint_set)


def tag_means(people: np.ndarray) -> np.ndarray:
    """(N,): the mean tag of each of the people (N, K, 4) over the joints that grouping gave."""
    joints = people[:, :, 2] > 0
    return (people[:, :, 3] * joints).sum(axis=1) / joints.sum(axis=1)
