"""Files of a network of a few layers."""

import pytest

from ehrnet_tf.runtime import save_keras


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
