"""What takes the place of networks, cameras, TensorRT and processes while the pages' commands run."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import types

import cv2
import numpy as np
import pytest

import ehrnet_tf
import fake_tensorrt
import painted
from ehrnet_tf import demo, predict
from ehrnet_tf.benchmark import run as benchmark
from ehrnet_tf.benchmark.stages import Subject
from ehrnet_tf.converters.jetson import camera, deploy
from ehrnet_tf.runtime import cuda
from ehrnet_tf.video import screen

from . import network

HAS_GCC = shutil.which("gcc") is not None  # without it, there is no stand-in for CUDA's memory


class Camera:
    """What OpenCV opens: a camera that sees two painted people for ever."""

    def isOpened(self):
        return True

    def get(self, what):
        return 25.0 if what == cv2.CAP_PROP_FPS else 0.0

    def read(self):
        return True, painted.picture()[:, :, ::-1].copy()

    def release(self):
        pass


class FewPictures(Camera):
    """One that vanishes after three pictures."""

    left = 3

    def read(self):
        self.left -= 1
        return (True, super().read()[1]) if self.left >= 0 else (False, None)


class Worker(benchmark.Worker):
    """Times in this process, which has loaded everything, and where the stand-in for TensorRT is."""

    def __init__(self, model, options):
        self._subject, self.times, self.power = Subject(model, options), [], {}
        self.facts = self._subject.facts

    def __exit__(self, *_):
        runner = self._subject._estimator.runner
        getattr(runner, "close", lambda: None)()

    def _ask(self, what):
        if "rounds" in what:
            return {"times": [self._subject.round() for _ in range(what["rounds"])]}
        return self._subject.after()


class Screen(contextlib.nullcontext):
    """A window that stays open."""

    def show(self, image, wait=False):
        return True

    def __enter__(self):
        return self


class Picamera2:
    """Three pictures, then Ctrl-C."""

    left = 3

    def create_video_configuration(self, main):
        assert main["format"] == "BGR888"
        return main

    def configure(self, configuration):
        self.size = configuration["size"]

    def start(self):
        pass

    def capture_array(self):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return np.zeros((*self.size[::-1], 3), np.uint8)


def install(patch: pytest.MonkeyPatch, folder) -> None:
    """Puts all of them in their places.

    Args:
      patch: takes them away again.
      folder: for what has to be compiled.
    """
    from ehrnet_tf.training import logs, train

    patch.setattr(logs, "draw_curves", lambda rows, path, *more: path.write_bytes(b"no curves"))
    patch.setattr(train, "build_model", network.from_configuration)
    patch.setattr(ehrnet_tf, "EfficientHRNet", network.network, raising=False)
    patch.setattr(demo, "TRAIN_PICTURES", 4)
    patch.setattr(demo, "VAL_PICTURES", 2)
    patch.setattr(os, "cpu_count", lambda: 1)  # pictures are drawn here, not in processes that have to be started

    capture = cv2.VideoCapture
    patch.setattr(
        cv2, "VideoCapture", lambda what, *more: capture(what, *more) if os.path.isfile(str(what)) else Camera()
    )
    exists = os.path.exists
    patch.setattr(os.path, "exists", lambda path: str(path).startswith("/dev/video") or exists(path))
    patch.setattr(camera, "open_capture", lambda pipeline: FewPictures())
    patch.setattr(screen, "Screen", Screen)
    patch.setattr(predict, "Screen", Screen)
    patch.setattr(screen, "check_screen", lambda: None)
    patch.setitem(sys.modules, "picamera2", types.SimpleNamespace(Picamera2=Picamera2))

    patch.setattr(benchmark, "Worker", Worker)
    patch.setattr(deploy, "PAPER", {"rounds": 1, "warm_up": 0})
    patch.setattr(deploy, "USER", {"rounds": 1, "warm_up": 0})
    if HAS_GCC:
        import ctypes

        library = fake_tensorrt.compile_cudart(folder)
        patch.setattr(cuda, "library_candidates", lambda: iter([str(library)]))
        patch.setitem(sys.modules, "tensorrt", fake_tensorrt.make("10.3", ctypes.CDLL(str(library))))


@contextlib.contextmanager
def eagerly(wanted: bool = True):
    """Runs TensorFlow's functions without tracing them: what runs once is not worth it."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(wanted)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)
