"""Which tensors of a clone are rounded, and how: `QuantizeConfig`s for tfmot.

Every operator's result is rounded as the .tflite file will round it: 8 bits, a range of its own, zero exactly on a
step. Exceptions: what a ReLU follows (the two are one operator), what only moves values (padding, resizing: their
input's steps hold), sigmoids (0..1, as TFLite fixes it) and pixels (0..255: pixels are the steps). Kernels are rounded
symmetrically, with a range by output channel.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection
from typing import Any

import tensorflow as tf
import tf_keras

from ehrnet_tf.errors import EhrnetError, MissingExtraError
from ehrnet_tf.quantization.clone import MOVING

_LEGACY = "TF_USE_LEGACY_KERAS"  # tfmot sets it, for this process and its children
_legacy = os.environ.get(_LEGACY)
try:
    import tensorflow_model_optimization as tfmot
    from tensorflow_model_optimization.python.core.quantization.keras import quantize_scheme
except ImportError as import_error:
    raise MissingExtraError("tensorflow_model_optimization", "qat") from import_error
finally:
    os.environ.pop(_LEGACY, None)
    if _legacy is not None:
        os.environ[_LEGACY] = _legacy

_quantization = tfmot.quantization.keras
_KERNELS = {"Conv2D": "kernel", "DepthwiseConv2D": "depthwise_kernel", "Conv2DTranspose": "kernel"}


class Switched(_quantization.quantizers.Quantizer):
    """Another quantizer with a variable "switch" beside it, by which it rounds (1) or not (0).

    Args:
      quantizer: the other.
    """

    def __init__(self, quantizer: Any):
        self.quantizer = quantizer

    def build(self, tensor_shape, name, layer):
        switch = layer.add_weight(f"{name}_switch", initializer="zeros", trainable=False)
        return {**self.quantizer.build(tensor_shape, name, layer), "switch": switch}

    def __call__(self, inputs, training, weights, **kwargs):
        return inputs + weights["switch"] * (self.quantizer(inputs, training, weights) - inputs)

    def get_config(self):
        return {"quantizer": self.quantizer}


class KernelQuantizer(_quantization.quantizers.Quantizer):
    """Rounds a kernel to -127..127 with a range for each output channel, read off the kernel itself.

    Args:
      channels_last: the output channels are the kernel's last axis; else its last but one (depthwise and transposed
        convolutions).
    """

    converting = False  # the converter rounds kernels whose channels are not last in the same way, but cannot read it

    def __init__(self, channels_last: bool = True):
        self.channels_last = channels_last

    def build(self, tensor_shape, name, layer):
        return {}

    def __call__(self, inputs, training, weights, **kwargs):
        if self.converting and not self.channels_last:
            return inputs
        kernel = inputs if self.channels_last else tf.transpose(inputs, (0, 1, 3, 2))
        largest = tf.maximum(tf.reduce_max(tf.abs(kernel), axis=(0, 1, 2)), 1e-9)
        rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(
            kernel, -largest, largest, num_bits=8, narrow_range=True
        )
        return rounded if self.channels_last else tf.transpose(rounded, (0, 1, 3, 2))

    def get_config(self):
        return {"channels_last": self.channels_last}


class RangeQuantizer(_quantization.quantizers.Quantizer):
    """Rounds to 256 steps of the range from the variable "..._min" to "..._max", which `ranges.calibrate` sets."""

    def build(self, tensor_shape, name, layer):
        return {
            end: layer.add_weight(f"{name}_{end}", initializer=tf_keras.initializers.Constant(value), trainable=False)
            for end, value in (("min", -6.0), ("max", 6.0))
        }

    def __call__(self, inputs, training, weights, **kwargs):
        return tf.quantization.fake_quant_with_min_max_vars(inputs, weights["min"], weights["max"])

    def get_config(self):
        return {}


class FixedQuantizer(_quantization.quantizers.Quantizer):
    """Rounds to 256 steps of a fixed range."""

    def __init__(self, low: float, high: float):
        self.low, self.high = low, high

    def build(self, tensor_shape, name, layer):
        return {}

    def __call__(self, inputs, training, weights, **kwargs):
        return tf.quantization.fake_quant_with_min_max_args(inputs, self.low, self.high)

    def get_config(self):
        return {"low": self.low, "high": self.high}


class Rounding(_quantization.QuantizeConfig):
    """Rounds a layer's kernel, if it has one, and its output.

    Args:
      kernel: the kernel's attribute, or None.
      channels_last: see `KernelQuantizer`.
      output: "none", "range" (see `RangeQuantizer`) or "sigmoid".
      switched: whether each has a `Switched` round it.
    """

    def __init__(
        self, kernel: str | None = None, channels_last: bool = True, output: str = "range", switched: bool = False
    ):
        self.kernel, self.channels_last, self.output, self.switched = kernel, channels_last, output, switched

    def get_weights_and_quantizers(self, layer):
        if not self.kernel:
            return []
        return [(getattr(layer, self.kernel), self._choose(KernelQuantizer(self.channels_last)))]

    def set_quantize_weights(self, layer, quantize_weights):
        if self.kernel:
            setattr(layer, self.kernel, quantize_weights[0])

    def get_activations_and_quantizers(self, layer):
        return []

    def set_quantize_activations(self, layer, quantize_activations):
        pass

    def get_output_quantizers(self, layer):
        if self.output == "none":
            return []
        if self.output == "sigmoid":
            return [self._choose(FixedQuantizer(0.0, 255 / 256))]
        return [self._choose(RangeQuantizer())]

    def _choose(self, quantizer):
        return Switched(quantizer) if self.switched else quantizer

    def get_config(self):
        return {
            "kernel": self.kernel,
            "channels_last": self.channels_last,
            "output": self.output,
            "switched": self.switched,
        }


class _Scheme(quantize_scheme.QuantizeScheme):
    """Nothing but the layers' own configs: the graph is laid out already."""

    def get_layout_transformer(self):
        return self

    def apply(self, model, layer_quantize_map):
        return model, layer_quantize_map

    def get_quantize_registry(self):
        return self

    def supports(self, layer):
        return False


def roundings(cloned: tf_keras.Model, switched: bool = False) -> dict[str, Rounding]:
    """How each layer of a clone is rounded, by its name; layers that are not rounded are left out.

    Args:
      cloned: see `clone.clone`.
      switched: see `Rounding`.
    """
    consumers: dict[int, list] = {}
    for layer in cloned.layers:
        for tensor in tf.nest.flatten(layer.input):
            consumers.setdefault(id(tensor), []).append(layer)
    outputs = Counter(id(tensor) for tensor in tf.nest.flatten(cloned.output))
    found = {}
    for layer in cloned.layers:
        kind = type(layer).__name__
        if kind in ("InputLayer", *MOVING):
            continue
        followers = consumers.get(id(layer.output), [])
        fused = [type(f).__name__ for f in followers] == ["ReLU"] and id(layer.output) not in outputs
        output = "none" if fused else "sigmoid" if kind == "Activation" else "range"
        # tfmot trains every kernel that it rounds; that of the normalisation, one number a channel, has no need of it.
        kernel = _KERNELS.get(kind) if layer.trainable else None
        if kernel or output != "none":
            found[layer.name] = Rounding(kernel, kind == "Conv2D", output, switched)
    return found


def quantize(cloned: tf_keras.Model, keep_float: Collection[str] = (), switched: bool = False) -> tf_keras.Model:
    """The clone with every tensor rounded that the .tflite file will round, ready for fine-tuning.

    Args:
      cloned: see `clone.clone`.
      keep_float: names of layers whose kernel and output are not rounded; what reads the output then computes in
        float as well.
      switched: see `Rounding`; all switches are 0.

    Raises:
      EhrnetError: a name in ``keep_float`` is none of the clone's; a layer that tfmot does not take.
    """
    chosen = roundings(cloned, switched)
    if unknown := sorted(set(keep_float) - set(chosen)):
        raise EhrnetError(f"layer '{unknown[0]}': not a rounded layer of the model")

    def annotate(layer: Any) -> Any:
        config = None if layer.name in keep_float else chosen.get(layer.name)
        if config is None:
            return layer
        return _quantization.quantize_annotate_layer(layer, quantize_config=config)

    scope = {kind.__name__: kind for kind in (KernelQuantizer, RangeQuantizer, FixedQuantizer, Rounding)}
    with _quantization.quantize_scope(scope):
        annotated = tf_keras.models.clone_model(
            cloned, clone_function=lambda layer: annotate(type(layer).from_config(layer.get_config()))
        )
        annotated.set_weights(cloned.get_weights())
        try:
            return _quantization.quantize_apply(annotated, scheme=_Scheme())
        except (RuntimeError, ValueError) as error:
            raise EhrnetError(
                f"model '{cloned.name}': tfmot does not take it ({' '.join(str(error).split())})"
            ) from error
