"""The ranges of a quantised clone's tensors, read off calibration pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from ehrnet_tf.quantization.clone import MOVING, SIGMOID, variables_by_name

PREFIX = "quant_"  # tfmot's, of a wrapped layer's name
BINS = 2048
_FINEST = 512  # times an addend's steps may be finer than the sum's
_SWISH_FLOOR = -8.0  # a swish gives -0.003 there, and no less below


def range_variables(quantized: tf_keras.Model) -> dict[str, tuple[Any, Any]]:
    """The variables (lowest, highest) of every output that has a range of its own, by the layer's name."""
    found = {}
    for layer in quantized.layers:
        variables = variables_by_name(layer)
        if "output_min" in variables:
            found[layer.name.removeprefix(PREFIX)] = (variables["output_min"], variables["output_max"])
    return found


def calibrate(cloned: tf_keras.Model, quantized: tf_keras.Model, pictures: Sequence[np.ndarray]) -> None:
    """Sets the ranges of ``quantized`` to those that round its float clone's values with the least mean square error.

    A few values far out would otherwise cost all others their steps. What only a swish reads is taken as -8 below -8:
    there a swish gives nearly 0. The maps keep their whole range: their few high values are the keypoints.

    Args:
      cloned: see `clone.clone`.
      quantized: see `rounding.quantize`.
      pictures: (H, W, 3) uint8 network inputs.
    """
    variables = range_variables(quantized)
    observed = tf_keras.Model(cloned.input, [cloned.get_layer(name).output for name in variables])

    @tf.function(autograph=False)
    def extremes(image):
        values = observed(image, training=False)
        return tf.stack([tf.reduce_min(v) for v in values]), tf.stack([tf.reduce_max(v) for v in values])

    @tf.function(autograph=False)
    def histograms(image, low, high):
        values = observed(image, training=False)
        return tf.stack([tf.histogram_fixed_width(v, [a, b], BINS) for v, a, b in zip(values, low, high, strict=True)])

    low = high = np.zeros(len(variables), np.float32)  # zero is always in the range
    for picture in pictures:
        smallest, largest = extremes(tf.constant(picture[None], tf.float32))
        low, high = np.minimum(low, smallest), np.maximum(high, largest)
    high = np.maximum(high, low + 1e-6)
    counts = np.zeros((len(variables), BINS))
    ends = [[tf.constant(value) for value in part] for part in (low, high)]
    for picture in pictures:
        counts += histograms(tf.constant(picture[None], tf.float32), *ends).numpy()
    before_swish = _before_swish(cloned)
    whole = {output.node.layer.name for output in tf.nest.flatten(cloned.output)}
    for (name, (lowest, highest)), count, a, b in zip(variables.items(), counts, low, high, strict=True):
        if name not in whole:
            a, b = best_range(count, float(a), float(b), _SWISH_FLOOR if name in before_swish else None)
        lowest.assign(a)
        highest.assign(b)
    _widen_addends(cloned, variables)


def _widen_addends(cloned: tf_keras.Model, variables: dict[str, tuple[Any, Any]]) -> None:
    """Widens what is next to nothing beside the sum that it goes into: XNNPACK adds no steps 1024 times finer than the
    sum's, and would leave the sum to slower code."""

    def ranges(layer):
        while layer.name not in variables and type(layer).__name__ in MOVING:
            layer = layer.input.node.layer
        return variables.get(layer.name)

    for layer in reversed(cloned.layers):  # a sum may go into another
        if type(layer).__name__ != "Add":
            continue
        total = ranges(layer) or ranges(layer.outbound_nodes[0].outbound_layer)
        if total is None:
            continue
        least = (float(total[1]) - float(total[0])) / _FINEST
        for low, high in filter(None, (ranges(tensor.node.layer) for tensor in layer.input)):
            width = float(high) - float(low)
            if width < least:
                low.assign(float(low) * least / width)
                high.assign(float(high) * least / width)


def _before_swish(cloned: tf_keras.Model) -> set[str]:
    """Names of the layers whose output only a swish reads."""
    readers = {layer.name: {node.outbound_layer.name for node in layer.outbound_nodes} for layer in cloned.layers}
    return {
        name
        for name, found in readers.items()
        if len(found) == 2 and any({reader, f"{reader}{SIGMOID}"} == found for reader in found)
    }


def best_range(counts: np.ndarray, low: float, high: float, floor: float | None = None) -> tuple[float, float]:
    """The range, of those down to a tenth of the whole, whose 256 steps round a histogram's values with the least mean
    square error.

    Args:
      counts: values in each of equal bins from ``low`` to ``high``.
      low, high: ends of the values; 0 lies between them.
      floor: values below count as this.
    """
    edges = np.linspace(low, high, len(counts) + 1)
    values = (edges[1:] + edges[:-1]) / 2
    if floor is not None:
        values, low = np.maximum(values, floor), max(low, floor)
    candidates = []
    for part in np.linspace(1, 0.1, 91):
        for a, b in {(part * low, part * high), (max(low, -part * high), part * high), (low, part * high)}:
            if b > a:
                outside = np.maximum(a - values, 0) + np.maximum(values - b, 0)
                square = np.where(outside > 0, outside**2, ((b - a) / 255) ** 2 / 12)
                candidates.append((float(counts @ square), a, b))
    return min(candidates, key=lambda candidate: candidate[0])[1:]
