"""Parameters and multiply-adds of a model, counted from its graph."""

from __future__ import annotations

import math

import keras

from ehrnet_tf.models.efficienthrnet import EfficientHRNet
from ehrnet_tf.models.efficientnet import CompactEfficientNet
from ehrnet_tf.models.scaling import classifier_scale, scale

# Parameters and "FLOPs" (multiply-adds) as published, in millions and billions (arXiv 2007.08090). They are the
# authors' counter's, which takes the parameters of MBConv blocks twice, and the multiply-adds of the transposed
# convolution at its output's size: four times too many.
PUBLISHED = {"H0": (23.3, 25.6), "H-1": (16.0, 14.2), "H-2": (10.3, 7.7), "H-3": (6.9, 4.2), "H-4": (3.7, 2.1)}
FAMILY = (*PUBLISHED, "E0", "E-1", "E-2", "E-3", "E-4")


def count_macs(model: keras.Model) -> dict[str, int]:
    """Multiply-adds of one picture's forward pass, by layer, for the layers that multiply by a kernel.

    Args:
      model: a functional model of fixed input size.

    Returns:
      Layer name → multiply-adds. Biases, batch norms, activations and additions are not counted, as is usual.
    """
    macs = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2DTranspose):
            places = layer.input.shape[1:3]  # every input cell meets the whole kernel once
        elif isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)):
            places = layer.output.shape[1:3]
        elif isinstance(layer, keras.layers.Dense):
            places = ()
        else:
            continue
        macs[layer.name] = math.prod(places) * math.prod(layer.kernel.shape)
    return macs


def describe(variant: str | float) -> dict:
    """What a variant costs at its own input size; builds it. "B0" ... "B-4": the classifiers, with 1000 classes.

    Returns:
      "variant", "input_size" (pixels), "parameters" (running statistics of batch norms not counted, as in PyTorch),
      "macs", "branch_widths", "modules" (both empty for a classifier), and "published": {"parameters", "macs"} where
      there are such figures.

    Raises:
      UsageError: no such variant.
    """
    is_classifier = str(variant)[:1].upper() == "B"
    dimensions = classifier_scale(variant) if is_classifier else scale(variant)
    model = CompactEfficientNet(variant) if is_classifier else EfficientHRNet(variant)
    described = {
        "variant": dimensions.name,
        "input_size": dimensions.input_size,
        "parameters": sum(math.prod(v.shape) for v in model.trainable_variables),
        "macs": sum(count_macs(model).values()),
        "branch_widths": [] if is_classifier else list(dimensions.branch_widths),
        "modules": [] if is_classifier else list(dimensions.modules),
    }
    if dimensions.name in PUBLISHED:
        parameters, macs = PUBLISHED[dimensions.name]
        described["published"] = {"parameters": round(parameters * 1e6), "macs": round(macs * 1e9)}
    return described
