"""The ranges of activations that an int8 engine needs: measured on pictures, and kept beside the engine.

TensorRT calibrates in float32, and its documentation says nothing of uint8 inputs there. So the ranges are measured on
the same network with a float32 input that is given the same pixels (in the uint8 network the first operator casts
them), and are then given by name, as a calibration cache, to the build with the uint8 input.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ehrnet_tf.errors import EhrnetError
from ehrnet_tf.files import atomic_path, write_json
from ehrnet_tf.runtime.cuda import Buffer, Cuda


def calibration_files(out_path: str | os.PathLike) -> tuple[Path, Path]:
    """The files beside an int8 engine: its calibration cache, as ``trtexec --calib`` reads it, and whose it is."""
    out_path = Path(out_path)
    return out_path.with_suffix(".calibration"), out_path.with_suffix(".calibration.json")


class Table:
    """The calibration cache beside an engine: of one ONNX file, one TensorRT and one sequence of pictures.

    Attributes:
      reused: whether `read_or_make` found it.

    Args:
      version: of TensorRT.
      onnx_path: the network.
      pictures: (H, W, 3) uint8 network inputs.
      out_path: the engine.
    """

    def __init__(
        self,
        version: str,
        onnx_path: str | os.PathLike,
        pictures: Sequence[np.ndarray],
        out_path: str | os.PathLike,
    ):
        self._pictures, self.reused = pictures, False
        self._cache, self._identity = calibration_files(out_path)
        digest = hashlib.sha256(version.encode())
        digest.update(Path(onnx_path).read_bytes())
        for picture in pictures:
            digest.update(np.ascontiguousarray(picture))
        self._of = digest.hexdigest()

    def read_or_make(self, make: Callable[[Sequence[np.ndarray]], bytes]) -> bytes:
        """The cache, from its file if that belongs to the same network, pictures and TensorRT, else made and written.

        Args:
          make: from pictures to a cache.
        """
        table = self._read()
        self.reused = table is not None
        if table is None:
            table = make(self._pictures)
            with atomic_path(self._cache) as temporary:
                temporary.write_bytes(table)
            write_json(self._identity, {"of": self._of, "cache": hashlib.sha256(table).hexdigest()})
        return table

    def describe(self) -> dict[str, Any]:
        """ "pictures": how many; "cache": its file; "reused"."""
        return {"pictures": len(self._pictures), "cache": str(self._cache), "reused": self.reused}

    def _read(self) -> bytes | None:
        try:
            known, table = json.loads(self._identity.read_text(encoding="utf-8")), self._cache.read_bytes()
            belongs = known["of"] == self._of and known["cache"] == hashlib.sha256(table).hexdigest()
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return table if belongs else None


def make_calibrator(trt: Any, cuda: Cuda, pictures: Sequence[np.ndarray], table: bytes | None) -> Any:
    """An entropy calibrator over pictures for a float32 input, or without pictures one that gives a known cache.

    Its attribute ``written`` is the cache that TensorRT made, or None; ``failure`` what went wrong under TensorRT,
    which cannot pass an exception on, or None. To be closed.

    Args:
      trt: the module ``tensorrt``.
      cuda: the runtime.
      pictures: (H, W, 3) uint8, given one by one, in order, as float32.
      table: a calibration cache, or None.
    """

    class Calibrator(trt.IInt8EntropyCalibrator2):
        def __init__(self):
            trt.IInt8EntropyCalibrator2.__init__(self)
            self.written: bytes | None = None
            self.failure: EhrnetError | None = None
            self._left = iter(pictures)
            self._buffer: Buffer | None = None

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: list[str]) -> list[int] | None:
            try:
                picture = next(self._left, None)
                return None if picture is None else [self._put(picture)]
            except EhrnetError as error:
                self.failure = error
                return None

        def read_calibration_cache(self) -> bytes | None:
            return table

        def write_calibration_cache(self, cache: Any) -> None:
            self.written = bytes(cache)

        def close(self) -> None:
            if self._buffer is not None:
                self._buffer.close()

        def _put(self, picture: np.ndarray) -> int:
            if self._buffer is None:
                self._buffer = Buffer(cuda, (1, *picture.shape), np.float32)
            np.copyto(self._buffer.array, picture[None])
            stream = cuda.stream()
            try:
                self._buffer.upload(stream)
                cuda.synchronize(stream)
            finally:
                cuda.destroy_stream(stream)
            return self._buffer.address

    return Calibrator()
