"""Files with the decoder inside, and SavedModel folders, of a network whose people are painted: red and blue are heat,
green is the tag."""

import dataclasses
import json

import cv2
import numpy as np
import pytest

from ehrnet_tf import cli
from ehrnet_tf.converters import saved_model as saved_model_module
from ehrnet_tf.converters import tflite as tflite_module
from ehrnet_tf.converters.compare import PoseComparison, compare_poses
from ehrnet_tf.converters.saved_model import export_saved_model
from ehrnet_tf.converters.tflite import export_tflite
from ehrnet_tf.decoding import DecoderSettings
from ehrnet_tf.errors import EhrnetError, ModelFileError, UsageError
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.runtime.estimator import PoseEstimator
from ehrnet_tf.runtime.metadata import model_metadata, read_metadata, save_keras
from ehrnet_tf.runtime.operators import tflite_ops
from ehrnet_tf.runtime.protocol import Protocol
from ehrnet_tf.runtime.runners import KerasRunner, Runner, SavedModelRunner, TFLiteRunner, open_runner

PEOPLE = 4
SET = KeypointSet.from_dict({"name": "square", "keypoints": ["a", "b", "c", "d"], "grouping": ["b", "c", "a", "d"]})
RED = np.array([(14.3, 12.6), (47.7, 19.4)])  # x, y of even keypoints of two people, pixels
BLUE = np.array([(17.2, 43.5), (44.1, 46.2)])  # of odd ones


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


@pytest.fixture(scope="module")
def model(build_tiny):
    return paint(build_tiny(keypoints=len(SET)))


@pytest.fixture(scope="module")
def metadata(model):
    return model_metadata(model, keypoints=SET)


@pytest.fixture(scope="module")
def runner(model, metadata):
    return KerasRunner(model, metadata=metadata)


@pytest.fixture(scope="module")
def keras_file(model, metadata, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny.keras"
    save_keras(model, path, metadata)
    return path


@pytest.fixture(scope="module")
def calibration():
    return [picture(shift) for shift in ((0, 0), (2, 3), (-3, 1), (1, -4))]


@pytest.fixture(scope="module")
def exported(model, metadata, calibration, tmp_path_factory):
    """precision → path and report, of files with the decoder inside."""
    folder = tmp_path_factory.mktemp("poses")
    options = {"calibration": calibration, "metadata": metadata, "graph": "poses", "people": PEOPLE}
    paths = {precision: folder / f"{precision}.tflite" for precision in ("float32", "int8")}
    return {precision: (path, export_tflite(model, path, precision, **options)) for precision, path in paths.items()}


@pytest.fixture(scope="module")
def maps_folder(model, metadata, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "maps"
    return path, export_saved_model(model, path, metadata=metadata)


@pytest.fixture(scope="module")
def poses_folder(model, metadata, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "deep" / "poses"
    return path, export_saved_model(model, path, "poses", PEOPLE, {**metadata, "licence": "none"})


def test_the_painted_network_sees_two_people(runner):
    poses = PoseEstimator(runner)(picture())
    assert len(poses) == 2
    found = poses.keypoints[::-1, :, :2]  # blue comes first in grouping, and the second has more of it
    np.testing.assert_allclose(found[:, 0::2], np.repeat(RED[:, None], 2, axis=1), atol=0.5)
    np.testing.assert_allclose(found[:, 1::2], np.repeat(BLUE[:, None], 2, axis=1), atol=0.5)
    assert (poses.scores > 0.6).all()


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_outputs_and_metadata(exported, precision):
    path, report = exported[precision]
    file = TFLiteRunner(path)
    assert file.graph == "poses" and file.precision == precision
    assert file.input_size == (64, 64) and file.keypoints == SET
    outputs = file(np.stack([picture(), wide_picture()[:, :64]]))
    assert {name: values.shape for name, values in outputs.items()} == {
        "keypoints": (2, PEOPLE, 4, 3),
        "scores": (2, PEOPLE),
    }
    assert all(values.dtype == np.float32 for values in outputs.values())
    details = file._interpreter.get_signature_runner().get_output_details()
    assert {name: tuple(d["shape"]) for name, d in details.items()} == {
        "keypoints": (1, PEOPLE, 4, 3),
        "scores": (1, PEOPLE),
    }
    metadata = read_metadata(path)
    assert (metadata["graph"], metadata["people"], metadata["precision"]) == ("poses", PEOPLE, precision)
    assert metadata["decoder"] == dataclasses.asdict(DecoderSettings())
    assert ("calibration" in metadata) == (precision == "int8")
    assert report["graph"] == "poses" and report["bytes"] == path.stat().st_size
    assert report["poses"]["pictures"] == 4 and report["poses"]["people"] == 8
    assert report["poses"]["lost"] == 0


@pytest.mark.parametrize("image", [picture(), wide_picture(), picture((0, 2), (96, 64))])
def test_people_are_those_of_the_model(exported, runner, image):
    found, expected = PoseEstimator(exported["float32"][0])(image), PoseEstimator(runner)(image)
    assert len(found) == len(expected) == 2
    assert found.image_size == expected.image_size
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=0.02 * max(image.shape) / 64)


def test_people_of_the_integer_file_are_near(exported, runner):
    image = picture((1, 1))  # whose peaks are so steep that they are none of two equal cells in 8 bits
    found, expected = PoseEstimator(exported["int8"][0])(image), PoseEstimator(runner)(image)
    assert len(found) == len(expected) == 2
    np.testing.assert_allclose(found.scores, expected.scores, atol=0.02)
    np.testing.assert_allclose(found.keypoints[:, :, :2], expected.keypoints[:, :, :2], atol=2)


def test_nobody(exported):
    for path, _ in exported.values():
        assert len(PoseEstimator(path, min_score=0)(np.full((64, 64, 3), 9, np.uint8))) == 0
        assert TFLiteRunner(path)(np.zeros((1, 64, 64, 3), np.uint8))["scores"].tolist() == [[0.0] * PEOPLE]


def test_the_report_compares_maps_as_well(exported):
    assert exported["float32"][1]["differences"]["heatmaps_2"]["max"] < 1e-4
    assert exported["float32"][1]["poses"]["worst"] < 0.02
    assert 0 < exported["int8"][1]["poses"]["median"] < 1


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_no_operator_works_for_nobody(exported, unused, precision):
    assert unused(exported[precision][0].read_bytes()) == []


def test_the_integer_network_stays_integer(exported):
    path, report = exported["int8"]
    ops = tflite_ops(path)
    assert ops["TOPK_V2"] == 1 and ops["TRANSPOSE_CONV"] == 1
    assert ops["DEQUANTIZE"] == 2, "stage 1's heat-maps are not asked for"
    assert not {"CONV_2D", "TRANSPOSE_CONV", "ADD_N"} & set(report["float_ops"])
    assert "CONV_2D" in exported["float32"][1]["float_ops"]


def test_the_decoder_follows_the_metadata(model, metadata, tmp_path):
    metadata = {**metadata, "decoder": dataclasses.asdict(DecoderSettings(threshold=0.75, adjust=False))}
    export_tflite(model, tmp_path / "strict.tflite", metadata=metadata, graph="poses", people=2)
    outputs = TFLiteRunner(tmp_path / "strict.tflite")(picture()[None])
    assert outputs["scores"].shape == (1, 2)
    expected = PoseEstimator(KerasRunner(model, metadata=metadata), min_score=0)(picture())
    found = outputs["keypoints"][0][outputs["scores"][0] > 0]
    assert 0 < (found[:, :, 2] > 0).sum() < 8, "heat between 0.7 and 0.9, some above the threshold"
    np.testing.assert_allclose(found, expected.keypoints, atol=1e-4)
    assert (found[found[:, :, 2] > 0][:, :2] % 2 == 1).all(), "cells' centres"


@pytest.mark.parametrize("protocol", [Protocol("exact"), Protocol("exact", flip=True), Protocol(sizes="reference")])
def test_no_other_protocol(exported, protocol):
    with pytest.raises(UsageError, match="finds the people itself"):
        PoseEstimator(exported["float32"][0], protocol=protocol)


def test_no_other_settings(exported):
    with pytest.raises(UsageError, match="leave out settings="):
        PoseEstimator(exported["float32"][0], settings=DecoderSettings())
    assert "decoder in the file" in PoseEstimator(exported["float32"][0]).describe()


@pytest.mark.parametrize("export", [export_tflite, export_saved_model])
@pytest.mark.parametrize(
    ("options", "message"),
    [({"graph": "people"}, "graph 'people'"), ({"people": 0}, "people 0")],
)
def test_unusable_arguments(model, metadata, tmp_path, export, options, message):
    with pytest.raises(UsageError, match=message):
        export(model, tmp_path / "out.tflite", metadata=metadata, **{"graph": "poses", **options})
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_finds_other_people_is_not_written(model, metadata, tmp_path, monkeypatch):
    lost = PoseComparison(pictures=4, people=2, lost=1, median=0.0, worst=0.0)
    monkeypatch.setattr(tflite_module, "compare_poses", lambda *_: lost)
    with pytest.raises(EhrnetError, match=r"out\.tflite: finds other people than the model: 1 of 2 lost"):
        export_tflite(model, tmp_path / "out.tflite", metadata=metadata, graph="poses")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("lost", "worst", "fails"), [(0, 0.0, False), (0, 1.0, False), (1, 0.0, True), (0, 1.1, True)])
def test_check(lost, worst, fails):
    comparison = PoseComparison(1, 3, lost, worst / 2, worst)
    if fails:
        with pytest.raises(EhrnetError, match=f"{lost} of 3 lost, keypoints up to {worst:.1f} pixels away"):
            comparison.check("file")
    else:
        comparison.check("file")


class Changed(Runner):
    """The poses of a file, changed."""

    name = kind = "changed"
    graph = "poses"

    def __init__(self, runner, change):
        self.runner, self.change = runner, change
        self.input_size, self.metadata, self.keypoints = runner.input_size, runner.metadata, runner.keypoints

    def _run(self, images):
        outputs = {name: values.copy() for name, values in self.runner(images).items()}
        self.change(outputs)
        return outputs


def forget_one(outputs):
    outputs["scores"][:, 0] = 0


def move_one_joint(outputs):
    outputs["keypoints"][:, 1, 2, :2] += 3, 4


def move_all(outputs):
    outputs["keypoints"][..., 0] += 9


def lose_a_joint(outputs):
    outputs["keypoints"][:, 1, 2] = 0


def swap(outputs):
    for values in outputs.values():
        values[:, :2] = values[:, 1::-1].copy()


@pytest.mark.parametrize(
    ("change", "lost", "worst"),
    [(forget_one, 2, 0), (move_one_joint, 0, 5), (move_all, 4, 0), (lose_a_joint, 0, 0), (swap, 0, 0)],
)
def test_comparison_of_poses(exported, runner, change, lost, worst):
    pictures = [picture(), picture((1, 1))]
    comparison = compare_poses(runner, Changed(TFLiteRunner(exported["float32"][0]), change), pictures)
    assert (comparison.pictures, comparison.people, comparison.lost) == (2, 4, lost)
    assert comparison.worst == pytest.approx(worst, abs=0.02)
    assert comparison.median < 0.02


def diverge(outputs):
    outputs["keypoints"][:, 1, 2, 0] = np.nan


def test_poses_that_are_not_finite_are_refused(exported):
    estimator = PoseEstimator(Changed(TFLiteRunner(exported["float32"][0]), diverge))
    with pytest.raises(UsageError, match="changed: gives NaN or infinity"):
        estimator(picture())


def test_comparison_where_nobody_is(exported, runner):
    dark = [np.full((64, 64, 3), 9, np.uint8)]
    comparison = compare_poses(runner, TFLiteRunner(exported["float32"][0]), dark)
    assert comparison == PoseComparison(1, 0, 0, 0.0, 0.0)


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
    with pytest.raises(EhrnetError, match=r"out: gives other maps than the model, up to 0\.0203 of their range away"):
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


def test_the_command_for_tflite(keras_file, tmp_path, capsys):
    out = tmp_path / "poses.tflite"
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / "two.png"), cv2.cvtColor(picture(), cv2.COLOR_RGB2BGR))
    command = ["export", str(keras_file), "--graph", "poses", "--people", "3", "--out", str(out)]
    assert cli.main([*command, "--calibration", str(tmp_path / "pictures")]) == 0
    assert "poses       2 people, 0 of them lost" in capsys.readouterr().out
    assert TFLiteRunner(out)(picture()[None])["scores"].shape == (1, 3)
    assert cli.main(["predict", str(out), str(tmp_path / "pictures"), "--exact"]) == 2
    assert "finds the people itself" in capsys.readouterr().err


def test_an_impossible_number_of_people_is_one_line(keras_file, tmp_path, capsys):
    command = ["export", str(keras_file), "--graph", "poses", "--people", "0", "--out", str(tmp_path / "x.tflite")]
    assert cli.main(command) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert [line for line in lines if line.startswith("ehrnet: ")] == lines[-1:]
    assert "people 0: must be at least 1" in lines[-1]
    assert list(tmp_path.iterdir()) == []
