"""Running .tflite files."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ehrnet_tf.errors import MissingExtraError, ModelFileError, UsageError
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.runtime.metadata import choose_keypoints, read_metadata
from ehrnet_tf.runtime.runner import FileRunner, check_threads

# Where the interpreter comes from: the first of them that is installed.
_PACKAGES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite.python.interpreter")
GPU_LIBRARY = "libtensorflowlite_gpu_delegate.so"  # as TensorFlow's own build names the GPU delegate


class TFLiteRunner(FileRunner):
    """Runs a .tflite file that `converters.tflite` wrote; batches go through it one by one.

    Args:
      path: the file.
      threads: CPU threads.
      keypoints: the keypoint set; None: the file's metadata, else "coco" if there are 17 channels.
      device: None or "cpu": XNNPACK; "plain": the CPU without it; "gpu": the GPU delegate, whose library
        `GPU_LIBRARY` the loader must find; or the path of a delegate's library (.so).

    Raises:
      ModelFileError: no such file, not a whole TFLite file, or one with other inputs and outputs.
      UsageError: it is not known which keypoints the channels are; ``threads`` below 1; a delegate that cannot be had.
      MissingExtraError: neither ai-edge-litert nor TensorFlow is installed.
    """

    kind = "TFLite"

    def __init__(
        self,
        path: str | os.PathLike,
        threads: int | None = None,
        keypoints: str | os.PathLike | KeypointSet | None = None,
        device: str | None = None,
    ):
        self.name = str(path)
        self.threads = check_threads(threads)
        self.device = None if device in (None, "cpu") else device
        self.metadata = read_metadata(path) or {}
        self._interpreter = open_interpreter(path, self.device, num_threads=self.threads)
        try:
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelFileError(f"{path}: the TFLite interpreter cannot run it ({_reason(error)})") from error
        inputs, outputs = self._find_tensors()
        channels = self._check_tensors(
            {t["name"]: (np.dtype(t["dtype"]).name, t["shape_signature"].tolist()) for t in inputs},
            {name: t["shape_signature"].tolist() for name, t in outputs.items()},
        )
        self._input, self._outputs = inputs[0], outputs
        self.keypoints = choose_keypoints(keypoints, self.metadata, channels, self.name)

    @property
    def input_quantization(self) -> tuple[float, int]:
        """Scale and zero point of the uint8 input; (0.0, 0) where it is not quantised."""
        scale, zero_point = self._input["quantization"]
        return float(scale), int(zero_point)

    def _find_tensors(self) -> tuple[list[dict], dict[str, dict]]:
        signatures = list(self._interpreter.get_signature_list())
        if not signatures:
            return self._interpreter.get_input_details(), {
                tensor["name"]: tensor for tensor in self._interpreter.get_output_details()
            }
        runner = self._interpreter.get_signature_runner(signatures[0])
        return list(runner.get_input_details().values()), runner.get_output_details()

    def _run_one(self, image: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        self._interpreter.set_tensor(self._input["index"], image)
        self._interpreter.invoke()
        return {name: self._read(self._outputs[name]) for name in outputs}

    def _read(self, details: dict) -> np.ndarray:
        values = self._interpreter.get_tensor(details["index"])
        if values.dtype == np.float32:
            return values
        scale, zero_point = details["quantization"]
        return (values.astype(np.float32) - zero_point) * np.float32(scale)


def open_interpreter(path: str | os.PathLike, device: str | None = None, **options: Any):
    """A TFLite interpreter over the file, from ai-edge-litert, tflite-runtime or TensorFlow.

    Args:
      path: the file.
      device: see `TFLiteRunner`.
      **options: of the interpreter.

    Raises:
      ModelFileError: not a whole TFLite file.
      UsageError: the delegate cannot be loaded, or does not take the file.
      MissingExtraError: none of the packages is installed.
    """
    package = interpreter_package()
    if device == "plain":
        options["experimental_op_resolver_type"] = package.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    elif device is not None:
        options["experimental_delegates"] = [_load_delegate(package, device)]
    try:
        return package.Interpreter(model_path=str(path), **options)
    except (ValueError, RuntimeError) as error:
        if "experimental_delegates" in options:
            raise UsageError(f"device '{device}': does not take {path} ({_reason(error)}); leave it out") from error
        raise ModelFileError(f"{path}: not a whole TFLite file ({_reason(error)}); export or copy it again") from error


def interpreter_package() -> Any:
    """The module that has ``Interpreter``, ``load_delegate`` and ``OpResolverType``.

    Raises:
      MissingExtraError: none of the packages is installed.
    """
    for name in _PACKAGES:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            missing = error
    package = "ai-edge-litert" if sys.version_info >= (3, 9) else "tflite-runtime"
    raise MissingExtraError(package, None) from missing


def _load_delegate(package: Any, device: str) -> Any:
    library = GPU_LIBRARY if device == "gpu" else device
    if not library.endswith(".so"):
        raise UsageError(f"device '{device}': TFLite runs on cpu, plain (no XNNPACK), gpu, or a delegate's library .so")
    try:
        return package.load_delegate(library)
    except (OSError, ValueError, RuntimeError, AttributeError) as error:
        raise UsageError(
            f"device '{device}': the delegate {library} cannot be loaded ({_reason(error)}); install it where the "
            "loader finds it (LD_LIBRARY_PATH), or leave the device out for the CPU"
        ) from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
