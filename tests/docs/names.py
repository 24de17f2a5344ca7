"""Names that the pages' Python uses without saying where they come from, and what makes their values."""

from __future__ import annotations

import importlib
from typing import Any

import painted

from . import standins


def _estimator(desk: Any):
    from ehrnet_tf import PoseEstimator

    desk.provide(["a.tflite"])
    return PoseEstimator(desk.folder / "a.tflite")


def _frames(desk: Any):
    return [(number / 10, painted.picture((number, 0))) for number in range(3)]


def _tracked(desk: Any):
    from ehrnet_tf import Tracker

    estimator, tracker = _estimator(desk), Tracker("coco")
    return [(seconds, tracker(estimator(image), seconds)) for seconds, image in _frames(desk)]


NAMES = {
    "cv2": lambda desk: importlib.import_module("cv2"),
    "ehrnet_tf": lambda desk: importlib.import_module("ehrnet_tf"),
    "estimator": _estimator,
    "frames": _frames,
    "image": lambda desk: painted.picture(),
    "images": lambda desk: [painted.picture()] * 2,
    "pandas": lambda desk: importlib.import_module("pandas"),
    "tracked": _tracked,
    "whole": lambda desk: standins.whole,
}
