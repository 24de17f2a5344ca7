"""Running TensorRT engines: .engine, .plan and .trt files, on the GPU of this machine.

An engine file is what TensorRT serialized, with a zip archive of metadata behind it (see `runtime.metadata`), which is
cut off before TensorRT sees it. TensorRT comes with JetPack, or with ``pip install tensorrt-cu12``; the calls used here
are those by tensor name, which 8.5, 8.6, 10 and 11 share.
"""

from __future__ import annotations

import functools
import os
import zipfile
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from ehrnet_tf.errors import EhrnetError, ModelFileError, UsageError
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.runtime.cuda import Buffer, Cuda
from ehrnet_tf.runtime.metadata import choose_keypoints, read_metadata
from ehrnet_tf.runtime.runner import FileRunner

OLDEST = (8, 5)  # the first TensorRT with uint8 inputs and calls by tensor name
WORKING = "versions 8.5 to 10.x work"
SUFFIXES = (".engine", ".plan", ".trt")
_DTYPES = {"FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8, "UINT8": np.uint8, "INT32": np.int32}
_AGAIN = "build it again on this device from the .onnx by ehrnet export"
_LONGEST = 400  # characters of TensorRT's own words in an error


class MissingTensorRTError(EhrnetError, ImportError):
    """TensorRT's Python bindings are missing, broken or too old."""


class TensorRTRunner(FileRunner):
    """Runs an engine that `converters.tensorrt` built; batches go through it one by one.

    Memory is allocated once, page-locked on the host; on an integrated GPU (a Jetson) the network reads and writes it
    where it lies. Returned arrays are copies, the caller's own. One call at a time. `close` frees the GPU's memory,
    else the garbage collector.

    Args:
      path: the file.
      keypoints: the keypoint set; None: the file's metadata, else "coco" if there are 17 channels.

    Raises:
      ModelFileError: no such file, cut off, built by another TensorRT or for another GPU, or with other inputs and
        outputs.
      UsageError: it is not known which keypoints the channels are.
      MissingTensorRTError: TensorRT is not installed, or too old.
      CudaError: no CUDA device, or not enough memory.
    """

    kind = "TensorRT"

    def __init__(self, path: str | os.PathLike, keypoints: str | os.PathLike | KeypointSet | None = None):
        self._buffers: dict[str, Buffer] = {}
        self._stream = self._context = self._engine = self._runtime = None
        self.name = str(path)
        self.metadata = read_metadata(path) or {}
        trt = import_tensorrt()
        self._logger = tensorrt_logger(trt)
        self._cuda = Cuda()
        self._runtime, self._engine = self._deserialize(trt)
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        inputs = [n for n in names if self._engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        channels = self._check_tensors(
            {n: (self._engine.get_tensor_dtype(n).name.lower(), self._shape(n)) for n in inputs},
            {n: self._shape(n) for n in names if n not in inputs},
        )
        self.keypoints = choose_keypoints(keypoints, self.metadata, channels, self.name)
        (self._input,) = inputs
        try:
            self._allocate(trt, names)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Frees the memory of the GPU; the runner runs no more. May be called again."""
        self._context = self._engine = self._runtime = None
        buffers, self._buffers = self._buffers, {}
        for buffer in buffers.values():
            buffer.close()
        stream, self._stream = self._stream, None
        if stream is not None:
            self._cuda.destroy_stream(stream)

    def __del__(self):
        try:
            self.close()
        except Exception:  # the interpreter or the driver is shutting down
            return

    def _deserialize(self, trt: Any) -> tuple[Any, Any]:
        trt.init_libnvinfer_plugins(self._logger, "")
        runtime = trt.Runtime(self._logger)
        core = (self.metadata.get("engine") or {}).get("dla_core")
        if core is not None:
            runtime.DLA_core = core
        self._logger.take()
        engine = runtime.deserialize_cuda_engine(read_engine(self.name))
        if engine is None:
            raise ModelFileError(
                f"{self.name}: TensorRT {trt.__version__} on {self._cuda.device_name} cannot load it "
                f"({self._logger.take()}); {self._built_elsewhere(trt)}: {_AGAIN}"
            )
        return runtime, engine

    def _built_elsewhere(self, trt: Any) -> str:
        built = self.metadata.get("engine") or {}
        if not built:
            return "it is cut off, or built by another TensorRT or on another GPU"
        by, on = built.get("tensorrt", "unknown"), built.get("device", "unknown")
        if (by, on) == (trt.__version__, self._cuda.device_name):
            return "it is damaged"
        return f"it was built by TensorRT {by} on {on}"

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(int(side) for side in self._engine.get_tensor_shape(name))

    def _allocate(self, trt: Any, names: Sequence[str]) -> None:
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise EhrnetError(
                f"{self.name}: TensorRT cannot start it ({self._logger.take()}); close other programs that use the GPU"
            )
        self._stream = self._cuda.stream()
        for name in names:
            dtype = _DTYPES.get(self._engine.get_tensor_dtype(name).name)
            if dtype is None or self._engine.get_tensor_format(name) != trt.TensorFormat.LINEAR:
                raise ModelFileError(f"{self.name}: its tensor '{name}' has a layout that is not read; {_AGAIN}")
            buffer = self._buffers[name] = Buffer(self._cuda, self._shape(name), dtype)
            if not self._context.set_tensor_address(name, buffer.address):
                raise EhrnetError(f"{self.name}: TensorRT refuses the buffer of '{name}' ({self._logger.take()})")

    def _run_one(self, image: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        if self._context is None:
            raise UsageError(f"{self.name}: the runner is closed; open the file again")
        np.copyto(self._buffers[self._input].array, image)
        self._buffers[self._input].upload(self._stream)
        started = self._context.execute_async_v3(self._stream.value)
        for name in outputs:
            self._buffers[name].download(self._stream)
        self._cuda.synchronize(self._stream)
        if not started:
            raise EhrnetError(f"{self.name}: TensorRT fails ({self._logger.take()}); {_AGAIN}")
        return {name: self._buffers[name].array.astype(np.float32) for name in outputs}


def read_engine(path: str | os.PathLike) -> bytes:
    """What TensorRT serialized, without the metadata behind it: what ``trtexec --loadEngine`` reads.

    Raises:
      ModelFileError: no such file, or its metadata is damaged.
    """
    path = Path(path)
    if read_metadata(path) is None:
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        length = min(member.header_offset for member in archive.infolist())
    with path.open("rb") as file:
        return file.read(length)


def import_tensorrt() -> Any:
    """The module ``tensorrt``.

    Raises:
      MissingTensorRTError: it is not installed, cannot be loaded, or is older than 8.5.
    """
    try:
        import tensorrt
    except (ImportError, OSError) as error:
        raise MissingTensorRTError(
            f"TensorRT cannot be imported ({error}); {WORKING}: on a Jetson JetPack brings it (sudo apt install nvidia-"
            "jetpack), and the system's python3 -m venv --system-site-packages makes an environment that sees it, "
            "on a PC pip install 'tensorrt-cu12<11'"
        ) from error
    if tensorrt_version(tensorrt) < OLDEST:
        raise MissingTensorRTError(
            f"TensorRT {tensorrt.__version__} is too old, {WORKING}: on a Jetson install JetPack 5.1 or later, on a PC "
            "pip install 'tensorrt-cu12<11'"
        )
    return tensorrt


def tensorrt_version(trt: Any) -> tuple[int, int]:
    """(major, minor) of the module."""
    major, minor = trt.__version__.split(".")[:2]
    return int(major), int(minor)


@functools.lru_cache(maxsize=None)
def tensorrt_logger(trt: Any) -> Any:
    """The logger of this process, since TensorRT keeps the first that it is given.

    Its method ``take()`` gives the errors that were logged since the last call, as one line.
    """

    class Logger(trt.ILogger):
        def __init__(self):
            trt.ILogger.__init__(self)
            self._errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self._errors.append(" ".join(msg.split()))

        def take(self) -> str:
            errors, self._errors = self._errors, []
            return "; ".join(errors)[:_LONGEST] or "without saying why"

    return Logger()
