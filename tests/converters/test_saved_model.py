"""SavedModel folders."""

import json

import cv2
import numpy as np
import pytest

from ehrnet_tf import cli
from ehrnet_tf.converters import saved_model as saved_model_module
from ehrnet_tf.converters.saved_model import export_saved_model
from ehrnet_tf.errors import EhrnetError, ModelFileError, UsageError
from ehrnet_tf.runtime.estimator import PoseEstimator
from ehrnet_tf.runtime.metadata import model_metadata, read_metadata
from ehrnet_tf.runtime.protocol import Protocol
from ehrnet_tf.runtime.runners import KerasRunner, SavedModelRunner, open_runner
from painted import PEOPLE, SET, paint, picture, wide_picture


@pytest.fixture(scope="module")
def maps_folder(model, metadata, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "maps"
    return path, export_saved_model(model, path, metadata=metadata)


@pytest.fixture(scope="module")
def poses_folder(model, metadata, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "deep" / "poses"
    return path, export_saved_model(model, path, "poses", PEOPLE, {**metadata, "licence": "none"})


def test_a_folder_of_maps(maps_folder, runner):
    path, report = maps_folder
    folder = open_runner(path)
    assert isinstance(folder, SavedModelRunner) and folder.graph == "maps"
    assert folder.input_size == (64, 64) and folder.keypoints == SET and folder.precision == "float32"
    assert "H-4, square, 64x64, SavedModel float32" in folder.describe()
    images = np.stack([picture(), picture((3, 3)), picture((-1, 2))])
    expected = runner(images)
    for name, values in folder(images).items():
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, expected[name], atol=1e-5)
    assert report["graph"] == "maps" and report["difference"] < 1e-4
    assert report["bytes"] == sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    metadata = json.loads((path / "ehrnet.json").read_text())
    assert metadata == read_metadata(path) == folder.metadata
    assert metadata["graph"] == "maps" and "people" not in metadata
    assert sorted(p.name for p in path.parent.iterdir()) == ["maps"], "no temporary folder stays"


def test_a_folder_of_poses(poses_folder, runner):
    path, report = poses_folder
    folder = open_runner(path)
    assert folder.graph == "poses" and report["graph"] == "poses"
    metadata = read_metadata(path)
    assert (metadata["graph"], metadata["people"], metadata["licence"]) == ("poses", PEOPLE, "none")
    outputs = folder(np.stack([picture(), picture((4, -4))]))  # one by one; moved by a cell of the coarse maps
    assert outputs["keypoints"].shape == (2, PEOPLE, 4, 3) and outputs["scores"].shape == (2, PEOPLE)
    first, second = outputs["keypoints"][:, :2, :, :2]
    np.testing.assert_allclose(second, first + (4, -4), atol=0.1)
    for image in (picture(), wide_picture()):
        found, expected = PoseEstimator(path)(image), PoseEstimator(runner)(image)
        assert len(found) == len(expected) == 2
        np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=0.02)
    with pytest.raises(UsageError, match="finds the people itself"):
        PoseEstimator(path, protocol=Protocol("exact"))


def test_a_folder_of_a_free_size(build_tiny, tmp_path):
    free = paint(build_tiny((None, None), keypoints=len(SET)))
    metadata = model_metadata(free, keypoints=SET)
    with pytest.raises(UsageError, match="fixed input size"):
        export_saved_model(free, tmp_path / "poses", "poses", metadata=metadata)
    assert list(tmp_path.iterdir()) == []
    export_saved_model(free, tmp_path / "maps", metadata={**metadata, "input": {"nominal": [32, 64]}})
    folder = SavedModelRunner(tmp_path / "maps")
    assert folder.input_size is None
    image = picture(size=(96, 64))[None]
    expected = KerasRunner(free, metadata=metadata)(image)
    for name, values in folder(image).items():
        np.testing.assert_allclose(values, expected[name], atol=1e-5)


def test_a_folder_that_exists_is_left_alone(model, metadata, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(UsageError, match="exists already"):
        export_saved_model(model, tmp_path / "mine", metadata=metadata)
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_folder_that_computes_something_else_is_not_written(model, metadata, tmp_path, monkeypatch):
    class Other(SavedModelRunner):
        def _run(self, images):
            return {name: values + 0.01 for name, values in super()._run(images).items()}

    monkeypatch.setattr(saved_model_module, "SavedModelRunner", Other)
    with pytest.raises(EhrnetError, match=r"out: gives other maps than the model, up to 0\.0\d+ of their range away"):
        export_saved_model(model, tmp_path / "out", metadata=metadata)
    assert list(tmp_path.iterdir()) == []


def test_what_keras_exports_runs_as_well(model, runner, tmp_path):
    model.export(tmp_path / "keras", verbose=False)
    with pytest.raises(UsageError, match="give keypoints="):
        open_runner(tmp_path / "keras")
    folder = open_runner(tmp_path / "keras", keypoints=SET)
    assert folder.metadata == {} and folder.graph == "maps"
    assert folder._input.dtype.name == "float32"
    images = np.stack([picture(), picture((1, 2))])
    expected = runner(images)
    for name, values in folder(images).items():
        np.testing.assert_allclose(values, expected[name], atol=1e-5)
    assert len(PoseEstimator(folder)(picture())) == 2


@pytest.mark.parametrize("content", [b"", b"not a model", None])
def test_a_folder_that_is_no_whole_saved_model(maps_folder, tmp_path, content):
    if content is None:
        content = (maps_folder[0] / "saved_model.pb").read_bytes()[:500]
    (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(ModelFileError, match="not a SavedModel that TensorFlow reads") as error:
        open_runner(tmp_path)
    assert "\n" not in str(error.value)


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(ModelFileError, match="not a kind of model"):
        open_runner(tmp_path)
    with pytest.raises(ModelFileError, match="not a SavedModel that TensorFlow reads"):
        SavedModelRunner(tmp_path)
    with pytest.raises(ModelFileError, match="no such model file"):
        SavedModelRunner(tmp_path / "nothing")


@pytest.mark.parametrize("kind", ["other outputs", "two inputs", "flat input", "no signature"])
def test_saved_models_of_something_else(tmp_path, kind):
    import tensorflow as tf

    shape = (None, 8) if kind == "flat input" else (None, 8, 8, 3)
    specs = [tf.TensorSpec(shape, tf.float32, name) for name in ("image", "mask")[: 1 + (kind == "two inputs")]]
    names = ("classes",) if kind == "other outputs" else ("heatmaps_4", "tags", "heatmaps_2")
    function = tf.function(lambda *x: {name: x[0] + sum(x) for name in names}, input_signature=specs)
    signatures = {} if kind == "no signature" else {"serving_default": function}
    tf.saved_model.save(tf.Module(), str(tmp_path / "other"), signatures=signatures)
    with pytest.raises(ModelFileError, match="needs a signature with one"):
        open_runner(tmp_path / "other")


@pytest.mark.parametrize("kind", ["input of unknown rank", "poses of one dimension"])
def test_saved_models_of_strange_shapes(tmp_path, kind):
    import tensorflow as tf

    spec = tf.TensorSpec(None if "unknown" in kind else (1, 64, 64, 3), tf.uint8, "image")
    names = ("heatmaps_4", "tags", "heatmaps_2") if "unknown" in kind else ("keypoints", "scores")
    function = tf.function(lambda x: {name: tf.zeros(4) + tf.cast(tf.size(x), tf.float32) for name in names}, [spec])
    tf.saved_model.save(tf.Module(), str(tmp_path / "other"), signatures={"serving_default": function})
    with pytest.raises(ModelFileError):
        open_runner(tmp_path / "other", keypoints=SET)


def test_a_saved_model_of_a_fixed_batch(tmp_path):
    import tensorflow as tf

    def maps(image):
        mean = tf.reduce_mean(tf.cast(image, tf.float32), axis=3, keepdims=True) * tf.ones(len(SET))
        return {name: mean[:, ::step, ::step] for name, step in (("heatmaps_4", 4), ("tags", 4), ("heatmaps_2", 2))}

    function = tf.function(maps, [tf.TensorSpec((2, 32, 32, 3), tf.uint8, "image")])
    tf.saved_model.save(tf.Module(), str(tmp_path / "two"), signatures={"serving_default": function})
    images = np.arange(4, dtype=np.uint8).repeat(32 * 32 * 3).reshape(4, 32, 32, 3)
    outputs = open_runner(tmp_path / "two", keypoints=SET)(images)
    assert outputs["tags"].shape == (4, 8, 8, 4)
    np.testing.assert_allclose(outputs["tags"][:, 0, 0, 0], [0, 1, 2, 3])


def test_the_command(keras_file, tmp_path, capsys):
    out = tmp_path / "poses"
    command = ["export", str(keras_file), "--format", "saved_model", "--graph", "poses", "--people", "3"]
    assert cli.main([*command, "--out", str(out), "--json", str(tmp_path / "report.json")]) == 0
    assert f"{out}: poses, " in capsys.readouterr().out
    assert json.loads((tmp_path / "report.json").read_text())["graph"] == "poses"
    assert read_metadata(out)["people"] == 3 and read_metadata(out)["source"] == str(keras_file)
    assert cli.main([*command, "--out", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert cli.main([*command, "--precision", "int8", "--out", str(tmp_path / "x")]) == 2
    assert "leave out --precision" in capsys.readouterr().err
    cv2.imwrite(str(tmp_path / "two.png"), cv2.cvtColor(picture(), cv2.COLOR_RGB2BGR))
    assert cli.main(["predict", str(out), str(tmp_path / "two.png")]) == 0
    assert "two.png: 2 people" in capsys.readouterr().out
