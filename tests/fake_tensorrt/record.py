"""Reads off a loaded module ``tensorrt`` what it takes: names, arguments, settable properties, enum members.

``golden/tensorrt_api_*.json`` were made of the bindings in NVIDIA's wheels on PyPI (tensorrt_bindings 8.6.1,
tensorrt_cu12_bindings 10.3.0 and 11.4.0.106, CPython 3.11), which load without TensorRT's own libraries if others of
the same names define the few C functions that they import:

    pip download --no-deps tensorrt_cu12_bindings==10.3.0 && unzip -q tensorrt_cu12_bindings-*.whl
    nm -D --undefined-only tensorrt_bindings/tensorrt.so       # createInferBuilder_INTERNAL, getPluginRegistry, ...
    for f in createInferBuilder_INTERNAL ...; do echo "void *$f(void) { return 0; }"; done > stub.c
    for l in nvinfer nvonnxparser nvinfer_plugin; do gcc -shared -fPIC -o lib$l.so.10 stub.c; done
    LD_LIBRARY_PATH=. python record.py tensorrt_bindings/tensorrt.so 10.3.0 tensorrt_api_10.3.json

Where the real TensorRT is installed, ``runtime/test_tensorrt_runner.py`` compares it with the record of its version.
"""

import importlib.util
import json
import re
import sys
from pathlib import Path

CLASSES = (
    *("Builder", "IBuilderConfig", "INetworkDefinition", "ITensor", "ILayer", "OnnxParser", "ParserError"),
    *("ICudaEngine", "IExecutionContext", "Runtime", "IHostMemory", "ILogger", "ITimingCache"),
    "IInt8EntropyCalibrator2",
)
ENUMS = (
    *("DataType", "BuilderFlag", "NetworkDefinitionCreationFlag", "MemoryPoolType", "TensorIOMode", "TensorFormat"),
    *("LayerType", "ErrorCode", "DeviceType"),
)


def record(trt, version):
    """The names, arguments and enum members of a loaded module ``tensorrt``."""
    classes = {}
    for name in CLASSES:
        kind = getattr(trt, name, None)
        if kind is None:
            continue
        members = {m: getattr(kind, m) for m in dir(kind) if not m.startswith("_") or m == "__init__"}
        methods = {m: _overloads(m, v.__doc__ or "") for m, v in members.items() if callable(v)}
        properties = {m: v.fset is not None for m, v in members.items() if isinstance(v, property)}
        classes[name] = {"methods": {m: s for m, s in methods.items() if s}, "properties": properties}
    enums = {name: _members(getattr(trt, name)) for name in ENUMS}
    enums["ILogger.Severity"] = _members(trt.ILogger.Severity)
    functions = {"init_libnvinfer_plugins": _overloads("init_libnvinfer_plugins", trt.init_libnvinfer_plugins.__doc__)}
    return {"version": version, "classes": classes, "enums": enums, "functions": functions}


def _members(kind):
    """The values of an enum's members by name, and whether the attribute ``name`` of a member is that name."""
    members = {name: int(value) for name, value in kind.__members__.items()}
    return {"members": members, "named": all(isinstance(value.name, str) for value in kind.__members__.values())}


def _overloads(name, text):
    """[[argument, whether it has a default], ...] of each signature in a docstring of pybind11's."""
    found = []
    for line in text.splitlines():
        match = re.fullmatch(rf"(?:\d+\. )?{re.escape(name)}\((.*)\) -> .*", line.strip())
        if match and match[1] != "*args, **kwargs":
            arguments = re.split(r", (?=\w+: )", match[1])
            named = [(a.split(": ")[0], " = " in a) for a in arguments if a]
            found.append([[a, default] for a, default in named if a != "self"])
    return found


def _load(path):
    spec = importlib.util.spec_from_file_location("tensorrt", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    bindings, full_version, out = sys.argv[1:]
    Path(out).write_text(json.dumps(record(_load(bindings), full_version), separators=(",", ":")) + "\n")
