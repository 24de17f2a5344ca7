"""A network of a few layers with the outputs of an EfficientHRNet, and the stand-in for TensorRT."""

import pytest

from fake_tensorrt import cudart, cudart_path, use  # noqa: F401 (fixtures)


@pytest.fixture(scope="session")
def build_tiny():
    def build(size=(64, 64), keypoints=17, name="efficienthrnet_h-4"):
        import keras

        from ehrnet_tf.models.head import head

        keras.utils.set_random_seed(0)
        image = keras.Input((*size, 3), name="image")
        x = keras.layers.Rescaling(1 / 255)(image)
        x = keras.layers.Conv2D(8, 4, strides=4, activation="relu")(x)
        return keras.Model(image, head(x, keypoints, 8), name=name)

    return build
