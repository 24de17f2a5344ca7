"""Running .onnx files in ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ehrnet_tf.errors import MissingExtraError, ModelFileError, UsageError
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.runtime.metadata import choose_keypoints, read_metadata
from ehrnet_tf.runtime.runner import FileRunner, check_device, check_threads

if TYPE_CHECKING:
    import onnxruntime

# Devices and ONNX Runtime's names for them; what a provider does not take runs on the CPU.
PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "dml": "DmlExecutionProvider",
}


class OnnxRunner(FileRunner):
    """Runs an .onnx file that `converters.onnx` wrote; batches go through it one by one.

    Args:
      path: the file.
      threads: CPU threads.
      keypoints: the keypoint set; None: the file's metadata, else "coco" if there are 17 channels.
      device: None or "cpu", or one of `PROVIDERS`, if this ONNX Runtime has it.

    Raises:
      ModelFileError: no such file, not an ONNX file, of dynamic shape, or with other inputs and outputs.
      UsageError: it is not known which keypoints the channels are; ``threads`` below 1; a device that is not there.
      MissingExtraError: ONNX Runtime is not installed.
    """

    kind = "ONNX Runtime"

    def __init__(
        self,
        path: str | os.PathLike,
        threads: int | None = None,
        keypoints: str | os.PathLike | KeypointSet | None = None,
        device: str | None = None,
    ):
        self.name = str(path)
        self.threads = check_threads(threads)
        self.device = check_device(device, tuple(PROVIDERS), self.kind)
        self.metadata = read_metadata(path) or {}
        self._session = open_session(path, self.threads, self.device)
        inputs = {i.name: (i.type[len("tensor(") : -1], i.shape) for i in self._session.get_inputs()}
        channels = self._check_tensors(inputs, {o.name: o.shape for o in self._session.get_outputs()})
        (self._input,) = inputs
        self.keypoints = choose_keypoints(keypoints, self.metadata, channels, self.name)

    def _run_one(self, image: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        return dict(zip(outputs, self._session.run(list(outputs), {self._input: image})))


def open_session(path: str | os.PathLike, threads: int = 2, device: str | None = None) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session over the file.

    Args:
      path: the file.
      threads: CPU threads.
      device: one of `PROVIDERS`; None: the CPU.

    Raises:
      ModelFileError: not a whole ONNX file.
      UsageError: this ONNX Runtime has not the device.
      MissingExtraError: ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "onnx") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    if device:
        available = onnxruntime.get_available_providers()
        if PROVIDERS[device] not in available:
            had = ", ".join(name for name, provider in PROVIDERS.items() if provider in available)
            raise UsageError(
                f"device '{device}': this ONNX Runtime has {had or 'the CPU'} only; install the build that has "
                f"{PROVIDERS[device]}"
            )
        providers.insert(0, PROVIDERS[device])
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(f"{path}: not a whole ONNX file ({reason}); export or copy it again") from error
