"""An `EfficientHRNet` of Keras 3 as a `tf_keras` model of the operators that integer hardware runs, and back.

tfmot quantises `tf_keras` models only. The clone goes layer by layer, under the same names, and each of its layers
becomes one operator of the .tflite file, so that every tensor that will be rounded there can be rounded here:

- a batch norm is folded into the convolution before it (its statistics stand still from here on);
- pixel normalisation, a scale and an offset by channel, is a 1x1 depthwise convolution;
- swish is a sigmoid and a product; a sum of several is a chain of sums of two; drop-connect is left out.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ehrnet_tf.errors import EhrnetError, MissingExtraError, UsageError

if TYPE_CHECKING:
    import keras
    import tf_keras

MOVING = ("ZeroPadding2D", "UpSampling2D")  # layers that move values and compute none
SIGMOID = "_sigmoid"  # ends the name of a swish's first part
_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2D", "Conv2DTranspose")
_LARGEST_DIFFERENCE = 1e-5  # of an output's range, between a model and its clone
# The converter drops a transposed convolution's bias that is all zero, as before any training, then does not join the
# ReLU behind it, and leaves both in float.
_NOT_ZERO = 1e-8
_SMALLEST_SCALE = 1e-4  # of a batch norm's channel, through which weights are divided on the way back


def import_tf_keras() -> Any:
    """The package `tf_keras`.

    Raises:
      MissingExtraError: it is not installed.
      UsageError: Keras computes by another backend than TensorFlow.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        raise UsageError(
            f"quantisation needs Keras on TensorFlow, not {keras.backend.backend()}: set KERAS_BACKEND=tensorflow"
        )
    try:
        import tf_keras
    except ImportError as error:
        raise MissingExtraError("tf_keras", "qat") from error
    return tf_keras


def clone(model: keras.Model) -> tf_keras.Model:
    """The clone of a model of fixed input size.

    Its input is (B, H, W, 3) float32, pixels 0..255; its outputs are the model's, by name. Layers keep their names; a
    swish "a" becomes "a_sigmoid" and "a", a sum of three "b" becomes "b_0" and "b".

    Raises:
      UsageError: the input size is free; no TensorFlow backend.
      MissingExtraError: `tf_keras` is not installed.
      EhrnetError: a layer that has no counterpart here.
    """
    tf_keras = import_tf_keras()
    if None in model.input_shape[1:3]:
        raise UsageError(f"model '{model.name}': quantisation needs a fixed input size; give it one")
    builder = _Builder(model, tf_keras)
    outputs = {name: builder.tensors[id(tensor)] for name, tensor in model.output.items()}
    return tf_keras.Model(builder.input, outputs, name=model.name)


class _Builder:
    """Builds the clone's graph: `tensors` has the clone's tensor of every tensor of the model, by its id."""

    def __init__(self, model: keras.Model, tf_keras: Any):
        self._layers = tf_keras.layers
        self.tensors: dict[int, Any] = {}
        folded = foldings(model)
        norms = set(folded.values())
        makers: dict[str, Callable] = {
            "InputLayer": self._input,
            "Rescaling": self._normalization,
            "ZeroPadding2D": self._same,
            "UpSampling2D": self._same,
            "GlobalAveragePooling2D": self._same,
            "ReLU": self._same,
            "Concatenate": self._same,
            "Multiply": self._same,
            "Activation": self._activation,
            "Add": self._add,
            "Dropout": lambda layer, inputs: inputs[0],
        }
        by_name = {layer.name: layer for layer in model.layers}
        for layer in model.layers:
            kind = type(layer).__name__
            inputs = [self.tensors[id(tensor)] for tensor in _inputs(layer)]
            if kind in _CONVOLUTIONS:
                norm = by_name.get(folded.get(layer.name, ""))
                self.tensors[id(layer.output)] = self._convolution(layer, norm, inputs[0])
            elif layer.name in norms:
                self.tensors[id(layer.output)] = inputs[0]
            elif kind in makers:
                self.tensors[id(layer.output)] = makers[kind](layer, inputs)
            else:
                raise EhrnetError(
                    f"layer '{layer.name}' ({kind}): quantisation does not know how to round it; known are "
                    f"{', '.join(sorted((*makers, *_CONVOLUTIONS)))}, and a BatchNormalization behind a convolution"
                )

    def _input(self, layer: Any, inputs: list) -> Any:
        self.input = self._layers.Input(layer.batch_shape[1:], name=layer.name)
        return self.input

    def _normalization(self, layer: Any, inputs: list) -> Any:
        convolution = self._layers.DepthwiseConv2D(1, name=layer.name, trainable=False)
        output = convolution(inputs[0])
        scale = np.broadcast_to(np.asarray(layer.scale, np.float32), (3,))
        convolution.set_weights([scale.reshape(1, 1, 3, 1), np.broadcast_to(np.float32(layer.offset), (3,))])
        return output

    def _same(self, layer: Any, inputs: list) -> Any:
        config = {k: v for k, v in layer.get_config().items() if k not in ("dtype", "quantization_config")}
        return getattr(self._layers, type(layer).__name__).from_config(config)(inputs if len(inputs) > 1 else inputs[0])

    def _activation(self, layer: Any, inputs: list) -> Any:
        name = layer.get_config()["activation"]
        if name == "sigmoid":
            return self._layers.Activation("sigmoid", name=layer.name)(inputs[0])
        if name in ("swish", "silu"):
            gate = self._layers.Activation("sigmoid", name=f"{layer.name}{SIGMOID}")(inputs[0])
            return self._layers.Multiply(name=layer.name)([inputs[0], gate])
        raise EhrnetError(
            f"layer '{layer.name}': quantisation does not know the activation '{name}'; known: swish, sigmoid"
        )

    def _add(self, layer: Any, inputs: list) -> Any:
        total = inputs[0]
        for k, part in enumerate(inputs[1:]):
            last = k == len(inputs) - 2
            total = self._layers.Add(name=layer.name if last else f"{layer.name}_{k}")([total, part])
        return total

    def _convolution(self, layer: Any, norm: Any, x: Any) -> Any:
        config = layer.get_config()
        if config["activation"] not in (None, "linear"):
            raise EhrnetError(f"layer '{layer.name}': give its activation a layer of its own to quantise it")
        if config.get("groups", 1) != 1 or config.get("depth_multiplier", 1) != 1:
            raise EhrnetError(f"layer '{layer.name}': quantisation knows no groups and no depth multiplier but 1")
        wanted = ["name", "kernel_size", "strides", "padding", "dilation_rate"]
        wanted.append("depth_multiplier" if type(layer).__name__ == "DepthwiseConv2D" else "filters")
        options = {key: config[key] for key in wanted}
        made = getattr(self._layers, type(layer).__name__)(use_bias=True, **options)
        output = made(x)
        kernel, bias = _fold(layer, norm)
        if type(layer).__name__ == "Conv2DTranspose" and not bias.any():
            bias += _NOT_ZERO
        made.set_weights([kernel, bias])
        return output


def _inputs(layer: Any) -> list:
    if type(layer).__name__ == "InputLayer":
        return []
    return layer.input if isinstance(layer.input, list) else [layer.input]


def foldings(model: keras.Model) -> dict[str, str]:
    """The batch norm that is folded into each convolution: names by names."""
    producers = {id(layer.output): layer for layer in model.layers}
    consumers = Counter(id(tensor) for layer in model.layers for tensor in _inputs(layer))
    found = {}
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            before = producers[id(layer.input)]
            if type(before).__name__ in _CONVOLUTIONS and consumers[id(before.output)] == 1:
                found[before.name] = layer.name
    return found


def _channel_axis(layer: Any) -> tuple[int, ...]:
    """The shape that spreads a value by output channel over the layer's kernel."""
    return {"Conv2D": (1, 1, 1, -1), "DepthwiseConv2D": (1, 1, -1, 1), "Conv2DTranspose": (1, 1, -1, 1)}[
        type(layer).__name__
    ]


def _values(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias (0 where there is none) of a convolution, float64."""
    kernel, *bias = (np.asarray(weights, np.float64) for weights in layer.get_weights())
    return kernel, bias[0] if bias else np.zeros(layer.output.shape[-1])


def _scale(norm: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scale, mean and offset of a batch norm in inference: scale * (x - mean) + offset. float64."""
    gamma, beta, mean, variance = (np.asarray(weights, np.float64) for weights in norm.get_weights())
    return gamma / np.sqrt(variance + norm.epsilon), mean, beta


def _fold(layer: Any, norm: Any) -> list[np.ndarray]:
    """Kernel and bias of a convolution and the batch norm behind it (or None)."""
    kernel, bias = _values(layer)
    if norm is not None:
        scale, mean, offset = _scale(norm)
        kernel, bias = kernel * scale.reshape(_channel_axis(layer)), (bias - mean) * scale + offset
    return [kernel.astype(np.float32), bias.astype(np.float32)]


def check_clone(model: keras.Model, cloned: tf_keras.Model, images: np.ndarray) -> float:
    """Compares a model with its clone before anything is quantised.

    Args:
      model, cloned: see `clone`.
      images: (B, H, W, 3) uint8.

    Returns:
      the largest difference, in units of the output's range.

    Raises:
      EhrnetError: it exceeds 1e-5.
    """
    pixels = images.astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a model that was read from a file wants its one input in a list
        expected, found = model(pixels, training=False), cloned(pixels, training=False)
    worst = 0.0
    for name, values in expected.items():
        values = np.asarray(values)
        worst = max(worst, float(np.abs(np.asarray(found[name]) - values).max() / max(np.ptp(values), 1e-9)))
    if not worst <= _LARGEST_DIFFERENCE:
        raise EhrnetError(f"model '{model.name}': its clone gives other maps, by {worst:.2g} of their range")
    return worst


def variables_by_name(layer: Any) -> dict[str, Any]:
    """A layer's variables by the last part of their names."""
    return {variable.name.split("/")[-1].split(":")[0]: variable for variable in layer.weights}


def copy_weights_back(cloned: tf_keras.Model, model: keras.Model) -> None:
    """Gives ``model`` the weights of its clone (or of the clone quantised, before rounding).

    Batch norms keep their statistics and scales, kernels are divided by them: the model computes what the clone does
    (in float), and can be trained on.
    """
    weights = {}
    for layer in cloned.layers:
        own = getattr(layer, "layer", layer)  # of a layer that tfmot wraps
        weights[own.name] = {name: variable.numpy() for name, variable in variables_by_name(layer).items()}
    folded = foldings(model)
    for layer in model.layers:
        if type(layer).__name__ not in _CONVOLUTIONS:
            continue
        mine = weights[layer.name]
        kernel = np.float64(mine.get("kernel", mine.get("depthwise_kernel")))
        bias = np.float64(mine["bias"])
        if layer.name in folded:
            norm = model.get_layer(folded[layer.name])
            gamma, _, mean, variance = norm.get_weights()
            deviation = np.sqrt(np.float64(variance) + norm.epsilon)
            scale = gamma / deviation
            idle = np.abs(scale) < _SMALLEST_SCALE
            gamma, scale = np.where(idle, deviation, gamma), np.where(idle, 1.0, scale)
            kernel = kernel / scale.reshape(_channel_axis(layer))
            own_bias = _values(layer)[1]
            norm.set_weights([gamma, bias - (own_bias - mean) * scale, mean, variance])
            bias = own_bias
        layer.set_weights([kernel, bias] if layer.use_bias else [kernel])
