"""Which runner a model file needs.

Importing this module imports none of the runtimes; a runner imports its own when it is made.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ehrnet_tf.errors import ModelFileError, UsageError
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.runtime.keras_runner import KerasRunner
from ehrnet_tf.runtime.onnx_runner import OnnxRunner
from ehrnet_tf.runtime.openvino_runner import OpenVINORunner
from ehrnet_tf.runtime.runner import GRAPHS, OUTPUTS, STRIDE, FileRunner, Runner, describe_size
from ehrnet_tf.runtime.saved_model_runner import SavedModelRunner
from ehrnet_tf.runtime.tensorrt_runner import TensorRTRunner
from ehrnet_tf.runtime.tflite_runner import TFLiteRunner, open_interpreter

__all__ = [
    "ACCEPTED",
    "GRAPHS",
    "OUTPUTS",
    "STRIDE",
    "FileRunner",
    "KerasRunner",
    "OnnxRunner",
    "OpenVINORunner",
    "Runner",
    "SavedModelRunner",
    "TFLiteRunner",
    "TensorRTRunner",
    "describe_size",
    "kind_of",
    "open_interpreter",
    "open_runner",
    "size_of",
]

_BY_SUFFIX = {
    ".keras": KerasRunner,
    ".tflite": TFLiteRunner,
    ".onnx": OnnxRunner,
    ".xml": OpenVINORunner,
    ".engine": TensorRTRunner,
    ".plan": TensorRTRunner,
    ".trt": TensorRTRunner,
}
ACCEPTED = ".keras, .tflite and .onnx files, OpenVINO's .xml, TensorRT's .engine, and SavedModel folders"


def kind_of(path: str | os.PathLike) -> type[Runner]:
    """The class that runs a model file.

    Raises:
      ModelFileError: no such file, or a kind of file that is not accepted.
    """
    path = Path(path)
    if not path.exists():
        raise ModelFileError(f"{path}: no such model file; accepted are {ACCEPTED}")
    if (path / "saved_model.pb").is_file():
        return SavedModelRunner
    kind = _BY_SUFFIX.get(path.suffix.lower()) if path.is_file() else None
    if kind is None:
        raise ModelFileError(f"{path}: not a kind of model that is known; accepted are {ACCEPTED}")
    return kind


def open_runner(
    model_or_path: Any,
    threads: int | None = None,
    keypoints: str | os.PathLike | KeypointSet | None = None,
    device: str | None = None,
) -> Runner:
    """The runner for a Keras model or a model file, picked by the file's suffix; a runner passes through.

    Args:
      model_or_path: what to run.
      threads: CPU threads where the runtime can be told (TFLite, ONNX Runtime, OpenVINO; default 2).
      keypoints: the keypoint set, for files that do not say theirs.
      device: where to run, for runtimes that have a choice: see the runners.

    Raises:
      ModelFileError: no such file, a kind of file that is not accepted, or not what its suffix says.
      UsageError: as the runners' constructors; a device for a runtime that has no choice.
    """
    if isinstance(model_or_path, Runner):
        return model_or_path
    if hasattr(model_or_path, "input_shape") and hasattr(model_or_path, "output"):
        return KerasRunner(model_or_path, keypoints)
    try:
        path = Path(model_or_path)
    except TypeError as error:
        raise UsageError(f"{model_or_path!r:.80}: give a Keras model or the path of {ACCEPTED}") from error
    kind = kind_of(path)
    if kind in (TFLiteRunner, OnnxRunner, OpenVINORunner):
        return kind(path, threads, keypoints, device)
    if device is not None:
        raise UsageError(f"device '{device}': {path} runs in {kind.kind}, which has no such choice; leave it out")
    return kind(path, keypoints)


def size_of(path: str | os.PathLike) -> int:
    """Bytes of a model: of a folder all files, of an OpenVINO .xml also the .bin beside it."""
    path = Path(path)
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    weights = path.with_suffix(".bin")
    return path.stat().st_size + (weights.stat().st_size if path.suffix == ".xml" and weights.is_file() else 0)
