"""A network of a few layers with the outputs of an EfficientHRNet, and files of it."""

import pytest

from ehrnet_tf.runtime import save_keras


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


@pytest.fixture(scope="session")
def tiny_model(build_tiny):
    return build_tiny()


@pytest.fixture(scope="session")
def keras_file(tiny_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny.keras"
    save_keras(tiny_model, path)
    return path


@pytest.fixture(scope="session")
def tflite_file(tiny_model, tmp_path_factory):
    from ehrnet_tf.converters.tflite import export_tflite

    path = tmp_path_factory.mktemp("models") / "tiny.tflite"
    export_tflite(tiny_model, path)
    return path
