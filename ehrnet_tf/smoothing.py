"""Keypoints that do not jitter. android_demo/posekit's PoseSmoother.kt and OneEuroFilter.kt do the same."""

from __future__ import annotations

import dataclasses

import numpy as np

from ehrnet_tf.errors import UsageError
from ehrnet_tf.poses import NO_ID, Poses
from ehrnet_tf.sequences import SMALLEST_PERSON, Clock, extents, found


class Smoother:
    """Smooths the keypoints of people who have an id, each coordinate by a One-Euro filter of its own.

    The filter is a low-pass whose cutoff frequency rises with the speed: steady at rest, prompt in motion. Speed is
    reckoned in sizes of the person (the longer side of the box round the keypoints present, at least 32 pixels) a
    second: the same movement is then smoothed alike near to the camera and far from it, and in pictures of any size. A
    keypoint that was absent starts anew. For one sequence of pictures, and one thread at a time.

    Source: Casiez, Roussel, Vogel, "1 € Filter", CHI 2012, algorithms 1 and 2.

    Args:
      min_cutoff: cutoff frequency at rest, Hz; lower: less jitter.
      beta: how much the cutoff rises, Hz for one person's size a second; higher: less lag.
      derivative_cutoff: cutoff of the speed's own filter, Hz.
      memory: how long a person who is not seen is remembered, seconds.

    Raises:
      UsageError: a cutoff is not positive, or another value negative.
    """

    def __init__(
        self, min_cutoff: float = 1.0, beta: float = 6.0, derivative_cutoff: float = 1.0, memory: float = 1.0
    ) -> None:
        if not (min_cutoff > 0 and derivative_cutoff > 0 and beta >= 0):
            raise UsageError(
                f"min_cutoff {min_cutoff}, derivative_cutoff {derivative_cutoff} Hz, beta {beta}: cutoffs must be "
                "positive, beta must not be negative"
            )
        if not memory >= 0:
            raise UsageError(f"memory of {memory} seconds: must not be negative")
        self._min_cutoff, self._beta, self._derivative_cutoff = min_cutoff, beta, derivative_cutoff
        self._memory = memory
        self._clock = Clock()
        self._people: _People | None = None
        self._names: tuple[str, ...] = ()

    @property
    def remembered(self) -> int:
        """How many people are remembered."""
        return 0 if self._people is None else len(self._people.ids)

    def __call__(self, poses: Poses, seconds: float) -> Poses:
        """The poses smoothed, in the same order; people without an id, and scores, as they are.

        A keypoint that holds NaN or infinity counts as absent, and stays as it is.

        Args:
          poses: of one picture, N people, with ids, as a Tracker gives them.
          seconds: when the picture was taken, on any clock. When it does not advance, keypoints start anew.

        Raises:
          UsageError: the poses have no ids, an id twice, or another keypoint set than before, or ``seconds`` is not a
            finite number.
        """
        if poses.ids is None:
            raise UsageError("poses without ids cannot be smoothed: give them ids by a Tracker first")
        chosen = np.flatnonzero(poses.ids != NO_ID)
        ids = poses.ids[chosen]
        if len(np.unique(ids)) != len(ids):
            raise UsageError(f"ids {ids.tolist()!s:.60}: two people of one picture have the same")
        names = poses.keypoint_set.names
        if self._people is not None and names != self._names:
            raise UsageError(
                f"poses of another keypoint set, '{poses.keypoint_set.name}': make a Smoother for each set"
            )
        now = self._clock.advance(seconds)
        if self._people is None:
            self._people, self._names = _People.none(len(names)), names

        keypoints = poses.keypoints.copy()
        people = self._filter(ids, keypoints[chosen], now)
        absent = (self._people.ids[:, None] != ids).all(axis=1)
        self._people = self._people.select(absent & (now - self._people.seen <= self._memory)).joined(people)
        keypoints[chosen, :, :2] = np.where(people.started[:, :, None], people.places, keypoints[chosen, :, :2])
        return dataclasses.replace(poses, keypoints=keypoints)

    def _filter(self, ids: np.ndarray, keypoints: np.ndarray, now: float) -> _People:
        """The people of a picture after it, from their (M,) ids and (M, K, 3) keypoints."""
        present = found(keypoints)
        there = present[:, :, None]
        last, known = self._recall(ids, now)
        step = (now - last.seen)[:, None, None]
        going = there & last.started[:, :, None] & known[:, None, None] & (step > 0)
        step = np.where(step > 0, step, 1)
        measured = np.where(there, keypoints[:, :, :2], 0).astype(np.float64)
        unit = np.maximum(extents(keypoints, present).max(axis=1), SMALLEST_PERSON).astype(np.float64)[:, None, None]
        change = measured - last.places
        speeds = last.speeds + _share(self._derivative_cutoff, step) * (change / step - last.speeds)
        cutoff = self._min_cutoff + self._beta * np.abs(speeds) / unit
        return _People(
            ids=ids,
            seen=np.full(len(ids), now),
            started=present,
            places=np.where(going, last.places + _share(cutoff, step) * change, measured),
            speeds=np.where(going, speeds, 0),
        )

    def _recall(self, ids: np.ndarray, now: float) -> tuple[_People, np.ndarray]:
        """What is known of the people with these ids, and (M,) bool whether anything is."""
        if not len(self._people.ids):
            return _People.none(self._people.started.shape[1], len(ids)), np.zeros(len(ids), bool)
        same = self._people.ids == ids[:, None]
        last = self._people.select(same.argmax(axis=1))
        return last, same.any(axis=1) & (now - last.seen <= self._memory)


def _share(cutoff: float | np.ndarray, step: np.ndarray) -> np.ndarray:
    """The new value's share of an exponential average that has this cutoff, Hz, after a step of so many seconds."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * step))


@dataclasses.dataclass(frozen=True)
class _People:
    """The state of P people's filters.

    Attributes:
      ids: (P,) int64.
      seen: (P,) float64, when last, seconds.
      started: (P, K) bool: whether the keypoint was there then.
      places: (P, K, 2) float64, filtered, pixels.
      speeds: (P, K, 2) float64, filtered, pixels a second.
    """

    ids: np.ndarray
    seen: np.ndarray
    started: np.ndarray
    places: np.ndarray
    speeds: np.ndarray

    @classmethod
    def none(cls, keypoints: int, count: int = 0) -> _People:
        """Filters that have not started."""
        places = np.zeros((count, keypoints, 2))
        return cls(
            np.full(count, NO_ID, np.int64), np.zeros(count), np.zeros((count, keypoints), bool), places, places.copy()
        )

    def select(self, rows: np.ndarray) -> _People:
        """Those of a mask or of indices, copied."""
        return _People(*(values[rows] for values in vars(self).values()))

    def joined(self, others: _People) -> _People:
        return _People(*map(np.concatenate, zip(vars(self).values(), vars(others).values())))
