"""Ids of people that stay from picture to picture. android_demo/posekit's Tracker.kt does the same."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from ehrnet_tf import keypoints
from ehrnet_tf.errors import UsageError
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.poses import NO_ID, Poses
from ehrnet_tf.sequences import SMALLEST_PERSON, Clock, extents, found

_NEGLIGIBLE = 20.0  # exponents beyond it count as no similarity

# Chosen by benchmarks/tracking.py's sequences, see docs/tracking.md.
_WIDENING = 3.0  # of the standard deviation, for each second
_UNKNOWN_WIDENING = 10.0  # the same, as long as the person's velocity is not known
_MEMORY = 0.15  # of the velocity, seconds


class Tracker:
    """Gives people ids that stay from picture to picture.

    Poses are assigned to known people so that the sum of similarities is greatest. The similarity is COCO's object
    keypoint similarity (OKS) of the pose and the person's last one, moved on by the person's velocity, over keypoints
    that both have; a keypoint that the last one lacked is where it was before, moved along with the others. The longer
    ago that was, the more distance it allows for and the less it counts. A pose that matches nobody is a new person.
    Ids count from 0 in the order of appearance and are not used again. For one sequence of pictures, and one thread at
    a time.

    Args:
      keypoint_set: the set of the poses to come, its name or file, or K sigmas of the OKS.
      patience: how long a person who is not seen is remembered, seconds.
      min_similarity: 0 to 1; a pose and a person less similar are not the same.

    Raises:
      UsageError: there is no such set, or a value is out of range.
    """

    def __init__(
        self,
        keypoint_set: str | os.PathLike | KeypointSet | Sequence[float] | np.ndarray,
        patience: float = 1.0,
        min_similarity: float = 0.02,
    ) -> None:
        self._set: KeypointSet | None = None
        if isinstance(keypoint_set, (str, os.PathLike, KeypointSet)):
            self._set = keypoints.load(keypoint_set)
            keypoint_set = self._set.sigmas
        try:
            sigmas = np.asarray(keypoint_set, np.float32).astype(np.float64)
        except (TypeError, ValueError):
            sigmas = np.zeros(0)
        if sigmas.ndim != 1 or not len(sigmas) or not (np.isfinite(sigmas) & (sigmas > 0)).all():
            raise UsageError(
                f"sigmas {keypoint_set!r:.60}: give a keypoint set, or a positive number for each keypoint"
            )
        if not patience >= 0:
            raise UsageError(f"patience of {patience} seconds: must not be negative")
        if not 0 <= min_similarity <= 1:
            raise UsageError(f"min_similarity {min_similarity}: must lie in 0..1")
        # 1 / (2 (2 sigma)²): what a keypoint's squared distance is multiplied by, besides 1 / area.
        self._sharpness = 1 / (8 * sigmas * sigmas)
        self._patience = patience
        self._min_similarity = min_similarity
        self._clock = Clock()
        self._next_id = 0
        self._tracks = _Tracks.none(len(sigmas))

    @property
    def remembered(self) -> int:
        """How many people are remembered, those out of sight too."""
        return len(self._tracks.ids)

    def __call__(self, poses: Poses, seconds: float) -> Poses:
        """The same poses in the same order, with ids; a pose without any keypoint gets ``poses.NO_ID``.

        A keypoint that holds NaN or infinity counts as absent.

        Args:
          poses: of one picture, N people; ids that they have already are replaced.
          seconds: when the picture was taken, on any clock; steps may differ, and steps back count as none.

        Raises:
          UsageError: ``seconds`` is not a finite number, or the poses are of another keypoint set.
        """
        given = poses.keypoint_set
        if len(given) != len(self._sharpness) or (self._set is not None and self._set.names != given.names):
            made_for = f"{len(self._sharpness)} sigmas" if self._set is None else f"'{self._set.name}'"
            raise UsageError(
                f"poses of the keypoint set '{given.name}', {len(given)} keypoints: the tracker is one for {made_for}"
            )
        now = self._clock.advance(seconds)
        self._tracks = self._tracks.select(now - self._tracks.seen <= self._patience)

        present = found(poses.keypoints)
        people = np.flatnonzero(present.any(axis=1))
        seen = _Tracks.first(poses.keypoints[people], present[people], now)
        rows, tracks = self._match(seen, now)
        self._follow(seen, rows, tracks)
        new = np.ones(len(people), bool)
        new[rows] = False
        seen.ids[rows] = self._tracks.ids[tracks]
        seen.ids[new] = self._next_id + np.arange(new.sum())
        self._next_id += int(new.sum())
        self._tracks = self._tracks.joined(seen.select(new))

        ids = np.full(len(poses), NO_ID, np.int64)
        ids[people] = seen.ids
        return dataclasses.replace(poses, ids=ids)

    def _match(self, seen: _Tracks, now: float) -> tuple[np.ndarray, np.ndarray]:
        """Indices of poses and of the tracks that they continue."""
        similarity = self._similarity(seen, now)
        similarity[similarity < self._min_similarity] = 0
        rows, tracks = linear_sum_assignment(-similarity)
        alike = similarity[rows, tracks] > 0
        return rows[alike], tracks[alike]

    def _similarity(self, seen: _Tracks, now: float) -> np.ndarray:
        """(N, T) float64, 0..1."""
        tracks = self._tracks
        age = now - tracks.seen
        widening = 1 + np.where(tracks.steps > 0, _WIDENING, _UNKNOWN_WIDENING) * age
        with np.errstate(over="ignore", invalid="ignore"):  # places beyond 1e19 pixels are like nothing
            area = np.maximum(np.maximum(seen.areas[:, None], tracks.areas), SMALLEST_PERSON**2)
            distance = seen.places[:, None] - tracks.places - (tracks.velocity * age[:, None])[:, None]
            square = np.square(distance).sum(axis=3)
            exponent = square * self._sharpness / (widening * widening * area)[:, :, None]
            common = seen.present[:, None] & tracks.present
            counted = common & (exponent < _NEGLIGIBLE)
            alike = np.exp(-np.where(counted, exponent, np.inf)).sum(axis=2)
        return alike / np.maximum(common.sum(axis=2), 1) / (1 + _WIDENING * age)

    def _follow(self, seen: _Tracks, rows: np.ndarray, tracks: np.ndarray) -> None:
        """Moves the tracks on to the poses that continue them; what these lack moves along with the rest."""
        known = self._tracks
        step = seen.seen[rows] - known.seen[tracks]
        before, now = known.places[tracks], seen.places[rows]
        had, has = known.present[tracks], seen.present[rows]
        common = had & has  # at least one keypoint, or they would not be alike
        with np.errstate(over="ignore", invalid="ignore"):
            movement = np.where(common[:, :, None], now - before, 0).sum(axis=1, dtype=np.float64)
            movement /= common.sum(axis=1)[:, None]
            moved = step > 0
            known.steps[tracks] += moved
            share = np.maximum(1 / np.maximum(known.steps[tracks], 1), 1 - np.exp(-step / _MEMORY)) * moved
            speed = movement / np.where(moved, step, 1)[:, None]
            known.velocity[tracks] += share[:, None] * (speed - known.velocity[tracks])
            places = np.where(has[:, :, None], now, before + movement[:, None]).astype(np.float32)
            known.areas[tracks] = extents(places, had | has).prod(axis=1, dtype=np.float64)
        known.places[tracks] = places
        known.present[tracks] = had | has
        known.seen[tracks] = seen.seen[rows]


@dataclasses.dataclass(frozen=True)
class _Tracks:
    """T people as last seen, with the keypoints that were seen earlier.

    Attributes:
      ids: (T,) int64.
      places: (T, K, 2) float32, pixels; 0 where absent.
      present: (T, K) bool.
      areas: (T,) float64, of the boxes round the keypoints, pixels².
      seen: (T,) float64, when, seconds.
      steps: (T,) int64, how many movements the velocity comes from.
      velocity: (T, 2) float64, pixels a second.
    """

    ids: np.ndarray
    places: np.ndarray
    present: np.ndarray
    areas: np.ndarray
    seen: np.ndarray
    steps: np.ndarray
    velocity: np.ndarray

    @classmethod
    def none(cls, keypoints: int) -> _Tracks:
        return cls.first(np.zeros((0, keypoints, 3), np.float32), np.zeros((0, keypoints), bool), 0.0)

    @classmethod
    def first(cls, keypoints: np.ndarray, present: np.ndarray, now: float) -> _Tracks:
        """People seen for the first time, without ids, from (N, K, 3) keypoints and which of them are present."""
        count = len(keypoints)
        return cls(
            ids=np.full(count, NO_ID, np.int64),
            places=np.where(present[:, :, None], keypoints[:, :, :2], np.float32(0)),
            present=present,
            areas=extents(keypoints, present).prod(axis=1, dtype=np.float64),
            seen=np.full(count, now),
            steps=np.zeros(count, np.int64),
            velocity=np.zeros((count, 2)),
        )

    def select(self, mask: np.ndarray) -> _Tracks:
        """Those where the mask holds, copied."""
        return _Tracks(*(values[mask] for values in vars(self).values()))

    def joined(self, others: _Tracks) -> _Tracks:
        return _Tracks(*map(np.concatenate, zip(vars(self).values(), vars(others).values())))
