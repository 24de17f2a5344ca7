"""A quantised clone as a Runner: what the .tflite file will give, before it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from ehrnet_tf.runtime.metadata import choose_keypoints
from ehrnet_tf.runtime.runners import OUTPUTS, Runner

if TYPE_CHECKING:
    import tf_keras


class SimulatedRunner(Runner):
    """Runs a clone, quantised or not; follows its weights and ranges while it is fine-tuned.

    Args:
      cloned: see `clone.clone` and `rounding.quantize`.
      metadata: of the model that it was made of.
    """

    kind = "simulated integers"

    def __init__(self, cloned: tf_keras.Model, metadata: dict[str, Any]):
        self.name, self.metadata = cloned.name, metadata
        self.input_size = tuple(cloned.input_shape[1:3])
        self.keypoints = choose_keypoints(None, metadata, cloned.output["tags"].shape[-1], self.name)

        @tf.function(autograph=False)
        def compute(images):
            outputs = cloned(tf.cast(images, tf.float32), training=False)
            return {name: outputs[name] for name in OUTPUTS}

        self._compute = compute

    def _run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return {name: values.numpy() for name, values in self._compute(tf.constant(images)).items()}
