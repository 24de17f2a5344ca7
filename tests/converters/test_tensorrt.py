"""Engines built by a stand-in for TensorRT (tests/fake_tensorrt), which takes only what the real one takes."""

import json
import shutil
import sys

import numpy as np
import pytest

import fake_tensorrt
from ehrnet_tf.converters import tensorrt as tensorrt_module
from ehrnet_tf.converters.tensorrt import build_engine, calibration_files, unsupported_operators
from ehrnet_tf.errors import EhrnetError, MissingExtraError, ModelFileError, UsageError
from ehrnet_tf.keypoints import load
from ehrnet_tf.runtime.cuda import CudaError
from ehrnet_tf.runtime.metadata import read_metadata
from ehrnet_tf.runtime.onnx_runner import OnnxRunner
from ehrnet_tf.runtime.tensorrt_runner import MissingTensorRTError, TensorRTRunner
from fake_tensorrt import counter

METADATA = {"variant": "H-4", "keypoints": load("coco").to_dict(), "graph": "maps", "precision": "float32"}
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


@pytest.fixture
def onnx_file(tmp_path):
    return fake_tensorrt.write_onnx(tmp_path / "tiny.onnx", metadata=METADATA)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "deep" / "tiny.engine"


@pytest.fixture(scope="module")
def pictures():
    return list(np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8))


@needs_gcc
@pytest.mark.parametrize("version", ["8.6", "10.3"])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_an_engine(use, onnx_file, out, version, precision):
    trt = use(version)
    report = build_engine(onnx_file, out, precision, workspace_megabytes=64)
    (build,) = trt.builds
    assert build["flags"] == (set() if precision == "float32" else {"FP16", "PREFER_PRECISION_CONSTRAINTS"})
    assert (build["input"], build["workspace"], build["device"]) == ("UINT8", 64 << 20, "GPU")
    engine = {
        "tensorrt": trt.__version__,
        "device": "Fake GPU",
        "compute_capability": "8.7",
        "workspace_megabytes": 64,
        "dla_core": None,
    }
    metadata = read_metadata(out)
    assert metadata == {**METADATA, "precision": precision, "engine": engine}
    assert report["path"] == str(out) and report["bytes"] == out.stat().st_size and report["graph"] == "maps"
    assert report["precision"] == precision and report["engine"] == engine and report["seconds"] >= 0
    assert [p.name for p in out.parent.iterdir()] == ["tiny.engine"]
    runner = TensorRTRunner(out)
    assert f"tiny.engine: H-4, coco, 64x64, TensorRT {precision}" in runner.describe()


@needs_gcc
@pytest.mark.parametrize("graph", ["maps", "poses"])
def test_what_follows_the_convolutions_stays_float32(use, tmp_path, graph):
    trt = use("10.3")
    onnx_file = fake_tensorrt.write_onnx(tmp_path / "tiny.onnx", graph)
    assert build_engine(onnx_file, tmp_path / "float.engine", "float32")["float32_layers"] == 0
    report = build_engine(onnx_file, tmp_path / "half.engine", "float16")
    full, half = trt.builds
    assert full["pinned"] == full["float_outputs"] == []
    if graph == "maps":
        assert half["pinned"] == ["heatmaps_4_out", "tags_out", "heatmaps_2_out"]
        assert set(half["float_outputs"]) == {*half["pinned"], "coarse", "tagging", "fine"}
    else:
        assert half["pinned"] == ["lines", "topk", "values", "x", "value", "place", "concat", "mean"]
        assert set(half["float_outputs"]) == {*half["pinned"], "coarse"}
    assert report["float32_layers"] == len(half["pinned"]) < report["layers"]


@needs_gcc
@pytest.mark.parametrize("integrated", [0, 1])
@pytest.mark.parametrize("version", ["8.6", "10.3"])
def test_calibration_sees_every_picture_once(use, cudart, onnx_file, out, pictures, version, integrated):
    trt = use(version)
    counter(cudart, "fake_integrated").value = integrated
    before = cudart.fake_blocks()
    report = build_engine(onnx_file, out, "int8", iter(pictures))
    calibration, build = trt.builds
    assert (calibration["input"], calibration["flags"], calibration["level"]) == ("FLOAT", {"INT8"}, 0)
    assert calibration["table"] is None and len(calibration["batches"]) == 5
    for batch, picture in zip(calibration["batches"], pictures, strict=True):
        assert batch.dtype == np.float32 and batch.shape == (1, 64, 64, 3)
        np.testing.assert_array_equal(batch[0], picture)
    assert (build["input"], build["level"], build["batches"]) == ("UINT8", 3, [])
    assert build["flags"] == {"INT8", "FP16", "PREFER_PRECISION_CONSTRAINTS"}
    cache, identity = calibration_files(out)
    header = f"TRT-{trt.__version__.replace('.', '')}-EntropyCalibration2\n".encode()
    assert build["table"] == cache.read_bytes() == header + b"image: 3c010a14\nscaled: 3c010a14\n"
    assert report["calibration"] == {"pictures": 5, "cache": str(cache), "reused": False}
    assert read_metadata(out)["calibration"] == {"pictures": 5} and read_metadata(out)["precision"] == "int8"
    assert sorted(p.name for p in out.parent.iterdir()) == sorted([out.name, cache.name, identity.name])
    assert cudart.fake_blocks() == before and counter(cudart, "fake_streams").value == 0


@needs_gcc
def test_a_calibration_is_used_again_only_where_it_belongs(use, onnx_file, out, pictures):
    trt = use("10.3")

    def reused(path=onnx_file, pictures=pictures):
        del trt.builds[:]
        report = build_engine(path, out, "int8", pictures)["calibration"]
        assert len(trt.builds) == (1 if report["reused"] else 2)
        return report["reused"]

    assert not reused() and reused()
    assert not reused(pictures=pictures[::-1]), "other pictures"
    assert not reused(pictures=pictures[:4]) and reused(pictures=pictures[:4])
    other = fake_tensorrt.write_onnx(onnx_file.with_name("other.onnx"), metadata={**METADATA, "variant": "H-3"})
    assert not reused(other, pictures[:4]), "another network"
    cache, identity = calibration_files(out)
    cache.write_bytes(cache.read_bytes()[:-5])
    assert not reused(other, pictures[:4]), "a damaged cache"
    for content in ("", "[]", '{"of": 3}'):
        identity.write_text(content)
        assert not reused(other, pictures[:4]), "a damaged note"
    trt.__version__ = "10.4.0"
    assert not reused(other, pictures[:4]), "another TensorRT"
    assert reused(other, pictures[:4])


@needs_gcc
def test_without_a_level_of_optimisation(use, onnx_file, out, pictures):
    trt = use("8.6")
    del trt.IBuilderConfig.builder_optimization_level  # 8.5 has not got it
    trt.__version__ = "8.5.2.2"
    build_engine(onnx_file, out, "int8", pictures)
    assert read_metadata(out)["engine"]["tensorrt"] == "8.5.2.2"


@needs_gcc
def test_a_calibration_that_meets_with_too_little_memory(use, cudart, onnx_file, out, pictures):
    use("10.3")
    cudart.fake_fail(b"cudaHostAlloc", 2)
    with pytest.raises(CudaError, match="out of memory"):
        build_engine(onnx_file, out, "int8", pictures)
    assert not out.parent.exists()


@needs_gcc
def test_calibration_that_gives_nothing(use, onnx_file, out, pictures, monkeypatch):
    trt = use("10.3")
    monkeypatch.setattr(trt.Builder, "_calibrate", lambda *arguments: False)
    message = (
        r"tiny\.onnx: TensorRT cannot calibrate it \(Calibration failure occurred with no scaling factors detected"
    )
    with pytest.raises(EhrnetError, match=message):
        build_engine(onnx_file, out, "int8", pictures)
    assert not out.parent.exists()


@needs_gcc
@pytest.mark.parametrize("given", [None, [], "float", "large"])
def test_unsuitable_calibration_pictures(use, onnx_file, out, pictures, given):
    use("10.3")
    if given in ("float", "large"):
        first = pictures[0].astype(np.float32) if given == "float" else np.zeros((96, 64, 3), np.uint8)
        given = [first, *pictures]
    with pytest.raises(UsageError, match=r"int8 needs calibration pictures|takes \(64, 64, 3\) uint8 network inputs"):
        build_engine(onnx_file, out, "int8", given)


@needs_gcc
def test_timings_are_kept(use, onnx_file, out, tmp_path):
    trt, timings = use("10.3"), tmp_path / "timings" / "orin.cache"
    build_engine(onnx_file, out, timing_cache=timings)
    assert timings.read_bytes() == b"10.3.0 timings"
    build_engine(onnx_file, out, timing_cache=timings)
    timings.write_bytes(b"8.5.2 timings")
    build_engine(onnx_file, out, timing_cache=timings)
    assert [build["timing"] for build in trt.builds] == [b"", b"10.3.0 timings", b""]
    assert timings.read_bytes() == b"10.3.0 timings"


@needs_gcc
def test_the_accelerator(use, cudart, onnx_file, out, pictures):
    trt = use("8.6")
    with pytest.raises(UsageError, match="DLA core 0: Fake GPU has 0; leave it out"):
        build_engine(onnx_file, out, dla_core=0)
    counter(cudart, "fake_integrated").value = 1
    with pytest.raises(UsageError, match="DLA core 2: Orin has 2"):
        build_engine(onnx_file, out, dla_core=2)
    build_engine(onnx_file, out, "int8", pictures, dla_core=1)
    calibration, build = trt.builds
    assert calibration["device"] == "GPU" and "GPU_FALLBACK" not in calibration["flags"]
    assert build["device"] == "DLA" and build["dla_core"] == 1 and "GPU_FALLBACK" in build["flags"]
    assert read_metadata(out)["engine"]["dla_core"] == 1


@needs_gcc
def test_tensorrt_11_builds_float32(use, onnx_file, out, pictures):
    use("11.4")
    for precision in ("float16", "int8"):
        with pytest.raises(UsageError, match=r"TensorRT 11\.4\.0\.106 builds float32 only .*pip install 'tensorrt"):
            build_engine(onnx_file, out, precision, pictures)
    build_engine(onnx_file, out, "float32")
    image = pictures[0][None]
    np.testing.assert_array_equal(TensorRTRunner(out)(image)["tags"], OnnxRunner(onnx_file)(image)["tags"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int4"}, "precision 'int4': TensorRT takes float32, float16, int8"),
        ({"out_path": "x.tflite"}, r"x\.tflite: the name of an engine must end in \.engine, \.plan, \.trt"),
        ({"workspace_megabytes": 0}, "workspace of 0 megabytes"),
        ({"dla_core": -1}, "DLA core -1"),
        ({"dla_core": 0, "precision": "float32"}, "precision float16 or int8, which a DLA computes in"),
    ],
)
def test_unusable_arguments(onnx_file, out, options, message):
    with pytest.raises(UsageError, match=message):
        build_engine(**{"onnx_path": onnx_file, "out_path": out, **options})


@needs_gcc
@pytest.mark.parametrize("version", ["8.6", "10.3"])
def test_an_operator_that_tensorrt_does_not_know(use, onnx_file, out, version):
    import onnx

    use(version)
    model = onnx.load(str(onnx_file))
    model.graph.node[3].op_type = "Unique"
    onnx.save(model, str(onnx_file))
    node = "node 3" if version == "8.6" else "node 3 'heatmaps_4_out'"
    with pytest.raises(
        ModelFileError, match=rf"tiny\.onnx: TensorRT's parser does not take {node} \(In node 3"
    ) as error:
        build_engine(onnx_file, out)
    assert "\n" not in str(error.value) and not out.parent.exists()


@needs_gcc
@pytest.mark.parametrize("content", [b"", b"not a model", 0.5])
def test_files_that_are_no_onnx(use, onnx_file, out, content):
    use("10.3")
    whole = onnx_file.read_bytes()
    onnx_file.write_bytes(whole[: len(whole) // 2] if content == 0.5 else content)
    with pytest.raises(ModelFileError, match=r"tiny\.onnx: not a whole ONNX file \(Failed to parse the ONNX model"):
        build_engine(onnx_file, out)
    with pytest.raises(ModelFileError, match=r"tiny\.onnx: not a whole ONNX file"):
        unsupported_operators(onnx_file)
    assert not out.parent.exists()


@needs_gcc
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("size", r"its input is of any size \(1, -1, 64, 3\); export it with a fixed one, batch 1"),
        ("float", r"needs one \(1, H, W, 3\) uint8 input .* and has image FLOAT\(1, 64, 64, 3\) and heatmaps_2, "),
        ("batch", r".* and has image UINT8\(2, 64, 64, 3\)"),
        ("outputs", ".* and has .* and heatmaps_2, tags; export it by ehrnet export"),
    ],
)
def test_networks_of_something_else(use, onnx_file, out, change, message):
    import onnx

    use("10.3")
    model = onnx.load(str(onnx_file))
    kind = model.graph.input[0].type.tensor_type
    if change == "size":
        kind.shape.dim[1].dim_param = "height"
    elif change == "float":
        kind.elem_type = onnx.TensorProto.FLOAT
    elif change == "batch":
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 2
    else:
        del model.graph.output[0]
    onnx.save(model, str(onnx_file))
    with pytest.raises(ModelFileError, match=rf"tiny\.onnx: {message}"):
        build_engine(onnx_file, out)
    assert not out.parent.exists()


@needs_gcc
def test_a_build_that_fails_leaves_the_earlier_engine(use, onnx_file, out):
    use("10.3")
    build_engine(onnx_file, out)
    earlier = out.read_bytes()
    with pytest.raises(EhrnetError) as error:
        build_engine(onnx_file, out, workspace_megabytes=1)
    assert str(error.value) == (
        f"{onnx_file}: TensorRT 10.3.0 on Fake GPU cannot build it as float16 (Could not find any implementation for "
        "node x.); give it more workspace, or close other programs that use the GPU"
    )
    assert out.read_bytes() == earlier


def test_tensorrt_is_not_installed(onnx_file, out, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingTensorRTError, match=r"versions 8\.5 to 10\.x work"):
        build_engine(onnx_file, out)


@needs_gcc
def test_no_device(use, cudart, onnx_file, out):
    use("10.3")
    counter(cudart, "fake_devices").value = 0
    with pytest.raises(CudaError, match="no NVIDIA GPU is found"):
        build_engine(onnx_file, out)


def test_no_file(tmp_path, out):
    with pytest.raises(ModelFileError, match=r"nothing\.onnx: no such model file"):
        build_engine(tmp_path / "nothing.onnx", out)


@needs_gcc
def test_building_needs_no_onnx_package(use, onnx_file, out, monkeypatch):
    use("10.3")
    monkeypatch.setitem(sys.modules, "onnx", None)
    build_engine(onnx_file, out)
    with pytest.raises(MissingExtraError, match="onnx is not installed"):
        tensorrt_module.unsupported_operators(onnx_file)


def make_graph(tmp_path, *nodes, opset=17, **inputs):
    """An ONNX file of nodes (operator, inputs, outputs, attributes), with inputs of a type and four values each."""
    import onnx
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, getattr(TensorProto, t), (1, 1, 2, 2)) for name, t in inputs.items()]
    made = [helper.make_node(kind, taken, given, **options) for kind, taken, given, options in nodes]
    weights = [onnx.numpy_helper.from_array(np.array([1]), "one")]
    model = helper.make_model(
        helper.make_graph(made, "g", values, [helper.make_empty_tensor_value_info("y")], weights),
        opset_imports=[helper.make_opsetid("", opset)],
    )
    (tmp_path / "graph.onnx").write_bytes(model.SerializeToString())
    return tmp_path / "graph.onnx"


@pytest.mark.parametrize(
    ("nodes", "inputs", "expected"),
    [
        ([("Unique", ["x"], ["y"], {})], {"x": "FLOAT"}, ["Unique"]),
        ([("Relu", ["x"], ["y"], {})], {"x": "FLOAT"}, []),
        ([("Relu", ["x"], ["y"], {})], {"x": "DOUBLE"}, ["Relu of DOUBLE"]),
        ([("ReduceMax", ["x"], ["y"], {})], {"x": "INT64"}, ["ReduceMax of INT64"]),
        ([("Add", ["x", "one"], ["y"], {})], {"x": "INT64"}, []),
        ([("Cast", ["x"], ["z"], {"to": 1}), ("Relu", ["z"], ["y"], {})], {"x": "UINT8"}, []),
        ([("Cast", ["x"], ["y"], {"to": 6})], {"x": "UINT8"}, ["Cast of UINT8"]),
        ([("Cast", ["x"], ["y"], {"to": 11})], {"x": "FLOAT"}, ["Cast of DOUBLE"]),
        ([("Transpose", ["x"], ["y"], {})], {"x": "UINT8"}, ["Transpose of UINT8"]),
        ([("Gather", ["x", "i"], ["y"], {})], {"x": "FLOAT", "i": "INT64"}, []),
        ([("TopK", ["x", "one"], ["y", "i"], {})], {"x": "FLOAT"}, []),
        ([("TopK", ["x", "k"], ["y", "i"], {})], {"x": "FLOAT", "k": "INT64"}, ["TopK with a variable input 1"]),
        ([("MaxPool", ["x"], ["y", "i"], {"kernel_shape": [2, 2]})], {"x": "FLOAT"}, ["MaxPool with indices"]),
        (
            [("Resize", ["x", "", "s"], ["y"], {"mode": "cubic"})],
            {"x": "FLOAT", "s": "FLOAT"},
            ["Resize with mode cubic"],
        ),
        ([("Own", ["x"], ["y"], {"domain": "my"})], {"x": "FLOAT"}, ["my.Own"]),
        ([("Where", ["c", "x", "x"], ["y"], {})], {"c": "BOOL", "x": "FLOAT"}, []),
    ],
)
def test_unsupported_operators(tmp_path, nodes, inputs, expected):
    assert unsupported_operators(make_graph(tmp_path, *nodes, **inputs)) == expected


def test_an_opset_that_is_too_new(tmp_path):
    path = make_graph(tmp_path, ("Relu", ["x"], ["y"], {}), opset=18, x="FLOAT")
    assert unsupported_operators(path) == ["opset 18"]


@pytest.fixture(scope="module")
def models(build_tiny):
    import ehrnet_tf

    return {"tiny": build_tiny(), "H-10": ehrnet_tf.EfficientHRNet("H-10", input_size=64)}


@pytest.mark.parametrize("graph", ["maps", "poses"])
@pytest.mark.parametrize("name", ["tiny", "H-10"])
def test_what_is_exported_is_supported(models, tmp_path, name, graph):
    from ehrnet_tf.converters.onnx import export_onnx

    export_onnx(models[name], tmp_path / "exported.onnx", graph)
    assert unsupported_operators(tmp_path / "exported.onnx") == []


@needs_gcc
def test_from_keras_to_an_engine(models, use, tmp_path, pictures):
    from ehrnet_tf.converters.onnx import export_onnx

    use("8.6")
    export_onnx(models["tiny"], tmp_path / "tiny.onnx")
    build_engine(tmp_path / "tiny.onnx", tmp_path / "tiny.engine", "int8", pictures)
    runner = TensorRTRunner(tmp_path / "tiny.engine")
    assert runner.metadata["variant"] == "H-4" and runner.metadata["input"]["height"] == 64
    expected = models["tiny"](np.stack(pictures), training=False)
    for map_name, values in runner(np.stack(pictures)).items():
        np.testing.assert_allclose(values, np.asarray(expected[map_name]), atol=1e-4)
    assert json.loads(calibration_files(tmp_path / "tiny.engine")[1].read_text())["of"]
