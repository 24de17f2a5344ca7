"""Running .onnx files in ONNX Runtime."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ehrnet_tf.errors import MissingExtraError, ModelFileError, UsageError
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.runtime.metadata import MEMBER, choose_keypoints
from ehrnet_tf.runtime.runners import GRAPHS, Runner

if TYPE_CHECKING:
    import onnxruntime


class OnnxRunner(Runner):
    """Runs an .onnx file that `converters.onnx` wrote; batches go through it one by one.

    Args:
      path: the file.
      threads: CPU threads.
      keypoints: the keypoint set; None: the file's metadata, else "coco" if there are 17 channels.

    Raises:
      ModelFileError: no such file, not an ONNX file, or one with other inputs and outputs.
      UsageError: it is not known which keypoints the channels are; ``threads`` below 1.
      MissingExtraError: ONNX Runtime is not installed.
    """

    kind = "ONNX Runtime"

    def __init__(
        self,
        path: str | os.PathLike,
        threads: int | None = 2,
        keypoints: str | os.PathLike | KeypointSet | None = None,
    ):
        self.name = str(path)
        self.threads = 2 if threads is None else threads
        if self.threads < 1:
            raise UsageError(f"threads {threads}: must be at least 1")
        self._session = open_session(path, self.threads)
        self.graph, self._input, channels = self._find_tensors()
        self.input_size = tuple(self._input.shape[1:3])
        self.metadata = session_metadata(self._session, path) or {}
        self.keypoints = choose_keypoints(keypoints, self.metadata, channels, self.name)

    def _find_tensors(self) -> tuple[str, Any, int]:
        inputs, outputs = self._session.get_inputs(), {o.name: o.shape for o in self._session.get_outputs()}
        for graph, names in GRAPHS.items():
            if (
                len(inputs) == 1
                and set(names) <= set(outputs)
                and inputs[0].type == "tensor(uint8)"
                and all(isinstance(side, int) for side in inputs[0].shape)
            ):
                return graph, inputs[0], outputs["tags"][-1] if graph == "maps" else outputs["keypoints"][2]
        raise ModelFileError(
            f"{self.name}: needs one uint8 input of static shape and this package's outputs; export it again"
        )

    def _run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        names = GRAPHS[self.graph]
        each = [self._session.run(list(names), {self._input.name: image[None]}) for image in images]
        return {name: np.concatenate([outputs[i] for outputs in each]) for i, name in enumerate(names)}


def open_session(path: str | os.PathLike, threads: int = 2) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session over the file, on the CPU.

    Raises:
      ModelFileError: not a whole ONNX file.
      MissingExtraError: ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "onnx") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(f"{path}: not a whole ONNX file ({reason}); export or copy it again") from error


def session_metadata(session: onnxruntime.InferenceSession, path: str | os.PathLike) -> dict[str, Any] | None:
    """The metadata of a session's file (see `runtime.metadata`); None if it holds none.

    Raises:
      ModelFileError: its metadata is damaged.
    """
    entry = session.get_modelmeta().custom_metadata_map.get(MEMBER)
    try:
        metadata = json.loads(entry) if entry else None
    except ValueError as error:
        raise ModelFileError(f"{path}: its metadata ({MEMBER}) is damaged ({error}); export it again") from error
    if metadata is not None and not isinstance(metadata, dict):
        raise ModelFileError(f"{path}: its metadata ({MEMBER}) is not a JSON object; export the file again")
    return metadata
