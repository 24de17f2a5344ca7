"""A network whose people are painted: red and blue are heat, green is the tag."""

import numpy as np

from ehrnet_tf.keypoints import KeypointSet

PEOPLE = 4
SET = KeypointSet.from_dict({"name": "square", "keypoints": ["a", "b", "c", "d"], "grouping": ["b", "c", "a", "d"]})
RED = np.array([(14.3, 12.6), (47.7, 19.4)])  # x, y of even keypoints of two people, pixels
BLUE = np.array([(17.2, 43.5), (44.1, 46.2)])  # of odd ones


def tiny(size=(64, 64), keypoints=17, name="efficienthrnet_h-4"):
    """A network of a few layers with the outputs of an EfficientHRNet."""
    import keras

    from ehrnet_tf.models.head import head

    keras.utils.set_random_seed(0)
    image = keras.Input((*size, 3), name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(8, 4, strides=4, activation="relu")(x)
    return keras.Model(image, head(x, keypoints, 8), name=name)


def paint(model):
    """Sets the weights of a tiny network: even keypoints' heat is red, odd ones' blue, their tags 20 times green."""
    layers = {layer.name.split("_")[0] + layer.name.partition("head")[2]: layer for layer in model.layers}
    weights = {name: [np.zeros_like(w) for w in layer.get_weights()] for name, layer in layers.items()}
    for channel in range(3):
        weights["conv2d"][0][:, :, channel, channel] = 1 / 16
    strength = np.linspace(1, 0.8, len(SET))
    for name in ("head_heatmaps_4", "head_heatmaps_2"):
        weights[name][0][0, 0, 0, 0::2], weights[name][0][0, 0, 2, 1::2] = strength[0::2], strength[1::2]
    weights["head_tags"][0][0, 0, 1] = 20
    bilinear = np.outer([0.25, 0.75, 0.75, 0.25], [0.25, 0.75, 0.75, 0.25])
    weights["head_deconv"][0][:, :, 0, 0] = weights["head_deconv"][0][:, :, 2, 2] = bilinear
    for name, layer in layers.items():
        if "_bn" not in name:
            layer.set_weights(weights[name])
    return model


def picture(shift=(0, 0), size=(64, 64)):
    """Two people, the second in a green half, with less red and more blue; no row or column is black."""
    rows, columns = np.indices(size) + 0.5
    image = np.full((*size, 3), 8.0)
    for channel, places, heights in ((0, RED, (240, 210)), (2, BLUE, (210, 240))):
        for (x, y), height in zip(places + shift, heights, strict=True):
            blob = height * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 50)
            image[..., channel] = np.maximum(image[..., channel], blob)
    image[:, 32:, 1] = 128
    return np.rint(image).astype(np.uint8)


def wide_picture():
    """The same two people in a picture twice as wide as high, which the letterbox puts between two black bars."""
    return picture(size=(64, 128), shift=(30, 2))
