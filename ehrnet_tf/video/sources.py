"""Where pictures come from: a video file, a camera, a network stream, a GStreamer pipeline, picture files.

OpenCV decodes, with the rotation that a video's metadata name applied.
"""

from __future__ import annotations

import abc
import contextlib
import os
import queue
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import cv2
import numpy as np

from ehrnet_tf.errors import DataError, EhrnetError, UsageError
from ehrnet_tf.images import SUFFIXES, read_image

VIDEO_SUFFIXES = {
    ".mp4",
    ".mov",
    ".avi",
    ".mkv",
    ".webm",
    ".m4v",
    ".mpg",
    ".mpeg",
    ".wmv",
    ".flv",
    ".ts",
    ".3gp",
    ".gif",
}
_STREAM = re.compile(r"(rtsps?|rtmps?|https?|udp|tcp|srt|rtp)://")
_LIVE = ("rtsp", "rtmp", "udp", "srt", "rtp")
PATIENCE = 20.0  # seconds without a picture after which a live source is given up
_OPENING_PATIENCE = 40.0  # seconds for opening one, with the first picture
_FFMPEG_PATIENCE = 30.0  # OpenCV's own, for each answer of an address
_SLOWEST = 1.0  # frames a second: a video that says less does not know
_FASTEST = 1000.0


class Frame(NamedTuple):
    """One picture of a source.

    Attributes:
      index: its number, from 0.
      image: (H, W, 3) uint8, RGB.
      seconds: when it is to be shown, since the first; for a live source, when it came; for picture files, None.
      path: the picture file; None for the others.
    """

    index: int
    image: np.ndarray
    seconds: float | None
    path: Path | None = None


class Source(abc.ABC):
    """A series of pictures, to be gone through once; a context manager that frees what it holds.

    Attributes:
      name: for people and for the names of outputs.
      live: whether pictures come when they want to; then the newest is the one to look at.
      may_hang: whether reading may take for ever: from what is live, or far away.
      fps: frames a second, as far as known.
      count: how many frames there will be, as far as known; not to be relied on.
      problem: what ended it before its time, one line; None: nothing did. To be read after the last frame.
    """

    name: str
    live = may_hang = False
    fps: float | None = None
    count: int | None = None
    problem: str | None = None

    @abc.abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """The frames, decoded as they are asked for."""

    def close(self) -> None:  # noqa: B027 (not all hold something)
        """Frees what it holds."""

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class Pictures(Source):
    """Picture files; one that cannot be read is left out, and counted in ``failed``.

    Args:
      paths: the files.
      on_failure: told of each error.
    """

    def __init__(self, paths: Sequence[Path], on_failure: Any = None):
        self.paths = list(paths)
        self.name = str(paths[0]) if len(paths) == 1 else f"{len(paths)} pictures"
        self.count, self.failed = len(paths), 0
        self._on_failure = on_failure or (lambda error: None)

    def __iter__(self) -> Iterator[Frame]:
        for index, path in enumerate(self.paths):
            try:
                image = read_image(path)
            except EhrnetError as error:
                self.failed += 1
                self._on_failure(error)
                continue
            yield Frame(index, image, None, path)


class Capture(Source):
    """What OpenCV captures.

    Args:
      capture: a ``cv2.VideoCapture`` that is open.
      name: what it captures.
      live: whether that is a camera or a stream.

    Raises:
      DataError: a file without a single frame that can be decoded.
    """

    def __init__(self, capture: Any, name: str, live: bool):
        self._capture, self.name, self.live = capture, name, live
        self.may_hang = live or _STREAM.match(name) is not None
        fps = capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if _SLOWEST <= fps <= _FASTEST else None
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.count = int(count) if not live and 0 < count < 1 << 40 else None
        there, self._first = capture.read()
        if not there:
            capture.release()
            raise DataError(f"{name}: {_nothing_comes(name, live)}")

    def __iter__(self) -> Iterator[Frame]:
        began, before, index, picture = _clock(), -1.0, 0, self._first
        self._first = None
        while picture is not None:
            if self.live:
                seconds = _clock() - began
            else:  # a container may know no times, or wrong ones
                seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                if not seconds > before:
                    seconds = before + 1 / (self.fps or 25) if index else 0.0
            before = seconds
            yield Frame(index, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), seconds)
            index += 1
            there, picture = self._capture.read()
            if not there:
                picture = None
        if self.live:
            self.problem = f"{self.name}: no more pictures came after {index}; is it still connected?"
        elif self.count is not None and index < self.count - max(2, self.count // 100):
            self.problem = f"{self.name}: ended after {index} of {self.count} frames; the file is damaged or cut off"

    def close(self) -> None:
        self._capture.release()


def _nothing_comes(name: str, live: bool) -> str:
    if live:
        return "no picture comes; is it free (one program at a time), and connected?"
    if _STREAM.match(name):
        return "no frame can be decoded; a server must be able to give parts of a file (ranges), else download it first"
    return (
        "no frame can be decoded (is it empty, damaged, or its codec unknown to OpenCV?); "
        "convert it first: ffmpeg -i FILE -c:v libx264 new.mp4"
    )


def _clock() -> float:
    return cv2.getTickCount() / cv2.getTickFrequency()


def is_video(text: str) -> bool:
    """Whether an input is a video, a camera, a stream or a pipeline, as opposed to pictures, by its name."""
    path = Path(text)
    if text.isdecimal() or " ! " in text or _STREAM.match(text) or text.startswith("/dev/video"):
        return not path.is_dir()
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.is_dir()


def check_exists(text: str) -> None:
    """Raises UsageError for a video file that there is not."""
    if " ! " in text or text.isdecimal() or _STREAM.match(text) or Path(text).exists():
        return
    raise UsageError(
        f"{text}: no such file; give a video, a camera's number, rtsp://..., a GStreamer pipeline, or pictures"
    )


def open_source(text: str | os.PathLike) -> Source:
    """Opens a source.

    Args:
      text: the path of a video file; the number of a camera ("0"), or its device ("/dev/video0"); the address of a
        stream (rtsp://, http://, ...); a GStreamer pipeline (with " ! " in it), for an OpenCV that is built with
        GStreamer; a picture or a folder of pictures.

    Raises:
      DataError: it cannot be opened, or gives no picture.
      UsageError: there is no such thing.
    """
    text = os.fspath(text)
    path = Path(text)
    _quiet()
    if " ! " in text:
        remedy = "see why: gst-launch-1.0 -v " + text.split(" ! appsink")[0] + " ! fakesink"
        return _patiently(lambda: Capture(_open_pipeline(text), "the pipeline", live=True), "the pipeline", remedy)
    if text.isdecimal() or text.startswith("/dev/video"):
        if sys.platform == "darwin":  # which asks for permission in the main thread alone
            return _open_camera(text)
        return _patiently(lambda: _open_camera(text), f"camera {text}", "is it free?")
    if _STREAM.match(text):
        return _patiently(lambda: _open_address(text), text, "try the address in a player (ffplay, VLC)")
    if path.is_dir() or path.suffix.lower() in SUFFIXES:
        from ehrnet_tf.images import find_pictures

        return Pictures(find_pictures([text]))
    check_exists(text)
    if not path.stat().st_size:
        raise DataError(f"{text}: the file is empty")
    if not os.access(path, os.R_OK):
        raise DataError(f"{text}: cannot be read (Permission denied); check its permissions")
    capture = cv2.VideoCapture(text, cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise DataError(
            f"{text}: no video that OpenCV can open (damaged, cut off, or no video at all); convert it first: "
            "ffmpeg -i FILE -c:v libx264 new.mp4"
        )
    return Capture(capture, text, live=False)


def _patiently(open_: Callable[[], Source], name: str, remedy: str) -> Source:
    """Opens a source in a thread: a server may not answer, and OpenCV hears no Ctrl-C while it waits.

    Raises:
      DataError: nothing was heard for `_OPENING_PATIENCE`; the thread is left alone, and frees what it opens later.
    """
    answer: queue.Queue = queue.Queue()
    given_up = threading.Event()

    def work() -> None:
        try:
            answer.put(open_())
        except BaseException as error:  # raised again where the answer is taken
            answer.put(error)
        if given_up.is_set():
            free()

    def free() -> None:  # by the one of the two threads that gets it
        with contextlib.suppress(queue.Empty):
            late = answer.get_nowait()
            if isinstance(late, Source):
                late.close()

    threading.Thread(target=work, name="opener", daemon=True).start()
    try:
        found = answer.get(timeout=_OPENING_PATIENCE)
    except BaseException as error:
        given_up.set()
        free()
        if isinstance(error, queue.Empty):
            raise DataError(f"{name}: no picture came for {_OPENING_PATIENCE:g} s; {remedy}") from None
        raise
    if isinstance(found, BaseException):
        raise found
    return found


def _open_camera(text: str) -> Source:
    capture = cv2.VideoCapture(int(text) if text.isdecimal() else text)
    if not capture.isOpened():
        raise DataError(f"camera {text}: cannot be opened{_cameras()}; is it connected, and free?")
    return Capture(capture, f"camera {text}", live=True)


def _open_address(text: str) -> Source:
    began = _clock()
    capture = cv2.VideoCapture(text, cv2.CAP_FFMPEG)
    if not capture.isOpened():
        waited = _clock() - began
        what = "cannot be opened" if waited < _FFMPEG_PATIENCE - 1 else f"no answer in {waited:.0f} s"
        raise DataError(f"{text}: {what}; try the address in a player (ffplay, VLC)")
    file = PurePosixPath(urlsplit(text).path).suffix.lower() in VIDEO_SUFFIXES  # some do not say how long they are
    endless = not file and not capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0  # a camera's JPEGs over HTTP, say
    return Capture(capture, text, live=endless or text.startswith(_LIVE))


def _open_pipeline(text: str) -> Any:
    from ehrnet_tf.converters.jetson.camera import open_capture, pipeline

    return open_capture(pipeline(text, (0, 0), 1, None, False))


def _cameras() -> str:
    """What cameras there are, where Linux says so."""
    found = sorted(str(path) for path in Path("/dev").glob("video*")) if os.path.isdir("/dev") else []
    return f" (there are {', '.join(found)})" if found else " (there is none)"


def _quiet() -> None:
    """OpenCV and FFmpeg write lines of their own to stderr; what is wrong is said by our errors."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    with contextlib.suppress(AttributeError):  # Debian's 4.6 has the second alone
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        return
    with contextlib.suppress(AttributeError):
        cv2.setLogLevel(0)
