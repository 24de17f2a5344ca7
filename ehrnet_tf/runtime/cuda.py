"""The few calls of the CUDA runtime that running an engine needs, through ctypes: devices, streams, buffers.

No package besides NumPy is needed: ``libcudart`` comes with JetPack, the CUDA toolkit or pip's ``tensorrt-cu12``.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import glob
import math
import os
import sys
from typing import Any, Iterator

import numpy as np

from ehrnet_tf.errors import EhrnetError

# File names of the library, as the loader finds them, and where it lies if the loader does not know it.
_NAMES = ("libcudart.so", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so.13")
_FOLDERS = ("/usr/local/cuda/lib64", "/usr/local/cuda/targets/*/lib", "/usr/local/cuda-*/lib64")
_PIP_FOLDERS = ("nvidia/cuda_runtime/lib", "nvidia/cu13/lib")  # of nvidia-cuda-runtime-cu11 and -cu12; of CUDA 13

_TOO_OLD_A_DRIVER = 35  # cudaErrorInsufficientDriver
_REMEDIES = {
    2: "close other programs that use the GPU",
    _TOO_OLD_A_DRIVER: "the driver is older than the CUDA runtime: update it, or install an older runtime",
    100: "no NVIDIA GPU is found: run on a machine with one, and in a container with --gpus all or --runtime nvidia",
    209: "built for another kind of GPU: build it again on this device",
    999: "restart the program; if that does not help, the machine",
}

# cudaDeviceAttr
_CAN_MAP_HOST_MEMORY, _INTEGRATED, _MAJOR, _MINOR = 19, 18, 75, 76
# cudaHostAlloc's flags, cudaStreamCreateWithFlags', cudaMemcpyKind
_DEFAULT, _MAPPED, _NON_BLOCKING, _TO_DEVICE, _TO_HOST = 0, 2, 1, 1, 2
_PROPERTIES = 8192  # bytes; a cudaDeviceProp has about 1000, and begins with the name in every version


class CudaError(EhrnetError):
    """A call of the CUDA runtime failed, or there is none."""


def library_candidates() -> Iterator[str]:
    """Names and paths under which ``libcudart`` may be found, in the order in which they are tried."""
    yield from _NAMES
    found = ctypes.util.find_library("cudart")
    if found:
        yield found
    folders = [*_FOLDERS, *(os.path.join(entry, folder) for entry in sys.path for folder in _PIP_FOLDERS)]
    for folder in folders:
        yield from sorted(glob.glob(os.path.join(folder, "libcudart.so*")))


class Cuda:
    """The CUDA runtime, on the current device (the first one unless CUDA_VISIBLE_DEVICES says otherwise).

    Attributes:
      device_name: as NVIDIA calls it: "Orin", "NVIDIA GeForce RTX 3060".
      compute_capability: "8.7".
      integrated: whether the GPU shares the memory of the CPU, as on a Jetson; buffers are then never copied.

    Raises:
      CudaError: no CUDA runtime library, or no CUDA device.
    """

    def __init__(self) -> None:
        self._library = _open_library()
        self.integrated = bool(self._attribute(_INTEGRATED) and self._attribute(_CAN_MAP_HOST_MEMORY))
        self.compute_capability = f"{self._attribute(_MAJOR)}.{self._attribute(_MINOR)}"
        self.device_name = self._device_name()

    def call(self, name: str, *arguments: Any) -> None:
        """Calls a function of the library.

        Raises:
          CudaError: it does not return 0.
        """
        code = getattr(self._library, name)(*arguments)
        if code:
            raise CudaError(_describe(self._library, name, code))

    def stream(self) -> ctypes.c_void_p:
        """A new stream that does not wait for the default one; to be given to `destroy_stream`."""
        stream = ctypes.c_void_p()
        self.call("cudaStreamCreateWithFlags", ctypes.byref(stream), ctypes.c_uint(_NON_BLOCKING))
        return stream

    def synchronize(self, stream: ctypes.c_void_p) -> None:
        """Waits until all that was put on the stream is done."""
        self.call("cudaStreamSynchronize", stream)

    def destroy_stream(self, stream: ctypes.c_void_p) -> None:
        """Gives a stream back."""
        self.call("cudaStreamDestroy", stream)

    def _attribute(self, number: int) -> int:
        value = ctypes.c_int()
        self.call("cudaDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(number), ctypes.c_int(0))
        return value.value

    def _device_name(self) -> str:
        properties = ctypes.create_string_buffer(_PROPERTIES)
        for name in ("cudaGetDeviceProperties", "cudaGetDeviceProperties_v2"):
            if hasattr(self._library, name):
                self.call(name, properties, ctypes.c_int(0))
                return properties.value.decode(errors="replace")
        return "unknown"


class Buffer:
    """An array in page-locked host memory, and memory of its size that the device reads and writes.

    On an integrated GPU both are the same memory, and `upload` and `download` do nothing.

    Attributes:
      array: ``shape``, ``dtype``. A view of memory that `close` frees: whoever keeps values copies them.
      address: of the device's memory.

    Args:
      cuda: the runtime.
      shape, dtype: of the array.

    Raises:
      CudaError: not enough memory.
    """

    def __init__(self, cuda: Cuda, shape: tuple[int, ...], dtype: Any):
        self._cuda = cuda
        self._bytes = math.prod(shape) * np.dtype(dtype).itemsize
        self._host, self._device = ctypes.c_void_p(), ctypes.c_void_p()
        size = ctypes.c_size_t(self._bytes)
        flags = ctypes.c_uint(_MAPPED if cuda.integrated else _DEFAULT)
        cuda.call("cudaHostAlloc", ctypes.byref(self._host), size, flags)
        try:
            if cuda.integrated:
                mapped = ctypes.c_void_p()
                cuda.call("cudaHostGetDevicePointer", ctypes.byref(mapped), self._host, ctypes.c_uint(0))
                self.address = mapped.value
            else:
                cuda.call("cudaMalloc", ctypes.byref(self._device), size)
                self.address = self._device.value
        except CudaError:
            self.close()
            raise
        memory = (ctypes.c_uint8 * self._bytes).from_address(self._host.value)
        self.array = np.frombuffer(memory, dtype).reshape(shape)

    def upload(self, stream: ctypes.c_void_p) -> None:
        """Puts the copy from host to device on the stream; ``array`` must stay as it is until that is done."""
        self._copy(self._device, self._host, _TO_DEVICE, stream)

    def download(self, stream: ctypes.c_void_p) -> None:
        """Puts the copy from device to host on the stream; ``array`` holds the values once that is done."""
        self._copy(self._host, self._device, _TO_HOST, stream)

    def close(self) -> None:
        """Frees the memory; the array must not be touched any more. May be called again."""
        host, device, self._host, self._device = self._host, self._device, ctypes.c_void_p(), ctypes.c_void_p()
        self.array = None
        if device.value:
            self._cuda.call("cudaFree", device)
        if host.value:
            self._cuda.call("cudaFreeHost", host)

    def _copy(self, target: ctypes.c_void_p, source: ctypes.c_void_p, kind: int, stream: ctypes.c_void_p) -> None:
        if not self._cuda.integrated:
            size = ctypes.c_size_t(self._bytes)
            self._cuda.call("cudaMemcpyAsync", target, source, size, ctypes.c_int(kind), stream)


def _open_library() -> ctypes.CDLL:
    """The first library that loads and does not find the driver too old for itself."""
    failure = (
        "CUDA: libcudart is not found; on a Jetson install nvidia-jetpack, on a PC pip install tensorrt-cu12, or put "
        "the toolkit's lib64 on LD_LIBRARY_PATH"
    )
    for candidate in library_candidates():
        try:
            library = ctypes.CDLL(candidate)
        except OSError:
            continue
        count = ctypes.c_int()
        code = library.cudaGetDeviceCount(ctypes.byref(count))
        if not code and count.value:
            library.cudaGetErrorString.restype = ctypes.c_char_p
            return library
        failure = _describe(library, "cudaGetDeviceCount", code or 100)
        if code != _TOO_OLD_A_DRIVER:
            break
    raise CudaError(failure)


def _describe(library: ctypes.CDLL, name: str, code: int) -> str:
    library.cudaGetErrorString.restype = ctypes.c_char_p
    reason = (library.cudaGetErrorString(ctypes.c_int(code)) or b"unknown error").decode(errors="replace")
    return f"CUDA: {name} failed: {reason} ({code}); {_REMEDIES.get(code, 'see whether nvidia-smi finds the GPU')}"
