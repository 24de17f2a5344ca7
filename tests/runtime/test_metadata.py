import json
import zipfile

import numpy as np
import pytest

from ehrnet_tf.config import Config, ModelConfig
from ehrnet_tf.decoding import DecoderSettings
from ehrnet_tf.errors import ModelFileError, UsageError
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.runtime.metadata import append_metadata, choose_keypoints, model_metadata, read_metadata, save_keras


def test_a_flatbuffer_keeps_its_bytes_and_takes_the_newest_metadata(tmp_path):
    path = tmp_path / "a.tflite"
    flatbuffer = np.random.default_rng(0).bytes(5000)
    path.write_bytes(flatbuffer)
    assert read_metadata(path) is None
    append_metadata(path, {"variant": "H0", "note": "äö"})
    append_metadata(path, {"variant": "H-1"})
    assert read_metadata(path) == {"variant": "H-1"}
    assert path.read_bytes().startswith(flatbuffer)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["ehrnet.json"]


def test_other_members_stay(tmp_path):
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights", b"123")
    append_metadata(path, {"a": 1})
    append_metadata(path, {"a": 2})
    with zipfile.ZipFile(path) as archive:
        assert archive.read("weights") == b"123"
        assert archive.testzip() is None
    assert read_metadata(path) == {"a": 2}


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_damaged_metadata(tmp_path, content):
    path = tmp_path / "a.tflite"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ehrnet.json", content)
    with pytest.raises(ModelFileError, match=r"a\.tflite"):
        read_metadata(path)


def test_missing_file(tmp_path):
    with pytest.raises(ModelFileError, match="no such model file"):
        read_metadata(tmp_path / "none.tflite")


def test_keras_file_loads_with_and_without_us(tiny_model, keras_file):
    import keras

    loaded = keras.saving.load_model(keras_file)
    image = np.full((1, 64, 64, 3), 100, np.uint8)
    np.testing.assert_array_equal(loaded(image)["tags"], tiny_model(image)["tags"])
    metadata = read_metadata(keras_file)
    assert metadata["variant"] == "H-4"
    assert metadata["input"]["height"] == metadata["input"]["width"] == 64
    assert metadata["strides"] == {"heatmaps_4": 4, "tags": 4, "heatmaps_2": 2}
    assert KeypointSet.from_dict(metadata["keypoints"]).name == "coco"


def test_metadata_follow_the_configuration(build_tiny):
    model = build_tiny((None, None))
    config = Config(model=ModelConfig(variant="H-4"), decode=DecoderSettings(threshold=0.25))
    metadata = model_metadata(model, config, licence="none")
    assert metadata["decoder"]["threshold"] == 0.25
    assert metadata["input"]["height"] is None
    assert metadata["input"]["nominal"] == [384, 384]
    assert metadata["licence"] == "none"
    json.dumps(metadata)


def test_a_model_of_unknown_name_and_free_size_has_no_nominal_size(build_tiny):
    metadata = model_metadata(build_tiny((None, None), name="mine"))
    assert metadata["variant"] is None
    assert metadata["input"]["nominal"] is None


def test_unknown_keypoints(build_tiny):
    with pytest.raises(UsageError, match="give keypoints="):
        model_metadata(build_tiny(keypoints=3))
    hand = KeypointSet.from_dict({"name": "hand", "keypoints": ["a", "b", "c"]})
    assert model_metadata(build_tiny(keypoints=3), keypoints=hand)["keypoints"]["name"] == "hand"
    with pytest.raises(UsageError, match="17 keypoints"):
        choose_keypoints("coco", None, 3, "model")


def test_a_model_that_is_something_else():
    import keras

    image = keras.Input((8, 8, 3))
    with pytest.raises(UsageError, match="heatmaps_4"):
        model_metadata(keras.Model(image, keras.layers.Flatten()(image)))


def test_save_needs_the_suffix(tiny_model, tmp_path):
    with pytest.raises(UsageError, match=r"\.keras"):
        save_keras(tiny_model, tmp_path / "a.h5")


def test_saved_models_carry_no_optimizer(build_tiny, tmp_path):
    import keras

    model = build_tiny()
    save_keras(model, tmp_path / "bare.keras")
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, loss=dict.fromkeys(model.output, "mse"))
    save_keras(model, tmp_path / "trained.keras")
    sizes = [(tmp_path / f"{name}.keras").stat().st_size for name in ("bare", "trained")]
    assert sizes[1] < 1.1 * sizes[0]
    again = keras.saving.load_model(tmp_path / "trained.keras")
    assert getattr(again, "optimizer", None) is None
    assert [w.path for w in again.weights] == [w.path for w in model.weights]


@pytest.mark.parametrize("cut", [1, 21, 60])
def test_an_archive_that_is_cut_off(tmp_path, cut):
    path = tmp_path / "a.tflite"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    append_metadata(path, {"variant": "H0"})
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ModelFileError, match=r"a\.tflite: its metadata \(ehrnet\.json\) is damaged .*cut off"):
        read_metadata(path)
