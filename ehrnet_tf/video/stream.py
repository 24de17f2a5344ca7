"""People in pictures that come one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from ehrnet_tf.poses import Poses
from ehrnet_tf.video.overlap import Ahead, Silence
from ehrnet_tf.video.sources import PATIENCE, Frame, Source, open_source


class Stream:
    """The pictures of a source with the people in them; a context manager.

    The next pictures are decoded while the network looks at one. Of a file none is left out; of a camera always the
    newest is taken.

        with Stream(estimator, "video.mp4") as stream:
            for frame, poses in stream:
                print(frame.seconds, poses.ids, poses.keypoints.shape)

    Args:
      estimator: a `PoseEstimator`.
      source: what `open_source` takes, or a `Source`; picture files are neither tracked nor smoothed.
      track: whether people get steady ids.
      smooth: whether keypoints are smoothed over time; only with ``track``.

    Attributes:
      source: the `Source`.
      dropped: how many of a camera's pictures were not looked at.

    Raises:
      DataError, UsageError: see `open_source`.
    """

    def __init__(self, estimator: Any, source: str | os.PathLike | Source, track: bool = True, smooth: bool = True):
        self._estimator = estimator
        self.source = source if isinstance(source, Source) else open_source(source)
        self._track, self._smooth = track, smooth and track
        self._ahead: Ahead | None = None

    @property
    def dropped(self) -> int:
        return self._ahead.dropped if self._ahead else 0

    def __iter__(self) -> Iterator[tuple[Frame, Poses]]:
        from ehrnet_tf.smoothing import Smoother
        from ehrnet_tf.tracking import Tracker

        tracker, smoother = Tracker(self._estimator.keypoints), Smoother()
        self._ahead = Ahead(self.source, newest=self.source.live, patience=PATIENCE if self.source.live else None)
        for frame in self._frames(self._ahead):
            poses = self._estimator(frame.image)
            if self._track and frame.seconds is not None:
                poses = tracker(poses, frame.seconds)
                if self._smooth:
                    poses = smoother(poses, frame.seconds)
            yield frame, poses

    def _frames(self, ahead: Ahead) -> Iterator[Frame]:
        try:
            yield from ahead
        except Silence:
            self.source.problem = f"{self.source.name}: no picture came for {PATIENCE:g} s; is it still connected?"

    def close(self) -> None:
        """Stops reading and frees the source, unless that hangs; a file is waited for, as long as a picture takes."""
        if self._ahead is None or self._ahead.stop(2.0 if self.source.may_hang else None):
            self.source.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
