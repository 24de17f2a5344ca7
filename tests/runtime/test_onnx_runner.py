"""Files in ONNX Runtime: what is refused, and what is read of them without it."""

import sys

import numpy as np
import pytest

import fake_tensorrt
from ehrnet_tf.errors import MissingExtraError, ModelFileError, UsageError
from ehrnet_tf.keypoints import load
from ehrnet_tf.runtime.metadata import read_metadata
from ehrnet_tf.runtime.runners import OnnxRunner, open_runner

onnx = pytest.importorskip("onnx")
METADATA = {"variant": "H-4", "keypoints": load("coco").to_dict(), "graph": "maps", "note": "äö" * 200}


@pytest.fixture
def file(tmp_path):
    return fake_tensorrt.write_onnx(tmp_path / "tiny.onnx", metadata=METADATA)


def changed(path, change):
    model = onnx.load(str(path))
    change(model)
    onnx.save(model, str(path))
    return path


def test_it_runs_and_gives_what_is_wanted(file):
    runner = open_runner(file, threads=1)
    assert isinstance(runner, OnnxRunner) and runner.threads == 1 and runner.input_size == (64, 64)
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    found = runner(images)
    assert {name: values.shape[0] for name, values in found.items()} == {"heatmaps_4": 3, "tags": 3, "heatmaps_2": 3}
    some = runner(images, ["heatmaps_2"])
    np.testing.assert_array_equal(some["heatmaps_2"], found["heatmaps_2"])
    assert list(some) == ["heatmaps_2"]


def test_metadata_are_read_without_any_package(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert read_metadata(file) == METADATA
    with pytest.raises(MissingExtraError, match=r"onnxruntime is not installed: pip install 'ehrnet-tf\[onnx\]'"):
        open_runner(file)


def test_without_metadata_the_keypoints_are_asked_for(file):
    changed(file, lambda model: model.ClearField("metadata_props"))
    assert read_metadata(file) is None
    assert open_runner(file).keypoints.name == "coco", "17 channels"
    with pytest.raises(UsageError, match="has 17 keypoint channels, the set 'crowdpose' 14"):
        open_runner(file, keypoints="crowdpose")


def test_damaged_metadata(file):
    def damage(model):
        model.metadata_props[0].value = "{"

    with pytest.raises(ModelFileError, match=r"tiny\.onnx: its metadata \(ehrnet\.json\) is damaged"):
        read_metadata(changed(file, damage))


@pytest.mark.parametrize("dimension", [0, 1])
def test_dynamic_shapes_are_refused(file, dimension):
    def free(model):
        model.graph.input[0].type.tensor_type.shape.dim[dimension].dim_param = "any"

    with pytest.raises(ModelFileError, match=r"tiny\.onnx: its input is of any size .* export it with a fixed one"):
        open_runner(changed(file, free))


def test_other_tensors_are_refused(file):
    def rename(model):
        for node in model.graph.node:
            node.output[:] = ["other" if name == "tags" else name for name in node.output]
        for output in model.graph.output:
            output.name = "other" if output.name == "tags" else output.name

    message = (
        r"needs one \(1, H, W, 3\) uint8 input and outputs named heatmaps_4, tags, heatmaps_2 or keypoints, scores"
    )
    with pytest.raises(ModelFileError, match=message):
        open_runner(changed(file, rename))


@pytest.mark.parametrize("keep", [0, 1, 300, 0.5, 0.95])
def test_truncated(file, keep):
    content = file.read_bytes()
    file.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(ModelFileError, match=r"tiny\.onnx") as error:
        open_runner(file)
    assert "\n" not in str(error.value)


def test_a_device_that_this_build_has_not(file):
    with pytest.raises(UsageError, match=r"device 'cuda': this ONNX Runtime has .* only"):
        open_runner(file, device="cuda")
    with pytest.raises(UsageError, match="device 'tpu': ONNX Runtime runs on cpu, cuda, tensorrt"):
        open_runner(file, device="tpu")
    with pytest.raises(UsageError, match="at least 1"):
        open_runner(file, threads=0)


@pytest.mark.parametrize("content", [b"\xff" * 2_000_000, b"\x08\x80", b"\x72\xff\xff\xff\xff\x0f", b"\x0b" * 9])
def test_what_is_no_protocol_buffer_has_no_metadata(tmp_path, content):
    (tmp_path / "a.onnx").write_bytes(content)
    assert read_metadata(tmp_path / "a.onnx") is None
