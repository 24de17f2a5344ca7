"""Leaving out people and joints that can hardly be right. Everything is off by default: AP only falls or stays."""

from __future__ import annotations

import dataclasses

import numpy as np

from ehrnet_tf.errors import UsageError
from ehrnet_tf.poses import Poses


@dataclasses.dataclass(frozen=True)
class Filters:
    """What is left out of the poses of a picture; calling it applies all of it, in the order below.

    Attributes:
      limb_length: a limb longer than this many times the median of the person's limbs loses the end with the lower
        score (4 to 6 spares outstretched arms); needs three limbs. None: off.
      min_joints: people with fewer joints found (score above 0) are left out; 0: off.
      duplicate_oks: of two people whose object keypoint similarity exceeds this, the one with the lower score is left
        out; None: off.

    Raises:
      UsageError: a value out of range.
    """

    limb_length: float | None = None
    min_joints: int = 0
    duplicate_oks: float | None = None

    def __post_init__(self) -> None:
        if self.limb_length is not None and not self.limb_length > 1:
            raise UsageError(f"limb_length {self.limb_length}: must be greater than 1, times the median limb")
        if self.min_joints < 0:
            raise UsageError(f"min_joints {self.min_joints}: must not be negative")
        if self.duplicate_oks is not None and not 0 <= self.duplicate_oks <= 1:
            raise UsageError(f"duplicate_oks {self.duplicate_oks}: must lie in 0..1")

    def __call__(self, poses: Poses) -> Poses:
        """The poses without what is to be left out; scores of people stay as they are."""
        if self.limb_length is not None:
            poses = without_long_limbs(poses, self.limb_length)
        if self.min_joints:
            keep = (poses.keypoints[:, :, 2] > 0).sum(axis=1) >= self.min_joints
            poses = poses.select(np.flatnonzero(keep))
        if self.duplicate_oks is not None:
            poses = without_duplicates(poses, self.duplicate_oks)
        return poses

    def describe(self) -> str:
        """The filters that are on, in words; empty if none is."""
        words = []
        if self.limb_length is not None:
            words.append(f"limbs up to {self.limb_length:g} times the median")
        if self.min_joints:
            words.append(f"at least {self.min_joints} joints")
        if self.duplicate_oks is not None:
            words.append(f"duplicates above OKS {self.duplicate_oks:g} left out")
        return ", ".join(words)


def without_long_limbs(poses: Poses, ratio: float) -> Poses:
    """Takes away the less certain end of limbs that are longer than ``ratio`` times the person's median limb."""
    skeleton = np.array(poses.keypoint_set.skeleton, np.intp).reshape(-1, 2)
    keypoints = poses.keypoints.copy()
    for joints in keypoints:
        drawn = skeleton[(joints[skeleton, 2] > 0).all(axis=1)]
        if len(drawn) < 3:
            continue
        lengths = np.linalg.norm(joints[drawn[:, 0], :2] - joints[drawn[:, 1], :2], axis=1)
        too_long = drawn[lengths > ratio * np.median(lengths)]
        weaker = too_long[np.arange(len(too_long)), joints[too_long, 2].argmin(axis=1)]
        joints[weaker] = 0
    return dataclasses.replace(poses, keypoints=keypoints)


def without_duplicates(poses: Poses, limit: float) -> Poses:
    """Leaves out people who are more alike than ``limit`` to someone with a higher score.

    Two people's similarity is COCO's OKS over the joints that both have, with the smaller box area of the two.
    """
    similarity = pairwise_oks(poses)
    kept: list[int] = []
    for person in np.argsort(-poses.scores, kind="stable").tolist():
        if not (similarity[person, kept] > limit).any():
            kept.append(person)
    return poses.select(sorted(kept))


def pairwise_oks(poses: Poses) -> np.ndarray:
    """(N, N) float: how alike each two people are, 0..1; 0 where they have no joint in common.

    Source: COCO's object keypoint similarity, exp(-d² / (2 area (2 sigma)²)) averaged over joints.
    """
    found = poses.keypoints[:, :, 2] > 0
    places = np.where(found[:, :, None], poses.keypoints[:, :, :2], np.nan)
    areas = np.array([np.prod(np.ptp(p[f], axis=0)) if f.any() else 0 for p, f in zip(places, found)])
    area = np.minimum(areas[:, None], areas) + np.spacing(1)
    square = np.square(places[:, None] - places).sum(axis=3)  # (N, N, K)
    variance = (2 * np.array(poses.keypoint_set.sigmas)) ** 2
    both = ~np.isnan(square)
    similar = np.exp(-np.where(both, square, 0) / (2 * area[:, :, None] * variance)) * both
    return similar.sum(axis=2) / np.maximum(both.sum(axis=2), 1)
