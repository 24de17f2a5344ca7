"""Engines in a stand-in for TensorRT (tests/fake_tensorrt), whose numbers are ONNX Runtime's."""

import shutil
import sys

import numpy as np
import pytest

import fake_tensorrt
from ehrnet_tf.converters.tensorrt import build_engine
from ehrnet_tf.errors import EhrnetError, ModelFileError, UsageError
from ehrnet_tf.keypoints import KeypointSet, load
from ehrnet_tf.runtime import cuda as cuda_module
from ehrnet_tf.runtime.cuda import CudaError
from ehrnet_tf.runtime.info import describe, text
from ehrnet_tf.runtime.metadata import append_metadata, read_metadata
from ehrnet_tf.runtime.onnx_runner import OnnxRunner
from ehrnet_tf.runtime.tensorrt_runner import MissingTensorRTError, TensorRTRunner, import_tensorrt, read_engine
from fake_tensorrt import counter

METADATA = {"variant": "H-4", "keypoints": load("coco").to_dict(), "graph": "maps", "precision": "float32"}
VERSIONS = ("8.6", "10.3", "11.4")
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


@pytest.fixture
def onnx_file(tmp_path):
    return fake_tensorrt.write_onnx(tmp_path / "tiny.onnx", metadata=METADATA)


@pytest.fixture
def engine(use, onnx_file, tmp_path):
    """An engine of TensorRT 10.3."""
    use("10.3")
    build_engine(onnx_file, tmp_path / "tiny.engine")
    return tmp_path / "tiny.engine"


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


@needs_gcc
@pytest.mark.parametrize("integrated", [0, 1])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("graph", ["maps", "poses"])
def test_outputs_are_those_of_the_onnx_file(use, cudart, tmp_path, images, version, integrated, graph):
    use(version)
    counter(cudart, "fake_integrated").value = integrated
    metadata = {**METADATA, "graph": graph}
    onnx_file = fake_tensorrt.write_onnx(tmp_path / "tiny.onnx", graph, metadata)
    build_engine(onnx_file, tmp_path / "tiny.plan", "float32")
    runner, expected = TensorRTRunner(tmp_path / "tiny.plan"), OnnxRunner(onnx_file)(images)
    assert runner.graph == graph and runner.kind == "TensorRT" and runner.input_size == (64, 64)
    assert runner.keypoints.name == "coco" and runner.precision == "float32"
    outputs = runner(images)
    assert set(outputs) == set(expected)
    for name, values in outputs.items():
        assert values.dtype == np.float32 and values.shape[0] == 3
        np.testing.assert_array_equal(values, expected[name])
    assert counter(cudart, "fake_copies").value == (0 if integrated else 3 * (1 + len(outputs)))
    runner.close()


@needs_gcc
def test_only_what_is_wanted_is_copied(engine, cudart, images):
    runner = TensorRTRunner(engine)
    assert list(runner(images[:1], ["tags"])) == ["tags"]
    assert counter(cudart, "fake_copies").value == 2


@needs_gcc
@pytest.mark.parametrize("integrated", [0, 1])
def test_results_outlive_the_next_call_and_the_runner(engine, cudart, images, integrated):
    counter(cudart, "fake_integrated").value = integrated
    runner = TensorRTRunner(engine)
    first = runner(images[:1])["tags"]
    kept = first.copy()
    assert not np.array_equal(runner(images[1:2])["tags"], kept)
    runner.close()
    np.testing.assert_array_equal(first, kept)


@needs_gcc
def test_memory_is_taken_once_and_given_back(engine, cudart, images):
    before, streams = cudart.fake_blocks(), counter(cudart, "fake_streams").value
    runner = TensorRTRunner(engine)
    held = cudart.fake_blocks()
    assert held == before + 2 * 4  # the input and three maps, on the host and on the device
    runner(images)
    assert cudart.fake_blocks() == held
    runner.close()
    runner.close()
    assert (cudart.fake_blocks(), counter(cudart, "fake_streams").value) == (before, streams)
    with pytest.raises(UsageError, match=r"tiny\.engine: the runner is closed"):
        runner(images)
    TensorRTRunner(engine)
    assert (cudart.fake_blocks(), counter(cudart, "fake_streams").value) == (before, streams), "freed with the object"


@needs_gcc
def test_memory_is_given_back_if_there_is_too_little(engine, cudart):
    before = cudart.fake_blocks()
    cudart.fake_fail(b"cudaMalloc", 2)
    with pytest.raises(CudaError, match="out of memory"):
        TensorRTRunner(engine)
    assert cudart.fake_blocks() == before and counter(cudart, "fake_streams").value == 0


@needs_gcc
def test_the_metadata_are_cut_off(engine, use, onnx_file):
    plan = fake_tensorrt.plan("10.3.0", onnx_file.read_bytes())
    assert engine.read_bytes().startswith(plan) and len(plan) < engine.stat().st_size
    assert read_engine(engine) == plan
    append_metadata(engine, {**read_metadata(engine), "accuracy": {"AP": 0.5}})
    assert read_engine(engine) == plan
    assert TensorRTRunner(engine).metadata["accuracy"] == {"AP": 0.5}


@needs_gcc
def test_an_engine_of_another_tensorrt(engine, use):
    use("8.6")
    with pytest.raises(ModelFileError) as error:
        TensorRTRunner(engine)
    assert str(error.value) == (
        f"{engine}: TensorRT 8.6.1 on Fake GPU cannot load it (IRuntime::deserializeCudaEngine: Error Code 6: API "
        "Usage Error (The engine plan file is not compatible with this version of TensorRT, expecting 8.6.1 got "
        "10.3.0.)); it was built by TensorRT 10.3.0 on Fake GPU: build it again on this device from the .onnx by "
        "ehrnet export"
    )


@needs_gcc
@pytest.mark.parametrize("keep", [0, 5, 300, 0.5, 0.95])
def test_a_truncated_engine(engine, keep):
    content = engine.read_bytes()
    engine.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    known = "TensorRT 10\\.3\\.0 on Fake GPU cannot load it .* cut off, or built by another TensorRT or on another GPU"
    in_metadata = "its metadata .* is damaged .the file is cut off"
    with pytest.raises(ModelFileError, match=rf"tiny\.engine: ({in_metadata if keep == 0.95 else known})") as error:
        TensorRTRunner(engine)
    assert "\n" not in str(error.value)


@needs_gcc
def test_a_damaged_engine(engine):
    plan = read_engine(engine)
    metadata = read_metadata(engine)
    engine.write_bytes(plan[:-20])
    append_metadata(engine, metadata)
    with pytest.raises(ModelFileError, match=r"header does not match archive size\); it is damaged: build it again"):
        TensorRTRunner(engine)


@needs_gcc
def test_keypoints_that_no_one_says(use, tmp_path, images):
    use("10.3")
    build_engine(fake_tensorrt.write_onnx(tmp_path / "bare.onnx"), tmp_path / "bare.engine")
    plan = read_engine(tmp_path / "bare.engine")
    (tmp_path / "bare.trt").write_bytes(plan)
    runner = TensorRTRunner(tmp_path / "bare.trt")
    assert runner.metadata == {} and runner.keypoints.name == "coco" and runner.precision == "unknown"
    assert runner(images[:1])["tags"].shape == (1, 16, 16, 17)
    with pytest.raises(UsageError, match="17 keypoint channels, the set 'hand' 3"):
        TensorRTRunner(tmp_path / "bare.trt", KeypointSet.from_dict({"name": "hand", "keypoints": ["a", "b", "c"]}))


@needs_gcc
@pytest.mark.parametrize("change", ["float input", "other outputs"])
def test_engines_of_something_else(use, tmp_path, change):
    import onnx

    use("10.3")
    model = onnx.load(str(fake_tensorrt.write_onnx(tmp_path / "tiny.onnx")))
    if change == "float input":
        model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    else:
        del model.graph.output[1]
    (tmp_path / "other.engine").write_bytes(fake_tensorrt.plan("10.3.0", model.SerializeToString()))
    with pytest.raises(ModelFileError, match=r"other\.engine: needs one \(1, H, W, 3\) uint8 input and outputs named"):
        TensorRTRunner(tmp_path / "other.engine")


@needs_gcc
def test_a_failing_engine(engine, use, images):
    runner = TensorRTRunner(engine)
    sys.modules["tensorrt"].fails = True
    with pytest.raises(
        EhrnetError, match=r"tiny\.engine: TensorRT fails \(IExecutionContext::enqueueV3: Error Code 3\)"
    ):
        runner(images)


@needs_gcc
def test_the_accelerator_that_it_was_built_for(use, cudart, onnx_file, tmp_path, monkeypatch):
    trt, chosen = use("10.3"), []
    counter(cudart, "fake_integrated").value = 1
    build_engine(onnx_file, tmp_path / "dla.engine", dla_core=1)
    deserialize = trt.Runtime.deserialize_cuda_engine

    def note(self, serialized_engine):
        chosen.append(self.DLA_core)
        return deserialize(self, serialized_engine)

    monkeypatch.setattr(trt.Runtime, "deserialize_cuda_engine", note)
    TensorRTRunner(tmp_path / "dla.engine")
    assert chosen == [1]


@needs_gcc
def test_no_device(engine, cudart):
    counter(cudart, "fake_devices").value = 0
    with pytest.raises(CudaError, match="no NVIDIA GPU is found"):
        TensorRTRunner(engine)


def test_no_file(tmp_path):
    with pytest.raises(ModelFileError, match=r"nothing\.engine: no such model file"):
        TensorRTRunner(tmp_path / "nothing.engine")


def test_tensorrt_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    (tmp_path / "some.engine").write_bytes(b"engine")
    with pytest.raises(MissingTensorRTError) as error:
        TensorRTRunner(tmp_path / "some.engine")
    for remedy in ("versions 8.5 to 10.x work", "--system-site-packages", "pip install 'tensorrt-cu12<11'"):
        assert remedy in str(error.value)
    assert isinstance(error.value, EhrnetError) and isinstance(error.value, ImportError)
    assert "\n" not in str(error.value)


@needs_gcc
def test_tensorrt_is_too_old(use):
    use("8.6").__version__ = "8.4.1.5"
    with pytest.raises(MissingTensorRTError, match=r"TensorRT 8\.4\.1\.5 is too old, versions 8\.5 to 10\.x work"):
        import_tensorrt()


def real_tensorrt():
    try:
        return import_tensorrt()
    except MissingTensorRTError:
        return None


def real_device():
    try:
        return cuda_module.Cuda()
    except CudaError:
        return None


@pytest.mark.skipif(real_tensorrt() is None, reason="needs TensorRT")
def test_the_real_tensorrt_is_as_recorded():
    trt = real_tensorrt()
    known = {name: fake_tensorrt.api(name) for name in VERSIONS}
    of_this = [api for name, api in known.items() if trt.__version__.startswith(f"{name}.")]
    if not of_this:
        pytest.skip(f"no record of {trt.__version__}")
    assert fake_tensorrt.record(trt, of_this[0]["version"]) == of_this[0]


@pytest.mark.skipif(real_tensorrt() is None or real_device() is None, reason="needs TensorRT and a GPU")
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("float16", 0.01), ("int8", 0.1)])
@pytest.mark.parametrize("graph", ["maps", "poses"])
def test_a_real_engine(tmp_path, images, precision, tolerance, graph):
    if precision != "float32" and real_tensorrt().__version__.startswith("11."):
        pytest.skip("TensorRT 11 builds float32 only")
    onnx_file = fake_tensorrt.write_onnx(tmp_path / "tiny.onnx", graph, {**METADATA, "graph": graph})
    build_engine(onnx_file, tmp_path / "tiny.engine", precision, images)
    runner, expected = TensorRTRunner(tmp_path / "tiny.engine"), OnnxRunner(onnx_file)(images)
    values = {"scores": expected["scores"]} if graph == "poses" else expected
    for name in values:
        away = np.abs(runner(images)[name] - expected[name]).max() / np.ptp(expected[name])
        assert away < tolerance, name


def test_info_of_an_engine(tmp_path):
    path = tmp_path / "a.engine"
    path.write_bytes(b"plan")
    append_metadata(path, {**METADATA, "engine": {"tensorrt": "10.3.0", "device": "Orin"}})
    found = describe(path)
    assert found["format"] == "TensorRT" and found["metadata"]["engine"]["device"] == "Orin"
    assert "trtexec" in found["notes"][0] and "tensorrt\xa010.3.0" in text(found).replace(" ", "\xa0")
    path.write_bytes(b"")
    with pytest.raises(ModelFileError, match=r"a\.engine: is empty"):
        describe(path)
