"""The network that stands in for EfficientHRNet where a page builds or trains one: it sees painted people at once.

A training of the smallest whole network takes 24 seconds of a core, of this one three.
"""

from __future__ import annotations

import dataclasses
import inspect

import numpy as np

import painted
from ehrnet_tf import keypoints as keypoint_sets
from ehrnet_tf.data.pipeline import input_size
from ehrnet_tf.models.scaling import scale

SMALLEST = "B-10"  # the backbone that pages pretrain


def network(*arguments, **options):
    """A few layers under the name of a variant, in the place of `ehrnet_tf.EfficientHRNet`; takes what that takes.

    Raises:
      UsageError: an unknown variant, set, activation or upsampling.
    """
    import keras

    from ehrnet_tf import CompactEfficientNet
    from ehrnet_tf.models.efficienthrnet import EfficientHRNet, check_size
    from ehrnet_tf.models.head import check_upsampling, head
    from ehrnet_tf.models.layers import check_activation
    from ehrnet_tf.models.weights import load_backbone, load_weights

    wanted = inspect.signature(EfficientHRNet).bind(*arguments, **options)
    wanted.apply_defaults()
    given = wanted.arguments
    known = scale(given["variant"], given["width_divisor"])
    upsampling = given["upsampling"] or known.family.upsampling
    check_activation(given["activation"] or known.family.activation)
    check_upsampling(upsampling)
    if given["backbone_weights"]:  # which the few layers cannot take
        kind = {name: given[name] for name in ("activation", "squeeze_excite") if given[name] is not None}
        load_backbone(CompactEfficientNet(SMALLEST, 2, 32, **kind), given["backbone_weights"])

    keras.utils.set_random_seed(0)
    size = check_size(known.input_size if given["input_size"] is None else given["input_size"])
    image = keras.Input((*size, 3), name="image")
    x = keras.layers.Conv2D(8, 4, strides=4, name="conv2d")(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.ReLU(name="relu")(x)
    outputs = head(x, len(keypoint_sets.load(given["keypoints"])), 8, upsampling, given["tags_on_both_stages"])
    model = paint(keras.Model(image, outputs, name=f"efficienthrnet_{known.name.lower()}"))
    if given["weights"]:
        load_weights(model, given["weights"])
    return model


def from_configuration(config):
    """The same in the place of `training.train.build_model`."""
    return network(**{**dataclasses.asdict(config.model), "input_size": input_size(config)})


def paint(model):
    """As `painted.paint`, for any number of keypoints: even ones' heat is red, odd ones' blue, tags are green."""
    for layer in model.layers:
        if "_bn" in layer.name or not layer.get_weights():
            continue
        kernel, *bias = [np.zeros_like(weights) for weights in layer.get_weights()]
        if layer.name == "conv2d":
            for channel in range(3):
                kernel[:, :, channel, channel] = 1 / 16
        elif "heatmaps" in layer.name:
            strength = np.linspace(1, 0.8, kernel.shape[-1])
            kernel[0, 0, 0, 0::2], kernel[0, 0, 2, 1::2] = strength[0::2], strength[1::2]
        elif "tags" in layer.name:
            kernel[0, 0, 1] = 20
        elif layer.name == "head_deconv":
            kernel[:, :, 0, 0] = kernel[:, :, 2, 2] = np.outer([0.25, 0.75, 0.75, 0.25], [0.25, 0.75, 0.75, 0.25])
        elif layer.name in ("head_reduce_conv", "head_resize_conv"):
            for channel in (0, 2):
                kernel[kernel.shape[0] // 2, kernel.shape[1] // 2, channel, channel] = 1
        layer.set_weights([kernel, *bias])
    return model


def people(keypoint_set):
    """Where `painted.picture` has a set's keypoints: (2, K, 2) x, y, pixels."""
    places = np.stack((painted.RED, painted.BLUE))  # colour, person
    return places[np.arange(len(keypoint_set.names)) % 2].transpose(1, 0, 2)
