"""What ``ehrnet predict`` does: people in pictures, videos and cameras, drawn and written down.

Reading, network and writing run at the same time; memory does not grow with the length of a video.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import os
import queue
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from ehrnet_tf.anonymise import LEAST_PERSON_SCORE
from ehrnet_tf.errors import DataError, EhrnetError, UsageError
from ehrnet_tf.files import atomic_path
from ehrnet_tf.images import find_pictures, output_paths
from ehrnet_tf.pose_files import Entry, PoseWriter
from ehrnet_tf.poses import Poses
from ehrnet_tf.video.overlap import Behind
from ehrnet_tf.video.screen import Screen
from ehrnet_tf.video.sources import Frame, Pictures, Source, check_exists, is_video, open_source
from ehrnet_tf.video.stream import Stream
from ehrnet_tf.video.writer import VideoWriter

_FPS = 25.0  # of a video from a source that does not know its own


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What is made of the poses.

    Attributes:
      out: folder for drawings: a picture for each picture file, an .mp4 for each video, camera or stream.
      json: file for the poses: see `pose_files.PoseWriter`.
      coco: file for the poses in COCO's results format.
      show: whether drawings are shown in a window.
      draw: draws the poses of a picture on it: (image (H, W, 3) uint8 RGB, `Poses`) to an image.
      cover: covers people's heads in a picture: (image, `Poses`) to an image; is given everybody, those of a low score
        too; None: nobody's.
      sound: whether a video's sound is taken over.
    """

    out: str | None = None
    json: str | None = None
    coco: str | None = None
    show: bool = False
    draw: Callable[[np.ndarray, Poses], np.ndarray] = lambda image, poses: poses.draw(image)
    cover: Callable[[np.ndarray, Poses], np.ndarray] | None = None
    sound: bool = True


class _Covering:
    """An estimator that covers people in the very picture it is given, and gives those of a sufficient score."""

    def __init__(self, estimator: Any, cover: Callable[[np.ndarray, Poses], np.ndarray]):
        self._estimator, self._cover, self._min_score = copy.copy(estimator), cover, estimator.min_score
        self._estimator.min_score = min(self._min_score, LEAST_PERSON_SCORE)
        self.keypoints = estimator.keypoints

    def __call__(self, image: np.ndarray) -> Poses:
        poses = self._estimator(image)
        image[:] = self._cover(image, poses)
        return poses.above(self._min_score)


@dataclasses.dataclass
class Summary:
    """What was done.

    Attributes:
      pictures: frames and picture files that were looked at.
      people: found in them, each counted in every picture.
      dropped: a camera's pictures that came while the network was busy.
      problems: what went wrong with single inputs, a line each.
      notes: what could not be kept of the originals, a line each.
    """

    pictures: int = 0
    people: int = 0
    dropped: int = 0
    problems: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    def describe(self, out: str | None = None) -> str:
        """One line for people."""
        dropped = f" ({self.dropped} more came while the network was busy)" if self.dropped else ""
        where = f"; drawings in {out}" if out else ""
        return f"{self.people} people in {self.pictures} pictures{dropped}{where}"


def predict(
    estimator: Any,
    inputs: Sequence[str],
    outputs: Outputs,
    summary: Summary,
    track: bool = True,
    smooth: bool = True,
    frames: int | None = None,
    warn: Callable[[str], None] = print,
    say: Callable[[str], None] | None = None,
) -> None:
    """Finds people in everything that is given, one source after the other.

    Args:
      estimator: a `PoseEstimator`.
      inputs: what `open_source` takes; pictures and folders of pictures make one source together.
      outputs: what is made of the poses.
      summary: counts what was done, whatever ends it.
      track: see `Stream`.
      smooth: see `Stream`.
      frames: of each video or camera, the first so many; None: all.
      warn: told of inputs that are left out.
      say: told how many people each picture has, a line a picture; None: nobody is.

    Raises:
      UsageError, DataError: an input that there is not, or, if it is the only one, that cannot be opened; of several
        it is left out.
      EhrnetError: no window, or a file that cannot be written.
      OSError: a file that cannot be written. What was written until then is kept.
    """
    if frames is not None and frames < 1:
        raise UsageError(f"frames {frames}: must be at least 1")
    if outputs.cover is not None:
        estimator = _Covering(estimator, outputs.cover)
    pictures, videos = sort_inputs(inputs)
    summary.notes += _videos_left_out(inputs)
    drawings = _video_paths(videos, outputs.out)
    with contextlib.ExitStack() as stack:
        screen = stack.enter_context(Screen()) if outputs.show else None
        writers = []
        for path, coco in ((outputs.json, False), (outputs.coco, True)):
            if path:
                writers.append(stack.enter_context(PoseWriter(path, coco)))
        if pictures:
            source = Pictures(pictures, lambda error: warn(f"skipped: {error}"))
            going = _go_through(estimator, source, outputs, writers, summary, screen, None, track, smooth, None, say)
            if source.failed:
                summary.problems.append(f"{source.failed} of {source.count} inputs could not be read")
            if not going:
                return
        for text, drawing in zip(videos, drawings):
            try:
                source = open_source(text)  # closed by its Stream
            except DataError as error:
                if len(inputs) == 1:
                    raise
                warn(f"skipped: {error}")
                summary.problems.append(f"{text} could not be opened")
                continue
            going = _go_through(
                estimator, source, outputs, writers, summary, screen, drawing, track, smooth, frames, say
            )
            if source.problem:
                summary.problems.append(source.problem)
            if not going:
                return


def sort_inputs(inputs: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The picture files, those in folders too, and what else there is.

    Raises:
      UsageError: a file that there is not, or a folder without pictures.
    """
    videos = [text for text in inputs if is_video(text)]
    for text in videos:
        check_exists(text)
    others = [text for text in inputs if not is_video(text)]
    return (find_pictures(others) if others else []), videos


def _videos_left_out(inputs: Sequence[str]) -> list[str]:
    """A line for each folder that has videos in it beside its pictures."""
    lines = []
    for folder in filter(os.path.isdir, inputs):
        inside = [name for name in sorted(os.listdir(folder)) if is_video(os.path.join(folder, name))]
        if inside:
            lines.append(f"{folder}: pictures alone were taken; its videos are to be named: {_list(inside)}")
    return lines


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _go_through(
    estimator: Any,
    source: Source,
    outputs: Outputs,
    writers: Sequence[PoseWriter],
    summary: Summary,
    screen: Screen | None,
    video: Path | None,
    track: bool,
    smooth: bool,
    frames: int | None,
    say: Callable[[str], None] | None,
) -> bool:
    """One source, from its pictures to the files; whether to go on to the next: the window was not closed."""
    name = None if source.live or isinstance(source, Pictures) else source.name
    pictures = _picture_paths(source.paths, outputs.out) if isinstance(source, Pictures) else {}
    drawn: queue.Queue = queue.Queue(1)
    going = True
    with contextlib.ExitStack() as stack:
        writer = None
        if video is not None:
            sound = source.name if name is not None and outputs.sound else None
            writer = stack.enter_context(VideoWriter(video, source.fps or _FPS, sound))

        def use(item: tuple[Frame, Poses]) -> None:
            frame, poses = item
            if writer is not None or frame.path in pictures or screen is not None:
                image = outputs.draw(frame.image, poses)
                if writer is not None:
                    writer.write(image, frame.seconds)
                elif frame.path in pictures:
                    write_picture(pictures[frame.path], image)
                if screen is not None:
                    _renew(drawn, image)
            for file in writers:
                file.write(Entry(poses, frame.index, frame.seconds, str(frame.path) if frame.path else name))

        behind = stack.enter_context(Behind(use))
        stream = stack.enter_context(Stream(estimator, source, track, smooth))
        try:
            for frame, poses in _with_progress(stream, frames):
                behind.put((frame, poses))
                summary.pictures += 1
                summary.people += len(poses)
                if say is not None:
                    say(f"{frame.path or f'{source.name}, frame {frame.index}'}: {len(poses)} people")
                if screen is not None and isinstance(source, Pictures):
                    behind.wait()  # it stays on the screen until a key is pressed
                    going = screen.show(drawn.get_nowait(), wait=True)
                elif screen is not None:
                    going = _show(screen, drawn)
                if not going:
                    break
        finally:
            summary.dropped += stream.dropped
    if writer is not None and writer.note:
        summary.notes.append(f"{video}: {writer.note}")
    return going


def _picture_paths(paths: Sequence[Path], folder: str | None) -> dict[Path, Path]:
    """The drawing of each picture; of one that is given twice there is one drawing."""
    different = list(dict.fromkeys(paths))
    return dict(zip(different, output_paths(different, folder))) if folder is not None else {}


def _with_progress(stream: Stream, frames: int | None) -> Iterator[tuple[Frame, Poses]]:
    source = stream.source
    count = source.count if frames is None else min(frames, source.count or frames)
    quiet = isinstance(source, Pictures) and (count or 0) < 3
    unit = "picture" if isinstance(source, Pictures) else "frame"
    name = None if isinstance(source, Pictures) else Path(source.name).name
    with tqdm(total=count, unit=unit, desc=name, disable=quiet, smoothing=0.1) as bar:
        for number, item in enumerate(stream, 1):
            yield item
            bar.update()
            if number == frames:
                return


def _show(screen: Screen, drawn: queue.Queue) -> bool:
    try:
        return screen.show(drawn.get_nowait())
    except queue.Empty:
        return True


def _renew(drawn: queue.Queue, image: np.ndarray) -> None:
    with contextlib.suppress(queue.Empty):
        drawn.get_nowait()
    with contextlib.suppress(queue.Full):
        drawn.put_nowait(image)


def write_picture(path: Path, image: np.ndarray) -> None:
    """Writes an RGB picture, all of it or nothing."""
    with atomic_path(path) as temporary:
        if not cv2.imwrite(str(temporary), cv2.cvtColor(image, cv2.COLOR_RGB2BGR)):
            raise EhrnetError(f"{path}: cannot be written")


def _video_paths(videos: Sequence[str], folder: str | None) -> list[Path | None]:
    """The .mp4 of each video, by its name, numbered where two have the same.

    Raises:
      UsageError: it would be the video itself.
    """
    if folder is None:
        return [None] * len(videos)
    found: list[Path | None] = []
    for text in videos:
        stem = Path(text).stem if os.path.isfile(text) else f"camera{text}" if text.isdecimal() else "stream"
        path, number = Path(folder) / f"{stem}.mp4", 1
        while path in found:
            number += 1
            path = Path(folder) / f"{stem}-{number}.mp4"
        if path.exists() and os.path.isfile(text) and path.samefile(text):
            raise UsageError(f"--out {folder}: would write over {text}; give another folder")
        found.append(path)
    return found
