import errno
import functools
import http.server
import os
import sys
import threading

import cv2
import numpy as np
import pytest
from streams import jpeg_camera, silent_server
from video.conftest import picture

from ehrnet_tf.errors import DataError, UsageError
from ehrnet_tf.video import Stream, open_source, sources
from ehrnet_tf.video.sources import Capture, Pictures, is_video


def numbers(frames):
    """Which pictures of `conftest.picture` these are."""
    return [(np.argwhere(frame.image.min(axis=2) > 150)[:, 1].min() - 4) // 2 for frame in frames]


def test_no_frame_of_a_file_is_lost(make_video):
    with open_source(make_video(count=28)) as source:
        frames = list(source)
        assert (source.count, source.fps, source.live, source.problem) == (28, 25, False, None)
    assert numbers(frames) == list(range(28))
    assert [frame.index for frame in frames] == list(range(28))
    assert [frame.seconds for frame in frames] == pytest.approx(np.arange(28) / 25, abs=1e-3)
    assert frames[0].image.shape == (48, 64, 3) and frames[0].image.dtype == np.uint8


def test_frames_have_the_times_that_the_file_says(make_video):
    seconds = [0, 0.04, 0.08, 0.5, 0.54, 1.0, 1.04, 2.0]
    with open_source(make_video(count=8, seconds=seconds)) as source:
        assert [frame.seconds for frame in source] == pytest.approx(seconds, abs=2e-3)


class FakeCapture:
    """A capture of so many pictures that knows neither times nor rate."""

    def __init__(self, left):
        self.left, self.released = left, False

    def get(self, what):
        return 0.0

    def read(self):
        self.left -= 1
        return (self.left >= 0, picture(0) if self.left >= 0 else None)

    def release(self):
        self.released = True


def test_times_grow_where_a_container_knows_none():
    source = Capture(FakeCapture(5), "x", live=False)
    assert [frame.seconds for frame in source] == pytest.approx(np.arange(5) / 25)


def test_folders_and_pictures(tmp_path):
    for name in ("b.png", "a.png"):
        cv2.imwrite(str(tmp_path / name), np.full((4, 6, 3), 9, np.uint8))
    (tmp_path / "c.png").write_bytes(b"no picture")
    failures = []
    source = Pictures(sorted(tmp_path.glob("*.png")), failures.append)
    frames = list(source)
    assert [(frame.index, frame.path.name, frame.seconds) for frame in frames] == [
        (0, "a.png", None),
        (1, "b.png", None),
    ]
    assert source.failed == 1 and "c.png" in str(failures[0])
    assert isinstance(open_source(tmp_path), Pictures)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"x" * 5000, "no video that OpenCV can open"),
        (None, "no video that OpenCV can open"),
    ],
)
def test_files_that_are_no_videos(tmp_path, make_video, content, said):
    path = tmp_path / "broken.mp4"
    if content is None:  # without its index, which comes last
        whole = make_video().read_bytes()
        content = whole[: len(whole) // 2]
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"broken.mp4: {said}"):
        open_source(path)


def test_a_video_without_pictures(make_video, tmp_path):
    import av

    path = tmp_path / "sound.mp4"
    with av.open(str(make_video(sound="aac"))) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    with pytest.raises(DataError, match=r"sound\.mp4: "):
        open_source(path)


def test_a_file_that_is_cut_off_says_so(make_video, tmp_path):
    whole = make_video("walk.avi", count=200, codec="mpeg4").read_bytes()
    path = tmp_path / "cut.avi"
    path.write_bytes(whole[: len(whole) // 2])
    with open_source(path) as source:
        source.count = 200  # OpenCV knows what the index says, which is at the end
        frames = list(source)
        assert 50 < len(frames) < 150
        assert f"ended after {len(frames)} of 200 frames" in source.problem


def test_what_there_is_not(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        open_source(tmp_path / "no.mp4")
    with pytest.raises(DataError, match="camera 97: cannot be opened"):
        open_source("97")
    with pytest.raises(DataError, match=r"rtsp://127\.0\.0\.1:9/x: cannot be opened"):
        open_source("rtsp://127.0.0.1:9/x")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.mark.parametrize(("name", "count"), [("walk.mp4", 28), ("walk.ts", None)])
def test_a_file_of_a_web_server_is_read_in_full(make_video, tmp_path, name, count):
    make_video(name, count=28)
    handler = functools.partial(Quiet, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with open_source(f"http://127.0.0.1:{server.server_port}/{name}?a=b.c") as source:
            assert (source.live, source.count) == (False, count)
            assert numbers(source) == list(range(28))
        server.shutdown()


def test_jpegs_over_http_are_live():
    with jpeg_camera(lambda number: picture(number, (96, 64))) as address, open_source(address) as source:
        assert source.live and source.count is None
        frames = iter(source)
        assert [next(frames).index for _ in range(3)] == [0, 1, 2]


def test_a_server_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(sources, "_OPENING_PATIENCE", 0.2)
    with silent_server() as address, pytest.raises(DataError, match=r"camera: no picture came for 0.2 s; try"):
        open_source(address)


@pytest.mark.parametrize("stop", ["patience", "Ctrl-C"])
def test_a_source_that_opens_after_it_was_given_up_is_freed(monkeypatch, stop):
    go, freed = threading.Event(), threading.Event()
    capture = FakeCapture(3)
    capture.release = freed.set

    def late():
        go.wait(10)
        return Capture(capture, "camera 0", live=True)

    get = sources.queue.Queue.get

    def interrupted(self, block=True, timeout=None):
        if timeout:
            raise KeyboardInterrupt
        return get(self, block, timeout)

    monkeypatch.setattr(sources, "_OPENING_PATIENCE", 0.1)
    with monkeypatch.context() as patch, pytest.raises(DataError if stop == "patience" else KeyboardInterrupt):
        if stop == "Ctrl-C":
            patch.setattr(sources.queue.Queue, "get", interrupted)
        sources._patiently(late, "camera 0", "is it free?")
    assert not freed.is_set()
    go.set()
    assert freed.wait(5)


def test_macos_opens_cameras_in_the_main_thread(monkeypatch):
    found = []
    monkeypatch.setattr(sources, "_open_camera", lambda text: found.append(threading.current_thread().name))
    open_source("0")
    monkeypatch.setattr(sys, "platform", "darwin")
    open_source("0")
    assert found == ["opener", threading.main_thread().name]


def test_what_a_source_raises_comes_out_of_a_stream(estimator):
    class TimesOut(FakeCapture):
        def read(self):
            if self.left < 3:
                raise OSError(errno.ETIMEDOUT, "Connection timed out")
            return super().read()

    with (
        Stream(estimator, Capture(TimesOut(3), "nas.mp4", live=False)) as stream,
        pytest.raises(TimeoutError, match="timed out"),
    ):
        list(stream)


def test_a_file_is_freed_however_long_a_picture_takes(monkeypatch, estimator):
    waits = []
    monkeypatch.setattr("ehrnet_tf.video.overlap.Ahead.stop", lambda self, limit=2.0: waits.append(limit) or True)
    for name, live in (("walk.mp4", False), ("http://host/walk.mp4", False), ("camera 0", True)):
        with Stream(estimator, Capture(FakeCapture(1), name, live)) as stream:
            list(stream)
    assert waits == [None, 2.0, 2.0]


def test_a_file_that_may_not_be_read(make_video, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(DataError, match=r"walk.mp4: cannot be read \(Permission denied\)"):
        open_source(make_video())


def test_a_camera_that_vanishes_says_so():
    capture = FakeCapture(4)
    with Capture(capture, "camera 0", live=True) as source:
        assert len(list(source)) == 4 and source.count is None and source.fps is None
    assert source.problem == "camera 0: no more pictures came after 4; is it still connected?"
    assert capture.released


def test_a_camera_without_a_picture_is_let_go():
    capture = FakeCapture(0)
    with pytest.raises(DataError, match="camera 0: no picture comes"):
        Capture(capture, "camera 0", live=True)
    assert capture.released


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("0", True),
        ("/dev/video1", True),
        ("rtsp://host/stream", True),
        ("videotestsrc ! videoconvert", True),
        ("walk.MP4", True),
        ("photo.jpg", False),
        ("folder", False),
    ],
)
def test_what_is_a_video(text, answer):
    assert is_video(text) is answer


def test_a_folder_may_have_a_number_for_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "7").mkdir()
    assert not is_video("7")
