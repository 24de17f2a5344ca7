"""Running TensorFlow SavedModel folders."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ehrnet_tf.errors import MissingExtraError, ModelFileError
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.runtime.metadata import choose_keypoints, read_metadata
from ehrnet_tf.runtime.runner import GRAPHS, Runner


class SavedModelRunner(Runner):
    """Runs a TensorFlow SavedModel folder, as `converters.saved_model` or Keras' `model.export` writes it.

    The signature "serving_default" (or the only one) takes one (B, H, W, 3) batch of RGB pixels, uint8 or float32, and
    gives the outputs by name. Metadata lie in the folder as ``ehrnet.json``.

    Args:
      path: the folder.
      keypoints: the keypoint set; None: the metadata's, else "coco" if there are 17 channels.

    Raises:
      ModelFileError: not a SavedModel that TensorFlow reads, or one with other inputs and outputs.
      UsageError: it is not known which keypoints the channels are.
      MissingExtraError: TensorFlow is not installed.
    """

    kind = "SavedModel"

    def __init__(self, path: str | os.PathLike, keypoints: str | os.PathLike | KeypointSet | None = None):
        try:
            import tensorflow as tf
        except ImportError as error:
            raise MissingExtraError("tensorflow", "train") from error
        self.name = str(path)
        self.metadata = read_metadata(path) or {}
        try:
            self._model = tf.saved_model.load(self.name)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelFileError(
                f"{path}: not a SavedModel that TensorFlow reads ({reason}); export it again"
            ) from error
        signatures = self._model.signatures
        self._signature = signatures.get("serving_default") or next(iter(signatures.values()), None)
        self.graph, self._input = self._find_tensors(tf)
        shape = self._input.shape
        self._batch = shape[0]
        self.input_size = (shape[1], shape[2]) if shape[1] and shape[2] else None
        outputs = self._signature.structured_outputs
        channels = outputs["tags"].shape[-1] if self.graph == "maps" else outputs["keypoints"].shape[2]
        self.keypoints = choose_keypoints(keypoints, self.metadata, channels, self.name)

    def _find_tensors(self, tf: Any) -> tuple[str, Any]:
        if self._signature is not None:
            inputs = list(self._signature.structured_input_signature[1].values())
            outputs, takes = self._signature.structured_outputs, ((tf.uint8, 4), (tf.float32, 4))
            for graph, names in GRAPHS.items():
                found = [outputs[name].shape.rank for name in names if name in outputs]
                wanted = [4] * len(names) if graph == "maps" else [4, 2]
                if len(inputs) == 1 and found == wanted and (inputs[0].dtype, inputs[0].shape.rank) in takes:
                    return graph, inputs[0]
        wanted = " or ".join(", ".join(names) for names in GRAPHS.values())
        raise ModelFileError(
            f"{self.name}: needs a signature with one (B, H, W, 3) uint8 or float32 input and outputs named "
            f"{wanted}; "
            "export it by ehrnet export"
        )

    def _run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        import tensorflow as tf

        batch, names, each = self._batch or len(images), GRAPHS[self.graph], []
        for first in range(0, len(images), batch):
            part = images[first : first + batch]
            lacking = batch - len(part)
            if lacking:
                part = np.concatenate((part, np.zeros((lacking, *part.shape[1:]), np.uint8)))
            outputs = self._signature(**{self._input.name: tf.constant(part, self._input.dtype)})
            each.append({name: outputs[name].numpy()[: batch - lacking] for name in names})
        return {name: np.concatenate([maps[name] for maps in each]) for name in names}
