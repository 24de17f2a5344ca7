"""Batch normalisation in one TensorFlow operation while training.

Keras 3 composes it of several, each a pass over memory, and more again for the gradient, which a CPU feels.
"""

from __future__ import annotations

import keras


def fuse_batch_norm(model: keras.Model) -> None:
    """Makes ``model``'s `BatchNormalization` layers train by `tf.nn`'s fused operation (TensorFlow backend only).

    Results are the same to rounding; weights, configuration and inference are untouched; a saved model knows nothing
    of it.
    """
    for layer in model.layers:
        if (
            isinstance(layer, keras.layers.BatchNormalization)
            and layer.axis in (-1, 3)
            and layer.scale
            and layer.center
        ):
            layer.call = _FusedCall(layer)


class _FusedCall:
    def __init__(self, layer: keras.layers.BatchNormalization):
        self._layer, self._plain = layer, layer.call

    def __call__(self, inputs, training=None, mask=None):
        import tensorflow as tf

        layer = self._layer
        if not training or mask is not None or not layer.trainable:
            return self._plain(inputs, training=training, mask=mask)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, layer.gamma, layer.beta, epsilon=layer.epsilon, is_training=True
        )
        # The operation returns the unbiased variance; Keras averages the biased one.
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), variance.dtype)
        variance *= (count - 1) / count
        for average, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            average.assign(average * layer.momentum + value * (1 - layer.momentum))
        return outputs
