"""Small videos made on the spot, and an estimator that finds one person: the brightest pixel."""

from fractions import Fraction

import numpy as np
import pytest

from ehrnet_tf.keypoints import load
from ehrnet_tf.poses import Poses

TICKS = 90_000


def picture(number, size=(48, 64)):
    """A dark picture whose brightest pixels walk to the right, a row of blocks that says its number."""
    image = np.full((*size, 3), 20, np.uint8)
    x = 4 + 2 * number % (size[1] - 8)
    image[10:14, x : x + 4] = 250
    return image


def write_video(path, count=20, size=(48, 64), fps=25, seconds=None, sound=None, codec="libx264"):
    """A video; ``sound``: the codec of a tone that goes with it."""
    import av

    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=fps)
        video.height, video.width, video.pix_fmt = *size, "yuv420p"
        if codec == "libx264":
            video.options = {"crf": "5"}
        base = Fraction(1, TICKS if seconds else fps)
        video.time_base = video.codec_context.time_base = base
        audio = None
        if sound:
            audio = container.add_stream(sound, rate=16000)
            audio.layout = "mono"
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(picture(i, size), "rgb24")
            frame.pts = round(seconds[i] * TICKS) if seconds else i
            frame.time_base = base
            container.mux(video.encode(frame))
        if audio:
            samples = (0.3 * np.sin(np.arange(16000 * count // fps) / 5)).astype(np.float32)
            for start in range(0, len(samples), 1024):
                part = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], "fltp", "mono")
                part.sample_rate, part.pts = 16000, start
                for ready in av.AudioResampler(audio.format, audio.layout, 16000).resample(part):
                    container.mux(audio.encode(ready))
            container.mux(audio.encode(None))
        container.mux(video.encode(None))
    return path


@pytest.fixture
def make_video(tmp_path):
    pytest.importorskip("av")

    def make(name="walk.mp4", **options):
        return write_video(tmp_path / name, **options)

    return make


class BrightestPixel:
    """Finds one person of 17 keypoints around the brightest pixels."""

    min_score = 0.2

    def __init__(self):
        self.keypoints = load("coco")
        self.seen = []

    def __call__(self, image):
        y, x = np.argwhere(image.min(axis=2) > 150).mean(axis=0) + 0.5
        self.seen.append(image.shape)
        offset = np.arange(17) % 5 - 2.0
        joints = np.stack((x + offset, y + offset, np.full(17, 0.9)), axis=1)
        return Poses(joints[None], np.array([0.9]), self.keypoints, image.shape[:2])


@pytest.fixture
def estimator():
    return BrightestPixel()
