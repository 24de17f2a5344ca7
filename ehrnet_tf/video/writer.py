"""Writing videos: H.264 with the original's sound by PyAV (the extra `video`), else MPEG-4 without sound by OpenCV."""

from __future__ import annotations

import contextlib
import errno
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ehrnet_tf.files import TEMPORARY, replace

_TICKS = 90_000  # a second, the usual clock of videos
_COPIED = ("aac", "mp3", "ac3", "eac3", "alac", "opus", "flac")  # sound that an .mp4 can hold as it is
_QUALITY = "20"  # x264's constant rate factor: drawings stay sharp


def has_pyav() -> bool:
    """Whether PyAV is installed."""
    with contextlib.suppress(ImportError):
        import av  # noqa: F401

        return True
    return False


class VideoWriter:
    """An .mp4 file of pictures; a context manager that finishes it, whatever ends the block.

    Until it is finished, the file has a temporary name of its own beside ``path``. What was written before an error is
    kept.

    Args:
      path: the file.
      fps: frames a second, where ``write`` is told no times.
      sound: a video file whose sound is taken over; None: none. Needs PyAV.

    Attributes:
      note: what could not be kept of the original, one line; None: nothing was lost.
    """

    def __init__(self, path: str | os.PathLike, fps: float, sound: str | os.PathLike | None = None):
        self.path = Path(path)
        self.note: str | None = None
        self._fps, self._sound = fps, sound
        self._temporary: Path | None = None
        self._file: Any = None
        self._size: tuple[int, int] | None = None

    def write(self, image: np.ndarray, seconds: float) -> None:
        """Adds a picture; one of another size than the first is fitted into that.

        Args:
          image: (H, W, 3) uint8, RGB.
          seconds: when it is shown, since the first.

        Raises:
          OSError: it cannot be written.
        """
        if self._file is None:
            self._size = image.shape[:2]
            self._temporary = self._make()
            kind = _PyAVFile if has_pyav() else _OpenCVFile
            with _named(self.path):
                self._file = kind(self._temporary, self._size, self._fps, self._sound)
        if image.shape[:2] != self._size:
            from ehrnet_tf.runtime.letterbox import letterbox

            image, _ = letterbox(image, self._size)
        with _named(self.path):
            self._file.write(image, seconds)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._temporary is None:
            return
        if self._file is None:
            return self._temporary.unlink()
        try:
            with _named(self.path):
                self._file.close()
        finally:
            self.note = self._file.note
            replace(self._temporary, self.path)

    def _make(self) -> Path:
        """An empty file, of the permissions that any new file gets, for this writer alone."""
        with _named(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            path = self.path.with_name(f"{TEMPORARY}{self.path.stem}-{os.getpid()}-{id(self):x}{self.path.suffix}")
            path.touch()
        return path


@contextlib.contextmanager
def _named(path: Path) -> Any:
    """Errors name ``path`` and say what to do."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error


class _PyAVFile:
    def __init__(self, path: Path, size: tuple[int, int], fps: float, sound: str | os.PathLike | None):
        import av

        self._av = av
        # Fragments, made into a plain file at the end: what was written is playable even if there is no end.
        options = {"movflags": "hybrid_fragmented"} if av.library_versions["libavformat"] >= (61, 7) else {}
        self._container = av.open(str(path), "w", format="mp4", options=options)
        self._stream = self._container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        self._stream.height, self._stream.width = (side + side % 2 for side in size)  # as H.264 must have them
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"crf": _QUALITY, "preset": "veryfast"}
        self._stream.codec_context.time_base = self._stream.time_base = Fraction(1, _TICKS)
        self.note: str | None = None
        self._last = -1
        self._sound = _Sound(av, self._container, sound) if sound is not None else None

    def write(self, image: np.ndarray, seconds: float) -> None:
        height, width = image.shape[:2]
        if height % 2 or width % 2:
            image = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        frame = self._av.VideoFrame.from_ndarray(image, format="rgb24")
        self._last = max(self._last + 1, round(seconds * _TICKS))  # times must grow
        frame.pts, frame.time_base = self._last, Fraction(1, _TICKS)
        self._container.mux(self._stream.encode(frame))
        if self._sound is not None:
            self._sound.write_until(seconds)

    def close(self) -> None:
        try:
            self._container.mux(self._stream.encode(None))
            if self._sound is not None:
                self._sound.write_until(self._last / _TICKS)
                self.note = self._sound.note
        finally:
            self._container.close()
            if self._sound is not None:
                self._sound.close()


class _Sound:
    """The sound of a video file, taken over packet by packet, or encoded anew where an .mp4 cannot hold it."""

    def __init__(self, av: Any, target: Any, path: str | os.PathLike):
        self.note: str | None = None
        self._packets: Any = iter(())
        self._waiting: Any = None
        self._target, self._errors = target, av.FFmpegError
        try:
            self._source = av.open(os.fspath(path))
        except (OSError, av.FFmpegError) as error:
            self._source, self.note = None, f"without sound: {path} cannot be read ({error})"
            return
        if not self._source.streams.audio:
            return
        stream = self._source.streams.audio[0]
        try:
            if stream.codec_context.name in _COPIED:
                self._packets = self._copied(stream, target.add_stream_from_template(stream))
            else:
                encoder = target.add_stream("aac", rate=stream.rate)
                encoder.layout = "mono" if stream.codec_context.channels == 1 else "stereo"
                self._packets = self._encoded(stream, encoder, av.AudioResampler("fltp", encoder.layout, stream.rate))
        except (ValueError, av.FFmpegError) as error:
            self.note = f"without sound: {stream.codec_context.name} cannot be taken over ({error})"

    def write_until(self, seconds: float) -> None:
        while True:
            if self._waiting is None:
                self._waiting = self._next()
            if self._waiting is None or self._waiting[0] > seconds:
                return
            self._target.mux(self._waiting[1])
            self._waiting = None

    def _next(self) -> Any:
        try:
            return next(self._packets, None)
        except self._errors as error:  # damaged from here on: the pictures go on
            self._packets, self.note = iter(()), f"its sound ends early ({error})"
            return None

    def close(self) -> None:
        if self._source is not None:
            self._source.close()

    def _copied(self, stream: Any, target: Any) -> Any:
        for packet in self._source.demux(stream):
            if packet.dts is not None:
                packet.stream = target
                yield float((packet.pts or packet.dts) * packet.time_base), packet

    def _encoded(self, stream: Any, target: Any, resampler: Any) -> Any:
        seconds = 0.0
        for frame in self._source.decode(stream):
            seconds = frame.time or seconds
            for part in resampler.resample(frame):
                for packet in target.encode(part):
                    yield seconds, packet
        for packet in target.encode(None):
            yield seconds, packet


class _OpenCVFile:
    def __init__(self, path: Path, size: tuple[int, int], fps: float, sound: str | os.PathLike | None):
        self.note: str | None = "MPEG-4 Part 2, which browsers do not play" + (", without sound" if sound else "")
        self.note += "; for H.264 with sound: pip install 'ehrnet-tf[video]'"
        self._period, self._shown, self._before = 1 / fps, 0, None
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, (size[1], size[0]))
        if not self._writer.isOpened():
            raise OSError("this OpenCV cannot write MPEG-4; pip install 'ehrnet-tf[video]'")

    def write(self, image: np.ndarray, seconds: float) -> None:
        picture = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        while self._before is not None and (self._shown + 1) * self._period <= seconds - self._period / 2:
            self._writer.write(self._before)  # a constant frame rate: a picture shown longer is repeated
            self._shown += 1
        self._writer.write(picture)
        self._shown += self._before is not None
        self._before = picture

    def close(self) -> None:
        self._writer.release()
