"""The CUDA runtime, over a library that keeps the device's memory on the host (tests/fake_tensorrt/cudart.c)."""

import ctypes
import shutil

import numpy as np
import pytest

from ehrnet_tf.errors import EhrnetError
from ehrnet_tf.runtime import cuda as cuda_module
from ehrnet_tf.runtime.cuda import Buffer, Cuda, CudaError
from fake_tensorrt import counter

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


@pytest.fixture
def library(cudart):
    before = cudart.fake_blocks()
    yield cudart
    assert cudart.fake_blocks() == before, "memory was not freed"
    assert counter(cudart, "fake_streams").value == 0, "a stream was not given back"


def test_the_device(library):
    cuda = Cuda()
    assert (cuda.device_name, cuda.compute_capability, cuda.integrated) == ("Fake GPU", "8.7", False)
    counter(library, "fake_integrated").value = 1
    cuda = Cuda()
    assert (cuda.device_name, cuda.integrated) == ("Orin", True)


def test_copies_there_and_back(library):
    cuda = Cuda()
    there, back = Buffer(cuda, (2, 3), np.uint8), Buffer(cuda, (2, 3), np.uint8)
    assert library.fake_kind(ctypes.c_void_p(there.address), ctypes.c_size_t(6)) == 1
    assert there.array.shape == (2, 3) and there.array.dtype == np.uint8 and there.array.flags.writeable
    stream = cuda.stream()
    there.array[...] = np.arange(6).reshape(2, 3)
    there.upload(stream)
    on_device = np.frombuffer((ctypes.c_uint8 * 6).from_address(there.address), np.uint8)
    assert on_device[1] == 0xCD, "nothing happens before the stream is waited for"
    cuda.synchronize(stream)
    np.testing.assert_array_equal(on_device, range(6))
    ctypes.memmove(back.address, there.address, 6)
    back.array[...] = 9
    back.download(stream)
    cuda.synchronize(stream)
    np.testing.assert_array_equal(back.array, [[0, 1, 2], [3, 4, 5]])
    assert counter(library, "fake_copies").value == 2
    cuda.destroy_stream(stream)
    for buffer in (there, back):
        buffer.close()
        buffer.close()
        assert buffer.array is None


def test_an_integrated_gpu_copies_nothing(library):
    counter(library, "fake_integrated").value = 1
    cuda = Cuda()
    buffer, stream = Buffer(cuda, (4,), np.float32), cuda.stream()
    buffer.array[...] = (1, 2, 3, 4)
    buffer.upload(stream)
    same = np.frombuffer((ctypes.c_float * 4).from_address(buffer.address), np.float32)
    np.testing.assert_array_equal(same, [1, 2, 3, 4])
    same[2] = 7
    buffer.download(stream)
    cuda.synchronize(stream)
    assert buffer.array[2] == 7
    assert counter(library, "fake_copies").value == 0
    cuda.destroy_stream(stream)
    buffer.close()


@pytest.mark.parametrize(
    ("function", "integrated"), [("cudaHostAlloc", 0), ("cudaMalloc", 0), ("cudaHostGetDevicePointer", 1)]
)
def test_too_little_memory(library, function, integrated):
    counter(library, "fake_integrated").value = integrated
    cuda = Cuda()
    library.fake_fail(function.encode(), 2)
    with pytest.raises(
        CudaError, match=rf"CUDA: {function} failed: out of memory \(2\); close other programs"
    ) as error:
        Buffer(cuda, (4,), np.float32)
    assert isinstance(error.value, EhrnetError) and error.value.exit_status == 1


def test_failures_of_copies(library):
    cuda = Cuda()
    stream, buffer = cuda.stream(), Buffer(cuda, (4,), np.float32)
    library.fake_fail(b"cudaStreamSynchronize", 700)
    with pytest.raises(CudaError, match=r"cudaStreamSynchronize failed: unknown error \(700\); see whether nvidia-smi"):
        cuda.synchronize(stream)
    library.fake_fail(b"", 0)
    cuda.destroy_stream(stream)
    buffer.close()


def test_no_device(library):
    counter(library, "fake_devices").value = 0
    with pytest.raises(CudaError, match=r"no CUDA-capable device is detected \(100\); no NVIDIA GPU is found: run on"):
        Cuda()


def test_a_runtime_that_the_driver_is_too_old_for_is_passed_over(library, cudart_path, tmp_path, monkeypatch):
    newer = shutil.copy(cudart_path, tmp_path / "libcudart.so.13")
    ctypes.CDLL(str(newer)).fake_fail(b"cudaGetDeviceCount", 35)
    monkeypatch.setattr(cuda_module, "library_candidates", lambda: iter([str(newer), str(cudart_path)]))
    assert Cuda().device_name == "Fake GPU"
    monkeypatch.setattr(cuda_module, "library_candidates", lambda: iter([str(newer)]))
    with pytest.raises(CudaError, match=r"insufficient for CUDA runtime version \(35\); the driver is older"):
        Cuda()


def test_no_library(monkeypatch):
    monkeypatch.setattr(cuda_module, "library_candidates", lambda: iter(["libnothing.so"]))
    with pytest.raises(
        CudaError, match="libcudart is not found; on a Jetson install nvidia-jetpack, on a PC pip install"
    ):
        Cuda()


def test_where_the_library_is_looked_for(tmp_path, monkeypatch):
    folder = tmp_path / "nvidia" / "cuda_runtime" / "lib"
    folder.mkdir(parents=True)
    (folder / "libcudart.so.12").touch()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    found = list(cuda_module.library_candidates())
    assert found[:4] == ["libcudart.so", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so.13"]
    assert str(folder / "libcudart.so.12") in found
