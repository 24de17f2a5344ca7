import builtins
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from ehrnet_tf.video import open_source
from ehrnet_tf.video import writer as module
from ehrnet_tf.video.writer import VideoWriter

FULL = """
import resource, sys
import numpy as np
from ehrnet_tf.video.writer import VideoWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
noise = np.random.default_rng(0)
with VideoWriter(sys.argv[1], 25) as writer:
    for i in range(200):
        writer.write(noise.integers(0, 255, (120, 160, 3), np.uint8), i / 25)
"""


def square(shade, size=(48, 64)):
    image = np.full((*size, 3), 30, np.uint8)
    image[8:24, 8:24] = shade
    return image


def shades(path):
    with open_source(path) as source:
        return [(frame.seconds, int(frame.image[16, 16].mean())) for frame in source]


def test_pictures_sizes_and_times_are_kept(tmp_path):
    pytest.importorskip("av")
    seconds = [0, 0.04, 0.5, 0.54, 2.0]
    with VideoWriter(tmp_path / "a" / "out.mp4", 25) as writer:
        for i, second in enumerate(seconds):
            writer.write(square(50 + 40 * i), second)
        assert not (tmp_path / "a" / "out.mp4").exists()
    assert writer.note is None
    found = shades(tmp_path / "a" / "out.mp4")
    assert [s for s, _ in found] == pytest.approx(seconds, abs=2e-3)
    assert [v for _, v in found] == pytest.approx([50, 90, 130, 170, 210], abs=4)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("size", [(47, 63), (48, 63)])
def test_odd_sizes_grow_by_a_pixel(tmp_path, size):
    pytest.importorskip("av")
    with VideoWriter(tmp_path / "out.mp4", 25) as writer:
        writer.write(square(200, size), 0.0)
    with open_source(tmp_path / "out.mp4") as source:
        (frame,) = source
    assert frame.image.shape[:2] == (48, 64)


def test_a_size_that_changes_is_fitted(tmp_path):
    pytest.importorskip("av")
    with VideoWriter(tmp_path / "out.mp4", 25) as writer:
        writer.write(square(200), 0.0)
        writer.write(np.full((100, 400, 3), 200, np.uint8), 0.04)
    with open_source(tmp_path / "out.mp4") as source:
        first, second = source
    assert second.image.shape == first.image.shape
    assert second.image[24, 32].mean() > 180 and second.image[2, 32].mean() < 30


@pytest.mark.parametrize(("name", "codec", "kept"), [("a.mp4", "aac", "aac"), ("a.mkv", "pcm_s16le", "aac")])
def test_sound_goes_along(tmp_path, make_video, name, codec, kept):
    import av

    original = make_video(name, count=50, sound=codec)
    with VideoWriter(tmp_path / "out.mp4", 25, original) as writer, open_source(original) as source:
        for frame in source:
            writer.write(frame.image, frame.seconds)
    assert writer.note is None
    with av.open(str(tmp_path / "out.mp4")) as found:
        assert [s.type for s in found.streams] == ["video", "audio"]
        assert found.streams.audio[0].codec_context.name == kept
        samples = np.concatenate([f.to_ndarray()[0] for f in found.decode(audio=0)])
        assert len(samples) / 16000 == pytest.approx(2.0, abs=0.2)
        assert 0.15 < np.sqrt(np.square(samples[4000:20000]).mean()) < 0.3
    assert len(shades(tmp_path / "out.mp4")) == 50


def test_what_was_written_is_kept_whatever_happens(tmp_path):
    pytest.importorskip("av")
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "out.mp4", 25) as writer:
        for i in range(10):
            writer.write(square(100), i / 25)
        raise KeyboardInterrupt
    assert len(shades(tmp_path / "out.mp4")) == 10


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    pytest.importorskip("av")
    with VideoWriter(tmp_path / "out.mp4", 25) as first:
        with VideoWriter(tmp_path / "out.mp4", 25) as second:
            for i in range(4):
                first.write(square(100), i / 25)
                second.write(square(200), i / 25)
            assert len(list(tmp_path.glob(".unfinished-*"))) == 2
        assert [shade for _, shade in shades(tmp_path / "out.mp4")] == pytest.approx([200] * 4, abs=4)
    assert [shade for _, shade in shades(tmp_path / "out.mp4")] == pytest.approx([100] * 4, abs=4)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_a_full_disk_keeps_what_was_written(tmp_path):
    pytest.importorskip("av")
    path = tmp_path / "out.mp4"
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("OSError") and str(path) in done.stderr.splitlines()[-1]
    assert len(shades(path)) >= 1


def test_without_pyav_opencv_writes_and_says_what_is_lost(tmp_path, monkeypatch, make_video):
    original = make_video(count=10, sound="aac")
    real = builtins.__import__

    def refuse(name, *rest):
        if name == "av":
            raise ImportError("no av")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with VideoWriter(tmp_path / "out.mp4", 25, original) as writer:
        for i, second in enumerate([0, 0.04, 0.08, 0.2, 0.24]):
            writer.write(square(50 + 40 * i), second)
    assert "without sound" in writer.note and "ehrnet-tf[video]" in writer.note
    found = shades(tmp_path / "out.mp4")
    assert [v for _, v in found] == pytest.approx([50, 90, 130, 130, 130, 170, 210], abs=8)


def test_nothing_written_leaves_nothing(tmp_path):
    with VideoWriter(tmp_path / "out.mp4", 25):
        pass
    assert not list(tmp_path.iterdir())


def test_errors_name_the_file_that_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "has_pyav", lambda: False)
    monkeypatch.setattr(module.cv2, "VideoWriter", lambda *_: SimpleNamespace(isOpened=lambda: False))
    with pytest.raises(OSError, match="cannot write MPEG-4") as error, VideoWriter(tmp_path / "out.mp4", 25) as writer:
        writer.write(square(100), 0.0)
    assert error.value.filename == str(tmp_path / "out.mp4") and not list(tmp_path.iterdir())
