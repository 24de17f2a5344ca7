"""Running Keras models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ehrnet_tf.errors import MissingExtraError, ModelFileError
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.runtime.metadata import choose_keypoints, model_metadata, read_metadata
from ehrnet_tf.runtime.runner import OUTPUTS, Runner

if TYPE_CHECKING:
    import keras


class KerasRunner(Runner):
    """Runs a Keras model, given as such or as a .keras file; any batch size.

    The runner follows the weights of a model that goes on training. The first call traces the graph: seconds.

    Args:
      model: an `EfficientHRNet`, or the path of one saved.
      keypoints: the keypoint set; None: the metadata's, else "coco" if there are 17 channels.
      metadata: what is known of the model; None: what the file holds, else `model_metadata`.

    Raises:
      ModelFileError: no such file, or not a Keras model file with this network.
      UsageError: it is not known which keypoints the channels are; the model has other outputs.
      MissingExtraError: Keras is not installed.
    """

    kind = "Keras"

    def __init__(
        self,
        model: keras.Model | str | os.PathLike,
        keypoints: str | os.PathLike | KeypointSet | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        if isinstance(model, (str, os.PathLike)):
            self.name = str(model)
            metadata = metadata or read_metadata(model)
            model = _load_keras(Path(model))
        else:
            self.name = model.name
        if not metadata:
            metadata = model_metadata(model, keypoints=keypoints)
        self.model = model
        self.metadata = metadata
        self.keypoints = choose_keypoints(keypoints, metadata, model.output["tags"].shape[-1], self.name)
        height, width = model.input_shape[1:3]
        self.input_size = (height, width) if height and width else None
        self._compute = _compiled(model)

    def any_size(self) -> KerasRunner:
        if self.input_size is None:
            return self
        from ehrnet_tf.models.weights import with_free_size

        runner = KerasRunner(with_free_size(self.model), self.keypoints, self.metadata)
        runner.name = self.name
        return runner

    def _run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        outputs = self._compute(images)
        return {name: np.asarray(outputs[name], np.float32) for name in OUTPUTS}


def _load_keras(path: Path) -> keras.Model:
    try:
        from ehrnet_tf.models.weights import open_keras
    except ImportError as error:
        raise MissingExtraError("keras", "train") from error
    model = open_keras(path)
    if not isinstance(getattr(model, "output", None), dict) or not set(OUTPUTS) <= set(model.output):
        raise ModelFileError(f"{path}: a Keras model without the outputs {', '.join(OUTPUTS)}; save an EfficientHRNet")
    return model


def _compiled(model: keras.Model):
    """The model's inference as a function of (B, H, W, 3) uint8, traced once on the TensorFlow backend."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return lambda images: {
            name: keras.ops.convert_to_numpy(value) for name, value in model(images, training=False).items()
        }
    import tensorflow as tf

    signature = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, "image")
    return tf.function(lambda images: model(images, training=False), input_signature=[signature])
