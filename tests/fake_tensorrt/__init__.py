"""A stand-in for the module ``tensorrt`` that takes only what the real one takes, and computes in ONNX Runtime.

What the real one takes lies in ``golden/tensorrt_api_*.json`` (see ``record.py``). The memory is that of ``cudart.c``.
"""

import ctypes
import enum
import inspect
import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

from ehrnet_tf.runtime import cuda

from .classes import classes_of
from .files import plan, write_onnx
from .record import record

__all__ = ["api", "compile_cudart", "counter", "cudart", "cudart_path", "make", "plan", "record", "use", "write_onnx"]

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def cudart_path(tmp_path_factory):
    return compile_cudart(tmp_path_factory.mktemp("cudart"))


@pytest.fixture
def cudart(cudart_path, monkeypatch):
    """The stand-in for libcudart; all memory must have been given back at the end."""
    monkeypatch.setattr(cuda, "library_candidates", lambda: iter([str(cudart_path)]))
    library = ctypes.CDLL(str(cudart_path))
    yield library
    library.fake_fail(b"", 0)
    counter(library, "fake_devices").value = 1
    for name in ("fake_integrated", "fake_copies"):
        counter(library, name).value = 0


@pytest.fixture
def use(cudart, monkeypatch):
    """A function that makes a version, "8.6", the module ``tensorrt``, and gives that."""

    def use(version):
        module = make(version, cudart)
        monkeypatch.setitem(sys.modules, "tensorrt", module)
        return module

    return use


def counter(library, name):
    """A variable of ``cudart.c``, to read and to set."""
    return ctypes.c_int.in_dll(library, name)


def api(version):
    """The record of a version: "8.6", "10.3" or "11.4"."""
    return json.loads((HERE.parent / "golden" / f"tensorrt_api_{version}.json").read_text())


def compile_cudart(folder):
    """Compiles ``cudart.c``; gives the library's path."""
    path = Path(folder) / "libcudart.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(path), str(HERE / "cudart.c")], check=True)
    return path


def make(version, cudart):
    """A module ``tensorrt`` of a recorded version.

    Its attribute ``builds`` lists what was built: flags, the input's type, pinned layers, batches and table of the
    calibration. With the attribute ``fails`` set, engines do not run.

    Args:
      version: "8.6", "10.3" or "11.4".
      cudart: the library that `compile_cudart` made, opened by ctypes.
    """
    known = api(version)
    trt = types.ModuleType("tensorrt")
    trt.__version__, trt.builds = known["version"], []
    for name, enumeration in known["enums"].items():
        if "." not in name:
            setattr(trt, name, _enum(name, **enumeration))
    for kind in classes_of(trt, cudart):
        if kind.__name__ in known["classes"]:
            setattr(trt, kind.__name__, _checked(kind, known["classes"][kind.__name__]))
    trt.ILogger.Severity = _enum("Severity", **known["enums"]["ILogger.Severity"])
    for member in trt.ILogger.Severity:
        setattr(trt.ILogger, member.name, member)

    def init_libnvinfer_plugins(logger, namespace):
        _check_signature(init_libnvinfer_plugins, known["functions"]["init_libnvinfer_plugins"])
        return isinstance(logger, trt.ILogger) and namespace == ""

    trt.init_libnvinfer_plugins = init_libnvinfer_plugins
    return trt


class _Member(enum.Enum):
    def __int__(self):
        return self.value


class _Nameless(_Member):
    def name(self):
        """A method, in the bindings' ErrorCode."""


def _enum(name, members, named):
    return (_Member if named else _Nameless)(name, members)


def _checked(kind, known):
    """The class without what the version has not; refuses methods that differ from the record."""
    for name, value in list(vars(kind).items()):
        if name.startswith("_"):
            continue
        if isinstance(value, property):
            if name not in known["properties"]:
                delattr(kind, name)
            elif not known["properties"][name]:
                setattr(kind, name, property(value.fget))
        elif name not in known["methods"]:
            delattr(kind, name)
        else:
            _check_signature(value, known["methods"][name])
    return kind


def _check_signature(function, overloads):
    given = [name for name in inspect.signature(function).parameters if name != "self"]
    for overload in overloads:
        names = [name for name, _ in overload]
        if names[: len(given)] == given and all(default for _, default in overload[len(given) :]):
            return
    raise TypeError(f"{function.__qualname__}({', '.join(given)}) is none of {overloads}")
