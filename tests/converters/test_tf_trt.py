"""TF-TRT, whose TensorFlow is not here: what is asked of its converter, by the signatures of the real one."""

import inspect
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ehrnet_tf import cli
from ehrnet_tf.converters import tf_trt as module
from ehrnet_tf.converters.tf_trt import export_tf_trt
from ehrnet_tf.errors import EhrnetError, UsageError
from ehrnet_tf.runtime.estimator import PoseEstimator
from ehrnet_tf.runtime.runners import SavedModelRunner, open_runner
from painted import PEOPLE, SET, picture


@pytest.fixture
def calls(monkeypatch):
    """What a stand-in for the converter was asked; every call is checked against the real class's signatures."""
    from tensorflow.python.compiler.tensorrt.trt_convert import TrtGraphConverterV2

    asked = []

    class Converter:
        def __init__(self, *args, **options):
            inspect.signature(TrtGraphConverterV2.__init__).bind(self, *args, **options)
            asked.append(("init", options))
            self.folder = options["input_saved_model_dir"]
            SavedModelRunner(self.folder)

        def convert(self, *args, **options):
            inspect.signature(TrtGraphConverterV2.convert).bind(self, *args, **options)
            asked.append(("convert", [b["image"].numpy() for b in options.get("calibration_input_fn", list)()]))

        def build(self, *args, **options):
            inspect.signature(TrtGraphConverterV2.build).bind(self, *args, **options)
            asked.append(("build", [b["image"].numpy() for b in options["input_fn"]()]))

        def save(self, *args, **options):
            bound = inspect.signature(TrtGraphConverterV2.save).bind(self, *args, **options)
            target = Path(bound.arguments["output_saved_model_dir"])
            shutil.copytree(self.folder, target, dirs_exist_ok=True)

    monkeypatch.setattr(module, "find_converter", lambda: Converter)
    return asked


@pytest.mark.parametrize(("precision", "name"), [("float32", "FP32"), ("float16", "FP16"), ("int8", "INT8")])
def test_a_folder(calls, model, metadata, runner, tmp_path, precision, name):
    pictures = [picture(shift) for shift in ((0, 0), (2, 3), (-3, 1))]
    out = tmp_path / "deep" / "trt"
    report = export_tf_trt(model, out, precision, metadata=metadata, calibration=pictures, workspace_megabytes=256)
    (_, options), (_, calibrated), (_, built) = calls
    assert options["precision_mode"] == name and options["max_workspace_size_bytes"] == 256 << 20
    assert options["use_calibration"] == (precision == "int8")
    np.testing.assert_array_equal(calibrated, [p[None] for p in pictures] if precision == "int8" else [])
    np.testing.assert_array_equal(built, [pictures[0][None]])
    assert report["precision"] == precision and report["poses"]["lost"] == 0 and report["pictures"] == 3
    assert report["bytes"] == sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    folder = open_runner(out)
    assert folder.precision == precision and folder.keypoints == SET and folder.input_size == (64, 64)
    assert ("calibration" in folder.metadata) == (precision == "int8")
    np.testing.assert_allclose(folder(np.stack(pictures))["tags"], runner(np.stack(pictures))["tags"], atol=1e-5)
    assert [p.name for p in out.parent.iterdir()] == ["trt"], "nothing temporary stays"


def test_people_inside(calls, model, metadata, tmp_path):
    export_tf_trt(model, tmp_path / "trt", graph="poses", people=PEOPLE, metadata=metadata, pictures=[picture()])
    assert json.loads((tmp_path / "trt" / "ehrnet.json").read_text())["people"] == PEOPLE
    assert len(PoseEstimator(tmp_path / "trt")(picture())) == 2


def test_a_converter_that_fails_leaves_nothing(calls, model, metadata, tmp_path, monkeypatch):
    def fail(self, **options):
        raise RuntimeError("no\nGPU")

    monkeypatch.setattr(module.find_converter(), "build", fail)
    with pytest.raises(
        EhrnetError, match=r"trt: TF-TRT cannot convert it \(no GPU\); it needs TensorFlow 2\.16 or 2\.17"
    ):
        export_tf_trt(model, tmp_path / "trt", metadata=metadata)
    assert list(tmp_path.iterdir()) == []


def test_this_tensorflow_has_none(keras_file, tmp_path, capsys):
    import tensorflow as tf

    if tuple(map(int, tf.__version__.split(".")[:2])) < (2, 18):
        pytest.skip("a TensorFlow that may have TF-TRT")
    out = tmp_path / "trt"
    assert cli.main(["export", str(keras_file), "--format", "tf-trt", "--precision", "float16", "--out", str(out)]) == 1
    (line,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("ehrnet: ")]
    assert "was built without TF-TRT; use TensorFlow 2.16 or 2.17 built with TensorRT" in line
    assert list(tmp_path.iterdir()) == []


def test_unusable_arguments(model, metadata, tmp_path):
    (tmp_path / "there").mkdir()
    for out, options, message in (
        ("there", {}, "exists already"),
        ("x", {"precision": "dynamic"}, "TF-TRT has float32, float16, int8"),
        ("x", {"precision": "int8"}, "int8 needs calibration pictures"),
    ):
        with pytest.raises(UsageError, match=message):
            export_tf_trt(model, tmp_path / out, metadata=metadata, **options)
