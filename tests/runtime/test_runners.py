import subprocess
import sys

import numpy as np
import pytest

from ehrnet_tf.errors import ModelFileError, UsageError
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.runtime.runners import KerasRunner, TFLiteRunner, open_runner

HAND = KeypointSet.from_dict({"name": "hand", "keypoints": ["a", "b", "c"]})


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def expected(tiny_model, images):
    return {name: np.asarray(value) for name, value in tiny_model(images, training=False).items()}


@pytest.mark.parametrize("kind", ["model", "keras", "tflite"])
def test_maps_are_the_models(kind, tiny_model, keras_file, tflite_file, images, expected):
    runner = open_runner({"model": tiny_model, "keras": keras_file, "tflite": str(tflite_file)}[kind])
    maps = runner(images)
    assert {name: value.shape for name, value in maps.items()} == {
        "heatmaps_4": (3, 16, 16, 17),
        "tags": (3, 16, 16, 17),
        "heatmaps_2": (3, 32, 32, 17),
    }
    for name, values in maps.items():
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, expected[name], atol=1e-5)
    assert runner.input_size == (64, 64)
    assert runner.keypoints.name == "coco"
    assert runner.precision == "float32"
    assert "H-4, coco, 64x64" in runner.describe()


def test_results_outlive_the_next_call(tflite_file, images):
    runner = TFLiteRunner(tflite_file, threads=1)
    first = runner(images[:1])["tags"]
    kept = first.copy()
    runner(images[1:2])
    np.testing.assert_array_equal(first, kept)


def test_a_runner_follows_training(build_tiny, images):
    model = build_tiny()
    runner = KerasRunner(model)
    before = runner(images)["tags"]
    layer = model.get_layer("head_tags")
    layer.set_weights([2 * w for w in layer.get_weights()])
    np.testing.assert_allclose(runner(images)["tags"], 2 * before, atol=1e-6)


def test_a_runner_passes_through(tiny_model):
    runner = KerasRunner(tiny_model, metadata={"precision": "bfloat16"})
    assert open_runner(runner) is runner
    assert runner.precision == "bfloat16"


def test_free_size(build_tiny):
    runner = open_runner(build_tiny((None, None)))
    assert runner.input_size is None
    assert runner(np.zeros((2, 64, 96, 3), np.uint8))["heatmaps_2"].shape == (2, 32, 48, 17)
    with pytest.raises(UsageError, match="multiples of 32"):
        runner(np.zeros((1, 64, 80, 3), np.uint8))


@pytest.mark.parametrize(
    "images", [np.zeros((1, 96, 64, 3), np.uint8), np.zeros((64, 64, 3), np.uint8), np.zeros((1, 64, 64, 3))]
)
def test_unsuitable_pictures(tiny_model, images):
    with pytest.raises(UsageError, match="takes"):
        open_runner(tiny_model)(images)


def test_keypoints_that_no_one_says(build_tiny, tmp_path):
    path = tmp_path / "three.keras"
    build_tiny(keypoints=3).save(path)
    with pytest.raises(UsageError, match="give keypoints="):
        open_runner(path)
    assert open_runner(path, keypoints=HAND).keypoints is HAND


def test_a_plain_keras_file_of_17_channels_is_coco(tiny_model, tmp_path):
    path = tmp_path / "plain.keras"
    tiny_model.save(path)
    runner = open_runner(path)
    assert runner.keypoints.name == "coco"
    assert runner.metadata["variant"] == "H-4"


def test_foreign_keras_file(tmp_path):
    import keras

    image = keras.Input((8, 8, 3))
    keras.Model(image, keras.layers.Flatten()(image)).save(tmp_path / "other.keras")
    with pytest.raises(ModelFileError, match="without the outputs"):
        open_runner(tmp_path / "other.keras")


def test_missing_and_unknown_files(tmp_path):
    with pytest.raises(ModelFileError, match=r"nothing\.keras: no such model file; accepted are"):
        open_runner(tmp_path / "nothing.keras")
    (tmp_path / "model.bin").write_bytes(b"x")
    for path in (tmp_path / "model.bin", tmp_path):
        with pytest.raises(ModelFileError, match=r"accepted are \.keras, \.tflite and \.onnx"):
            open_runner(path)
    with pytest.raises(UsageError, match="give a Keras model or the path"):
        open_runner(3)


@pytest.mark.parametrize("keep", [0, 6, 400, 0.5, 0.9])
def test_truncated_tflite(tflite_file, tmp_path, keep):
    content = tflite_file.read_bytes()
    path = tmp_path / "cut.tflite"
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(ModelFileError, match=r"cut\.tflite: not a whole TFLite file"):
        open_runner(path)


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04 but no archive"])
def test_keras_file_that_is_none(tmp_path, content):
    path = tmp_path / "bad.keras"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"bad\.keras: not a whole Keras model file") as error:
        open_runner(path)
    assert "\n" not in str(error.value)


def test_truncated_keras_file(keras_file, tmp_path):
    path = tmp_path / "cut.keras"
    path.write_bytes(keras_file.read_bytes()[:-2000])
    with pytest.raises(ModelFileError, match=r"cut\.keras"):
        open_runner(path)


def test_threads(tflite_file):
    assert open_runner(tflite_file, threads=1).threads == 1
    assert open_runner(tflite_file).threads == 2
    with pytest.raises(UsageError, match="at least 1"):
        open_runner(tflite_file, threads=0)


def test_importing_and_running_tflite_needs_no_tensorflow(tflite_file):
    code = (
        "import sys, numpy, ehrnet_tf.runtime, ehrnet_tf.evaluation\n"
        f"ehrnet_tf.PoseEstimator({str(tflite_file)!r})(numpy.zeros((30, 40, 3), numpy.uint8))\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
