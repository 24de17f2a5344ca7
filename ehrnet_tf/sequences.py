"""What tracking and smoothing share: time, which keypoints are there, how large a person is."""

from __future__ import annotations

import math

import numpy as np

from ehrnet_tf.errors import UsageError

SMALLEST_PERSON = 32.0  # pixels: COCO's "small" ends there, and jitter weighs more than shape


class Clock:
    """Time that never runs backwards: steps back of the time given, and standstill, count as no time."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._given = math.nan

    def advance(self, seconds: float) -> float:
        """The time by this clock, 0 at first, at a time given.

        Raises:
          UsageError: ``seconds`` is not a finite number.
        """
        try:
            given = float(seconds)
        except (TypeError, ValueError):
            given = math.nan
        if not math.isfinite(given):
            raise UsageError(f"time {seconds!r:.60}: must be a finite number of seconds")
        if given > self._given:
            self._seconds += given - self._given
        self._given = given
        return self._seconds


def found(keypoints: np.ndarray) -> np.ndarray:
    """(N, K) bool: which of (N, K, 3) keypoints are there: score above 0, and nothing NaN or infinite."""
    return (keypoints[:, :, 2] > 0) & np.isfinite(keypoints).all(axis=2)


def extents(keypoints: np.ndarray, present: np.ndarray) -> np.ndarray:
    """(N, 2) float32: width and height of the boxes round the present keypoints, pixels; 0 where there is none.

    Args:
      keypoints: (N, K, 2 or 3) float32, x and y first.
      present: (N, K) bool, as ``found`` gives it.
    """
    places, there = keypoints[:, :, :2], present[:, :, None]
    least = np.where(there, places, np.float32(np.inf)).min(axis=1)
    most = np.where(there, places, np.float32(-np.inf)).max(axis=1)
    with np.errstate(over="ignore"):
        return np.where(present.any(axis=1)[:, None], most - least, np.float32(0))
