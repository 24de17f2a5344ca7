"""OpenVINO files: what they compute, what is refused, and that both files or neither are written."""

import json
import sys

import numpy as np
import pytest

from ehrnet_tf import cli
from ehrnet_tf.converters import openvino as module
from ehrnet_tf.converters.onnx import export_onnx
from ehrnet_tf.converters.openvino import export_openvino
from ehrnet_tf.errors import EhrnetError, MissingExtraError, ModelFileError, UsageError
from ehrnet_tf.runtime.estimator import PoseEstimator
from ehrnet_tf.runtime.info import describe
from ehrnet_tf.runtime.metadata import read_metadata
from ehrnet_tf.runtime.runners import OpenVINORunner, open_runner
from painted import PEOPLE, SET, picture

openvino = pytest.importorskip("openvino")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def pictures():
    return [picture(shift) for shift in ((0, 0), (2, 3), (-3, 1), (1, -4))]


@pytest.fixture(scope="module")
def onnx_file(model, metadata, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    export_onnx(model, path, metadata=metadata)
    return path


@pytest.fixture(scope="module")
def exported(model, metadata, onnx_file, pictures, tmp_path_factory):
    """precision → path and report; float16 is made of the .onnx file."""
    folder, found = tmp_path_factory.mktemp("openvino"), {}
    for precision in module.PRECISIONS:
        path = folder / precision / "tiny.xml"
        source = onnx_file if precision == "float16" else model
        found[precision] = path, export_openvino(source, path, precision, metadata=metadata, calibration=pictures)
    return found


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.02), ("float16", 0.005), ("int8", 0.05)]
)
def test_maps_follow_the_model(exported, runner, pictures, precision, tolerance):
    path, report = exported[precision]
    file = open_runner(path, threads=1)
    assert isinstance(file, OpenVINORunner) and file.input_size == (64, 64) and file.keypoints == SET
    assert file.precision == precision and "OpenVINO" in file.describe()
    images = np.stack(pictures)
    expected = runner(images)
    for name, values in file(images).items():
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, expected[name], atol=tolerance * np.ptp(expected[name]))
    assert report["poses"]["people"] == 8 and report["poses"]["lost"] == 0
    assert report["pictures"] == 4 and report["precision"] == precision
    files = [path, path.with_suffix(".bin")]
    assert report["bytes"] == sum(file.stat().st_size for file in files)
    assert sorted(path.parent.iterdir()) == sorted(files), "nothing temporary stays"


def test_results_outlive_the_next_call(exported, pictures):
    file = OpenVINORunner(exported["float32"][0])
    first = file(pictures[0][None], ["tags"])
    kept = first["tags"].copy()
    file(pictures[1][None])
    assert list(first) == ["tags"]
    np.testing.assert_array_equal(first["tags"], kept)


def test_metadata_are_read_without_openvino(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    metadata = read_metadata(exported["int8"][0])
    assert (metadata["precision"], metadata["variant"], metadata["calibration"]) == ("int8", "H-4", {"pictures": 4})
    with pytest.raises(MissingExtraError, match=r"ehrnet-tf\[openvino\]"):
        open_runner(exported["int8"][0])
    assert "tensors and operators not read" in describe(exported["int8"][0])["notes"][0]


def test_info(exported):
    found = describe(exported["float32"][0])
    assert found["format"] == "OpenVINO" and found["bytes"] == exported["float32"][1]["bytes"]
    assert found["inputs"] == [{"name": "image", "type": "uint8", "shape": [1, 64, 64, 3]}]
    assert {tensor["name"] for tensor in found["outputs"]} == {"heatmaps_4", "tags", "heatmaps_2"}
    assert found["ops"]["Convolution"] > 3 and "Constant" not in found["ops"]


def test_people_inside(model, metadata, runner, tmp_path):
    path = tmp_path / "poses.xml"
    export_openvino(model, path, graph="poses", people=PEOPLE, metadata=metadata, pictures=[picture()])
    found, expected = PoseEstimator(path)(picture()), PoseEstimator(runner)(picture())
    assert len(found) == 2
    np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=0.02)


def test_what_strays_is_not_written(model, metadata, tmp_path, monkeypatch):
    class Other(OpenVINORunner):
        def _run_one(self, image, outputs):
            return {name: values + 0.01 for name, values in super()._run_one(image, outputs).items()}

    monkeypatch.setattr(module, "OpenVINORunner", Other)
    with pytest.raises(EhrnetError, match=r"out\.xml: gives other maps than the model"):
        export_openvino(model, tmp_path / "out.xml", metadata=metadata)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("out.bin", {}, r"out\.bin: the name of an OpenVINO file must end in \.xml"),
        ("out.xml", {"precision": "int16x8"}, "precision 'int16x8': OpenVINO files have one of float32"),
        ("out.xml", {"precision": "int8"}, "int8 needs calibration pictures"),
        ("out.xml", {"graph": "skeletons"}, "graph 'skeletons'"),
        ("out.xml", {"pictures": [np.zeros((32, 32, 3), np.uint8)]}, r"of shape \(32, 32, 3\)"),
    ],
)
def test_unusable_arguments(model, metadata, tmp_path, name, options, message):
    with pytest.raises(UsageError, match=message):
        export_openvino(model, tmp_path / name, metadata=metadata, **options)
    assert list(tmp_path.iterdir()) == []


def copied(path, folder):
    folder.mkdir()
    for file in (path, path.with_suffix(".bin")):
        (folder / file.name).write_bytes(file.read_bytes())
    return folder / path.name


def test_a_file_without_its_weights(exported, tmp_path):
    path = copied(exported["float32"][0], tmp_path / "a")
    weights = path.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelFileError, match=r"tiny\.xml: not a whole OpenVINO model"):
        open_runner(path)
    weights.unlink()
    with pytest.raises(ModelFileError, match=r"its weights tiny\.bin are not beside it"):
        open_runner(path)


@pytest.mark.parametrize("keep", [0, 40, 0.5, 0.99])
def test_truncated(exported, tmp_path, keep):
    path = copied(exported["float32"][0], tmp_path / "a")
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(ModelFileError, match=r"tiny\.xml") as error:
        open_runner(path)
    assert "\n" not in str(error.value)


def test_any_size_is_refused(exported, tmp_path):
    free = openvino.Core().read_model(str(exported["float32"][0]))
    free.reshape([1, -1, -1, 3])
    openvino.save_model(free, str(tmp_path / "free.xml"))
    with pytest.raises(ModelFileError, match=r"free\.xml: its input is of any size"):
        open_runner(tmp_path / "free.xml")


def test_devices(exported):
    path = exported["float32"][0]
    assert open_runner(path, device="auto").device == "auto"
    with pytest.raises(UsageError, match="device 'tpu': OpenVINO runs on cpu, gpu, npu, auto"):
        open_runner(path, device="tpu")
    if "NPU" not in openvino.Core().available_devices:
        with pytest.raises(UsageError, match="device 'npu': OpenVINO finds CPU"):
            open_runner(path, device="npu")


def test_the_command(onnx_file, tmp_path, capsys):
    out = tmp_path / "deep" / "a.xml"
    command = ["export", str(onnx_file), "--format", "openvino", "--precision", "bfloat16", "--out", str(out)]
    assert cli.main([*command, "--licence", "CC0", "--json", str(tmp_path / "a.json")]) == 0
    assert f"{out}: maps, bfloat16, " in capsys.readouterr().out
    assert json.loads((tmp_path / "a.json").read_text())["pictures"] == 4
    metadata = read_metadata(out)
    assert metadata["licence"] == "CC0" and metadata["source"] == str(onnx_file)
