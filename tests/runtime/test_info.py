import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from ehrnet_tf import cli
from ehrnet_tf.errors import ModelFileError
from ehrnet_tf.runtime.info import describe, text
from ehrnet_tf.runtime.metadata import MEMBER, append_metadata, classifier_metadata, read_metadata, save_keras
from ehrnet_tf.runtime.operators import delegate_partitions, float_ops, tflite_ops


@pytest.fixture(scope="module")
def int8_file(tiny_model, tmp_path_factory):
    from ehrnet_tf.converters.tflite import export_tflite

    path = tmp_path_factory.mktemp("models") / "int8.tflite"
    pictures = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    export_tflite(tiny_model, path, "int8", pictures)
    metadata = read_metadata(path)
    metadata["accuracy"] = {"AP": 0.5298504399601918, "data": "/data/own", "split": "val2017"}
    append_metadata(path, {**metadata, "source": "runs/a/best.keras", "licence": "CC0", "note": "long " * 100})
    return path


@pytest.fixture(scope="module")
def bare_file(tflite_file, tmp_path_factory):
    """A .tflite file without metadata."""
    path = tmp_path_factory.mktemp("models") / "bare.tflite"
    content = tflite_file.read_bytes()
    path.write_bytes(content[: content.index(b"PK\x03\x04")])
    assert read_metadata(path) is None
    return path


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    """A small graph with metadata."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in ("image", "between", "found")
    ]
    nodes = [
        helper.make_node("Relu", ["image"], ["between"]),
        helper.make_node("Abs", ["between"], ["again"]),
        helper.make_node("Relu", ["again"], ["found"]),
    ]
    graph = helper.make_graph(nodes, "small", values[:1], values[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    entry = model.metadata_props.add()
    entry.key, entry.value = MEMBER, json.dumps({"variant": "H-4", "precision": "float32"})
    path = tmp_path_factory.mktemp("models") / "small.onnx"
    onnx.save(model, str(path))
    return path


def line(shown, label):
    """What stands behind a label."""
    (found,) = (row.strip()[len(label) :].strip() for row in shown.splitlines() if row.strip().startswith(label + " "))
    return found


def test_tflite(int8_file):
    found = describe(int8_file)
    json.dumps(found)
    assert found["format"] == "TFLite"
    assert found["bytes"] == int8_file.stat().st_size
    assert found["metadata"] == read_metadata(int8_file)
    assert ["left_eye", "right_eye"] in found["metadata"]["keypoints"]["flip_pairs"]
    assert found["inputs"] == [
        {
            "name": "image",
            "type": "uint8",
            "shape": [1, 64, 64, 3],
            "quantization": {"scale": 1.0, "zero_point": 0},
        }
    ]
    assert {tensor["name"]: tensor["shape"] for tensor in found["outputs"]} == {
        "heatmaps_4": [1, 16, 16, 17],
        "tags": [1, 16, 16, 17],
        "heatmaps_2": [1, 32, 32, 17],
    }
    assert {(tensor["type"], tensor["quantization"]) for tensor in found["outputs"]} == {("float32", None)}
    assert found["ops"] == tflite_ops(int8_file)
    assert found["float_ops"] == {} and found["float_operators"] == []
    number, outside = delegate_partitions(int8_file)
    assert found["partitions"] == number
    assert sum(found["outside"].values()) == len(outside)
    assert found["notes"] == []


def test_text_of_a_tflite_file(int8_file):
    shown = text(describe(int8_file))
    assert shown.startswith(f"{int8_file}: TFLite, ")
    assert line(shown, "variant") == "H-4"
    assert line(shown, "keypoints") == "coco, 17 keypoints"
    assert line(shown, "precision") == "int8"
    assert line(shown, "input") == "64x64 uint8 RGB; letterbox: uniform scale, centred, bilinear, border 0"
    assert line(shown, "strides") == "heatmaps_4 4, tags 4, heatmaps_2 2"
    assert line(shown, "decoder").startswith("nms_kernel 5, threshold 0.1, ")
    assert line(shown, "accuracy") == "AP 0.5299, data /data/own, split val2017"
    assert line(shown, "calibration").startswith("pictures 3")
    assert line(shown, "source") == "runs/a/best.keras"
    assert line(shown, "licence") == "CC0"
    assert line(shown, "image") == "uint8 (1, 64, 64, 3), scale 1, zero point 0"
    assert line(shown, "tags") == "float32 (1, 16, 16, 17)"
    assert "  float operators: none\n  XNNPACK: " in shown
    assert "note" in shown and shown.count("long") < 50, "a long value is cut"
    assert len(shown.splitlines()) <= 40
    assert max(map(len, shown.splitlines()[1:])) <= 110


def test_float_operators_are_listed_with_names(tflite_file):
    found = describe(tflite_file)
    assert found["float_ops"] == float_ops(tflite_file)
    shown = text(found)
    assert f"  float operators: {sum(found['float_ops'].values())}\n" in shown
    (_, first), (_, second) = (each for each in found["float_operators"] if each[0] == "ADD")
    assert line(shown, "2 ADD:") == f"...{first.split(';')[0][-37:]}, ...{second.split(';')[0][-37:]}"
    unwrapped = " ".join(shown.split())  # names, and so lines, are longer if other models were built before
    assert re.match(r"(\S+, ){3}\.\.\.", unwrapped.partition("8 CONV_2D: ")[2])
    many = {**found, "float_ops": {f"KIND{n}": 2 for n in range(9)}}
    assert "    6 of 3 other types" in text(many)


def test_tflite_without_metadata(bare_file):
    found = describe(bare_file)
    assert found["metadata"] is None
    shown = text(found)
    assert "\nno metadata (ehrnet.json): not written by ehrnet-tf" in shown
    assert line(shown, "image") == "uint8 (1, 64, 64, 3)"
    assert "8 CONV_2D" in shown
    assert "variant" not in shown


def test_tflite_without_signature_and_that_cannot_be_run(bare_file, tmp_path):
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers import Builder

    model = schema.ModelT.InitFromPackedBuf(bare_file.read_bytes(), 0)
    model.signatureDefs = None
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].shapeSignature = [1, -1, 64, 3]
    code = next(code for code in model.operatorCodes if code.builtinCode == schema.BuiltinOperator.TRANSPOSE_CONV)
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = "Mystery"
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "foreign.tflite"
    path.write_bytes(bytes(builder.Output()))

    found = describe(path)
    assert found["inputs"][0]["shape"] == [1, None, 64, 3]
    assert len(found["outputs"]) == 3
    assert found["ops"]["Mystery"] == 1
    assert found["partitions"] is found["outside"] is None
    shown = text(found)
    assert "uint8 (1, any, 64, 3)" in shown
    assert "XNNPACK: " not in shown
    assert "note: " in shown and "cannot run it" in shown


def test_describing_tflite_needs_no_tensorflow(int8_file):
    code = (
        "import sys\nfrom ehrnet_tf import cli\n"
        f"assert cli.main(['info', {str(int8_file)!r}]) == 0\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert line(done.stdout, "variant") == "H-4"


def test_keras(keras_file, tiny_model):
    found = describe(keras_file)
    json.dumps(found)
    assert found["metadata"]["variant"] == "H-4"
    assert found["name"] == "efficienthrnet_h-4"
    assert found["parameters"] == sum(np.prod(weight.shape) for weight in tiny_model.trainable_weights)
    assert found["layers"]["Conv2D"] == 8 and next(iter(found["layers"])) == "Conv2D"
    shown = text(found)
    assert line(shown, "parameters") == f"{found['parameters']:,}"
    assert line(shown, "layers").startswith("8 Conv2D, ")
    assert "operators" not in shown


def test_frozen_layers_and_free_size(build_tiny, tmp_path):
    model = build_tiny((None, None))
    path = tmp_path / "free.keras"
    save_keras(model, path)
    free = describe(path)
    model.trainable = False
    save_keras(model, path)
    assert describe(path)["parameters"] == free["parameters"] > 0
    assert line(text(free), "input").startswith("any size (nominal 384x384) uint8 RGB; letterbox: ")


def test_classifier(tmp_path):
    from ehrnet_tf.models.efficientnet import CompactEfficientNet

    model, path = CompactEfficientNet("B-10", 2), tmp_path / "classes.keras"
    save_keras(model, path, classifier_metadata(model, ["dark", "light"], accuracy={"top1": 0.75}))
    found = describe(path)
    assert found["metadata"]["task"] == "classification"
    assert found["layers"]["Dense"] == 1
    shown = text(found)
    assert line(shown, "task") == "classification"
    assert line(shown, "variant") == "B-10"
    assert line(shown, "classes") == "2: dark, light"
    assert line(shown, "accuracy") == "top1 0.75"
    assert "keypoints" not in shown


def test_keras_metadata_are_told_without_keras(keras_file, tiny_model, tmp_path):
    plain = tmp_path / "plain.keras"
    tiny_model.save(plain)
    code = (
        "import sys\nsys.modules['keras'] = sys.modules['tensorflow'] = None\nfrom ehrnet_tf import cli\n"
        f"assert cli.main(['info', {str(keras_file)!r}]) == 0\n"
        f"assert cli.main(['info', {str(plain)!r}]) == 1"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert line(done.stdout, "variant") == "H-4"
    assert "note: layers not counted: keras is not installed: pip install 'ehrnet-tf[train]'" in done.stdout
    assert done.stderr == "ehrnet: keras is not installed: pip install 'ehrnet-tf[train]'\n"


def test_onnx(onnx_file, monkeypatch):
    found = describe(onnx_file)
    json.dumps(found)
    assert found["metadata"] == {"variant": "H-4", "precision": "float32"}
    assert found["inputs"] == [{"name": "image", "type": "float", "shape": [None, 3]}]
    assert found["opset"] == 17
    assert found["ops"] == {"Relu": 2, "Abs": 1}
    assert "operators\n  3, opset 17: 2 Relu, 1 Abs" in text(found)
    monkeypatch.setitem(sys.modules, "onnx", None)
    found = describe(onnx_file)
    assert "ops" not in found and found["metadata"]["variant"] == "H-4"
    assert "note: operators not counted: onnx is not installed" in text(found)


def test_saved_model(keras_file, tmp_path):
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(bytes(1000))
    (tmp_path / "variables" / "data").write_bytes(bytes(500))
    assert "no metadata (ehrnet.json)" in text(describe(tmp_path))
    (tmp_path / MEMBER).write_text(json.dumps(read_metadata(keras_file)))
    found = describe(tmp_path)
    assert found["format"] == "SavedModel"
    assert found["bytes"] == 1500 + (tmp_path / MEMBER).stat().st_size
    assert line(text(found), "variant") == "H-4"


def test_a_file_that_gives_poses(int8_file, tmp_path):
    path = shutil.copy(int8_file, tmp_path / "poses.tflite")
    append_metadata(path, {**read_metadata(path), "graph": "poses", "people": 30})
    shown = text(describe(path))
    assert line(shown, "graph") == "poses"
    assert line(shown, "people") == "30"


@pytest.mark.parametrize(
    ("metadata", "label", "value"),
    [
        ({"variant": None}, "variant", "unknown"),
        ({"classes": None}, "classes", "unknown"),
        ({"keypoints": "coco"}, "keypoints", "coco"),
        ({"keypoints": {"name": "mine"}}, "keypoints", "name mine"),
        ({"input": {"height": 64}}, "input", "height 64"),
        ({"input": {"height": 64, "width": None, "dtype": "uint8", "color": "RGB"}}, "input", "any size uint8 RGB"),
        ({"classes": [1, 2]}, "classes", "1, 2"),
        ({"versions": {}}, "versions", "none"),
        ({"source": ""}, "source", "none"),
        ({"own": {"a": [1.23456, True], "b": {"c": None}}}, "own", "a (1.235, yes), b (c unknown)"),
        ({"key" * 50: 1}, "...", "1"),
    ],
)
def test_metadata_of_any_kind(metadata, label, value):
    found = {"path": "a.keras", "format": "Keras", "bytes": 1, "metadata": metadata, "notes": []}
    shown = text(found)
    row = shown.splitlines()[-1].strip()
    assert row.startswith(label) and row.endswith(f"  {value}")


def test_many_tensors_are_not_all_shown():
    tensors = [{"name": f"t{n}", "type": "int8", "shape": [1]} for n in range(9)]
    found = {"path": "a", "format": "ONNX", "bytes": 1, "metadata": None, "notes": [], "inputs": tensors}
    assert text(found).splitlines()[-2:] == ["  t5   int8 (1)", "  ...  3 more"]


def test_missing_and_unknown_files(tmp_path):
    with pytest.raises(ModelFileError, match=r"none\.tflite: no such model file; accepted are \.keras"):
        describe(tmp_path / "none.tflite")
    (tmp_path / "model.bin").write_bytes(b"x")
    (tmp_path / "folder.tflite").mkdir()
    for path in (tmp_path / "model.bin", tmp_path / "folder.tflite", tmp_path):
        with pytest.raises(ModelFileError, match=r"not a kind of model that can be described; accepted are \.keras"):
            describe(path)


@pytest.mark.parametrize("suffix", [".tflite", ".keras", ".onnx"])
@pytest.mark.parametrize("content", [b"", b"this is no model\n", b"PK\x03\x04 but no archive"])
def test_files_that_are_none(suffix, content, tmp_path):
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=rf"bad\{suffix}: not a whole") as error:
        describe(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("which", ["tflite_file", "keras_file", "onnx_file"])
def test_truncated_files(which, tmp_path, request):
    source = request.getfixturevalue(which)
    path = tmp_path / f"cut{source.suffix}"
    path.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    with pytest.raises(ModelFileError, match=rf"cut\{source.suffix}: not a whole"):
        describe(path)


def test_damaged_metadata(bare_file, tmp_path):
    path = shutil.copy(bare_file, tmp_path / "odd.tflite")
    append_metadata(path, [1])
    with pytest.raises(ModelFileError, match=r"odd\.tflite: its metadata \(ehrnet\.json\) is not a JSON object"):
        describe(path)


def test_the_command(int8_file, tmp_path, capsys):
    assert cli.main(["info", str(int8_file), "--json", str(tmp_path / "info.json")]) == 0
    assert capsys.readouterr().out == text(describe(int8_file)) + "\n"
    assert json.loads((tmp_path / "info.json").read_text())["metadata"]["precision"] == "int8"
    (tmp_path / "text.tflite").write_text("this is no model")
    for name in ("none.tflite", "text.tflite", "info.json"):
        assert cli.main(["info", str(tmp_path / name)]) == 1
        error = capsys.readouterr().err
        lines = [row for row in error.splitlines() if row.startswith("ehrnet: ")]
        assert len(lines) == 1 and name in lines[0]
        assert "Traceback" not in error
