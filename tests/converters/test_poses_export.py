"""Files with the decoder inside."""

import dataclasses

import cv2
import numpy as np
import pytest

from ehrnet_tf import cli
from ehrnet_tf.converters import tflite as tflite_module
from ehrnet_tf.converters.compare import PoseComparison, compare_poses
from ehrnet_tf.converters.saved_model import export_saved_model
from ehrnet_tf.converters.tflite import export_tflite
from ehrnet_tf.decoding import DecoderSettings
from ehrnet_tf.errors import EhrnetError, UsageError
from ehrnet_tf.runtime.estimator import PoseEstimator
from ehrnet_tf.runtime.metadata import read_metadata
from ehrnet_tf.runtime.operators import tflite_ops
from ehrnet_tf.runtime.protocol import Protocol
from ehrnet_tf.runtime.runners import KerasRunner, Runner, TFLiteRunner
from painted import BLUE, PEOPLE, RED, SET, picture, wide_picture


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
    class Forgetful(TFLiteRunner):
        def _run_for(self, images, outputs):
            found = super()._run_for(images, outputs)
            if self.graph == "poses":
                forget_one(found)
            return found

    monkeypatch.setattr(tflite_module, "TFLiteRunner", Forgetful)
    with pytest.raises(EhrnetError, match=r"out\.tflite: finds other people than the model: 1 of 2 lost"):
        export_tflite(model, tmp_path / "out.tflite", metadata=metadata, graph="poses", pictures=[picture()])
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
