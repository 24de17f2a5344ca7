"""What a model file is: its metadata, and what can be read off the file itself. `ehrnet info` prints it.

A .tflite file and a SavedModel folder are described without TensorFlow. So are a .keras file's metadata; its layers
need the extra `train`.
"""

from __future__ import annotations

import math
import os
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ehrnet_tf.errors import MissingExtraError, ModelFileError
from ehrnet_tf.runtime.metadata import MEMBER, read_metadata
from ehrnet_tf.runtime.operators import delegate_partitions, float_operators, open_plain, tflite_ops
from ehrnet_tf.runtime.runner import describe_size
from ehrnet_tf.runtime.runners import ACCEPTED, size_of

_MODEL = (  # the metadata that tell how to run the model; the others tell where it comes from
    "task",
    "variant",
    "keypoints",
    "classes",
    "graph",
    "people",
    "precision",
    "input",
    "strides",
    "decoder",
)
_ORIGIN = ("source", "engine", "calibration", "accuracy", "licence", "versions")
_NO_WORK = ("Parameter", "Constant", "Result")  # operators of OpenVINO that compute nothing
_STATISTICS = ("moving_mean", "moving_variance")  # weights of a batch norm that are no parameters
_WIDTH = 110  # characters a line
_MOST = 6  # tensors, and types of float operators, that are listed
_NAME = 40  # characters of a name
_TIE = "\xa0"  # a space where no line is broken


def describe(path: str | os.PathLike) -> dict[str, Any]:
    """Describes a model file or SavedModel folder, in plain values.

    Returns:
      "path", "format" ("Keras", "TFLite", "ONNX", "OpenVINO", "TensorRT", "SavedModel"), "bytes", "metadata" (see
      `runtime.metadata`; None if the file holds none), "notes" (sentences: what could not be found out, and why), and
      of a

      - TFLite file: "inputs" and "outputs" (each {"name", "type", "shape", "quantization": {"scale", "zero_point"} or
        None}; None in a shape: any), "ops" and "float_ops" (operators by type, the most frequent first),
        "float_operators", "partitions" and "outside" (see `runtime.operators`; the last by type, both None if the
        interpreter cannot run the file),
      - Keras file, if Keras is installed: "name", "parameters" (without the running statistics of batch norms, as
        `ehrnet models` counts), "layers" (by type, the most frequent first),
      - OpenVINO file, if OpenVINO is installed: "inputs", "outputs", "ops" as of an ONNX file ("bytes": of both files),
      - TensorRT engine: nothing but its metadata,
      - ONNX file: "inputs", "outputs" (each {"name", "type", "shape"}) and, if the package onnx is installed, "opset"
        and "ops".

    Raises:
      ModelFileError: no such file, a kind of file that is not accepted, not what its suffix says, or its metadata is
        damaged.
      MissingExtraError: a package is missing without which nothing can be told.
    """
    path = Path(path)
    if not path.exists():
        raise ModelFileError(f"{path}: no such model file; accepted are {ACCEPTED}")
    if (path / "saved_model.pb").is_file():
        kind, read = "SavedModel", _read_saved_model
    elif path.suffix.lower() in _READERS and path.is_file():
        kind, read = _READERS[path.suffix.lower()]
    else:
        raise ModelFileError(f"{path}: not a kind of model that can be described; accepted are {ACCEPTED}")
    description = {"path": str(path), "format": kind, "bytes": size_of(path)}
    return {**description, "notes": [], **read(path)}


def _read_saved_model(path: Path) -> dict[str, Any]:
    return {"metadata": read_metadata(path)}


def _read_tflite(path: Path) -> dict[str, Any]:
    interpreter = open_plain(path)
    signatures = list(interpreter.get_signature_list())
    if signatures:
        signature = interpreter.get_signature_runner(signatures[0])
        inputs, outputs = signature.get_input_details(), signature.get_output_details()
    else:
        inputs, outputs = (
            {tensor["name"]: tensor for tensor in details}
            for details in (interpreter.get_input_details(), interpreter.get_output_details())
        )
    floats = float_operators(path)
    found = {
        "metadata": read_metadata(path),
        "inputs": [_tflite_tensor(name, details) for name, details in inputs.items()],
        "outputs": [_tflite_tensor(name, details) for name, details in outputs.items()],
        "ops": tflite_ops(path),
        "float_ops": _count(kind for kind, _ in floats),
        "float_operators": floats,
    }
    try:
        partitions, outside = delegate_partitions(path)
    except ModelFileError as error:
        return {**found, "partitions": None, "outside": None, "notes": [str(error)]}
    return {**found, "partitions": partitions, "outside": _count(outside)}


def _tflite_tensor(name: str, details: Mapping[str, Any]) -> dict[str, Any]:
    scale, zero_point = details["quantization"]
    return {
        "name": name,
        "type": np.dtype(details["dtype"]).name,
        "shape": [int(side) if side >= 0 else None for side in details["shape_signature"]],
        "quantization": {"scale": float(scale), "zero_point": int(zero_point)} if scale else None,
    }


def _read_keras(path: Path) -> dict[str, Any]:
    metadata = read_metadata(path)
    try:
        from ehrnet_tf.models.weights import open_keras
    except ImportError as error:
        missing = MissingExtraError("keras", "train")
        if metadata is None:
            raise missing from error
        return {"metadata": metadata, "notes": [f"layers not counted: {missing}"]}
    model = open_keras(path)
    parameters = [weight for weight in model.weights if weight.name not in _STATISTICS]  # frozen ones too
    return {
        "metadata": metadata,
        "name": model.name,
        "parameters": sum(math.prod(weight.shape) for weight in parameters),
        "layers": _count(type(layer).__name__ for layer in model.layers),
    }


def _read_onnx(path: Path) -> dict[str, Any]:
    from ehrnet_tf.runtime.onnx_runner import open_session

    metadata = read_metadata(path)
    try:
        session = open_session(path)
    except MissingExtraError as missing:
        if metadata is None:
            raise
        return {"metadata": metadata, "notes": [f"tensors and operators not read: {missing}"]}
    found = {
        "metadata": metadata,
        "inputs": [_onnx_tensor(tensor) for tensor in session.get_inputs()],
        "outputs": [_onnx_tensor(tensor) for tensor in session.get_outputs()],
    }
    try:
        import onnx
    except ImportError:
        return {**found, "notes": [f"operators not counted: {MissingExtraError('onnx', 'onnx')}"]}
    model = onnx.load(str(path), load_external_data=False)
    return {
        **found,
        "opset": next((opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")), None),
        "ops": _count(node.op_type for node in model.graph.node),
    }


def _onnx_tensor(tensor: Any) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "type": tensor.type[len("tensor(") : -1],
        "shape": [side if isinstance(side, int) else None for side in tensor.shape],
    }


def _read_openvino(path: Path) -> dict[str, Any]:
    from ehrnet_tf.runtime.openvino_runner import open_core, port_name, port_shape, port_type, read_model

    metadata = read_metadata(path)
    try:
        model = read_model(open_core(), path)
    except MissingExtraError as missing:
        if metadata is None:
            raise
        return {"metadata": metadata, "notes": [f"tensors and operators not read: {missing}"]}

    def tensors(ports: Iterable[Any]) -> list[dict[str, Any]]:
        return [{"name": port_name(p), "type": port_type(p), "shape": port_shape(p)} for p in ports]

    return {
        "metadata": metadata,
        "inputs": tensors(model.inputs),
        "outputs": tensors(model.outputs),
        "ops": _count(op.get_type_name() for op in model.get_ops() if op.get_type_name() not in _NO_WORK),
    }


def _read_engine(path: Path) -> dict[str, Any]:
    if not path.stat().st_size:
        raise ModelFileError(f"{path}: is empty; build it again")
    note = "tensors and layers are told by trtexec --loadEngine=FILE --dumpLayerInfo, or by running it on its device"
    return {"metadata": read_metadata(path), "notes": [note]}


def _count(kinds: Iterable[str]) -> dict[str, int]:
    return dict(Counter(kinds).most_common())


_READERS = {
    ".tflite": ("TFLite", _read_tflite),
    ".keras": ("Keras", _read_keras),
    ".onnx": ("ONNX", _read_onnx),
    ".xml": ("OpenVINO", _read_openvino),
    **dict.fromkeys((".engine", ".plan", ".trt"), ("TensorRT", _read_engine)),
}


def text(description: Mapping[str, Any]) -> str:
    """What `describe` found, for people; long values are cut."""
    metadata = description["metadata"] or {}
    free = [key for key in metadata if key not in (*_MODEL, *_ORIGIN)]
    sections = {
        "model": [(key, _known(key, metadata[key])) for key in _MODEL if key in metadata],
        "origin": [(key, _known(key, metadata[key])) for key in (*_ORIGIN, *free) if key in metadata],
        "inputs": _tensors(description.get("inputs", ())),
        "outputs": _tensors(description.get("outputs", ())),
        "network": _network(description) if "layers" in description else [],
    }
    width = max((len(_short(label)) for rows in sections.values() for label, _ in rows), default=0)
    lines = [f"{description['path']}: {description['format']}, {description['bytes'] / 2**20:.2f} MB"]
    if description["metadata"] is None:
        lines.append(f"no metadata ({MEMBER}): not written by ehrnet-tf, or cut off at its end")
    for title, rows in sections.items():
        lines += [title] if rows else []
        for label, value in rows:
            lines += _wrapped(value, f"  {_short(label):{width}}  ", width + 4)
    if "ops" in description:
        lines += _operator_lines(description)
    for note in description["notes"]:
        lines += _wrapped(note, "note: ", 2)
    return "\n".join(lines)


def _wrapped(value: str, start: str, indent: int) -> list[str]:
    """One or two lines that begin with ``start``; the second is indented."""
    lines = textwrap.wrap(
        value,
        _WIDTH,
        initial_indent=start,
        subsequent_indent=" " * indent,
        max_lines=2,
        placeholder=" ...",
        break_on_hyphens=False,
    )
    return [line.replace(_TIE, " ") for line in lines]


def _network(description: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("name", description["name"]),
        ("parameters", f"{description['parameters']:,}"),
        ("layers", _counted(description["layers"])),
    ]


def _known(key: str, value: Any) -> str:
    """The value of one of the metadata's keys; as it is, where it is not what this package writes."""
    try:
        if key == "keypoints":
            return f"{value['name']}, {len(value['keypoints'])} keypoints"
        if key == "input":
            return _input(value)
        if key == "classes":
            return f"{len(value)}: {', '.join(value)}"
    except (LookupError, TypeError):
        pass
    return _value(value)


def _input(given: Mapping[str, Any]) -> str:
    height, width = given["height"], given["width"]
    size = describe_size((height, width)) if height and width else "any size"
    if not (height and width) and given.get("nominal"):
        size += f" (nominal {describe_size(given['nominal'])})"
    letterbox = f"; letterbox: {given['letterbox']}" if "letterbox" in given else ""
    return f"{size} {given['dtype']} {given['color']}{letterbox}"


def _value(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}{_TIE}{_inner(part)}" for key, part in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(_inner(part) for part in value) or "none"
    return str(value).strip() or "none"


def _inner(value: Any) -> str:
    return f"({_value(value)})" if isinstance(value, (Mapping, list, tuple)) else _value(value)


def _tensors(tensors: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    rows = []
    for tensor in tensors[:_MOST]:
        shape = ", ".join("any" if side is None else str(side) for side in tensor["shape"])
        steps = tensor.get("quantization")
        quantization = f", scale {steps['scale']:.6g}, zero point {steps['zero_point']}" if steps else ""
        rows.append((tensor["name"], f"{tensor['type']} ({shape}){quantization}"))
    return rows + ([("...", f"{len(tensors) - _MOST} more")] if len(tensors) > _MOST else [])


def _operator_lines(description: Mapping[str, Any]) -> list[str]:
    ops, partitions = description["ops"], description.get("partitions")
    opset = f", opset {description['opset']}" if "opset" in description else ""
    lines = ["operators", *_wrapped(f"{sum(ops.values())}{opset}: {_counted(ops)}", "  ", 4)]
    if "float_ops" in description:
        lines += _float_lines(description["float_operators"], description["float_ops"])
    if partitions is not None:
        outside = f", outside: {_counted(description['outside'])}" if partitions else ""
        lines += _wrapped(f"XNNPACK: {partitions} partition{'' if partitions == 1 else 's'}{outside}", "  ", 4)
    return lines


def _float_lines(operators: Sequence[Sequence[str]], ops: Mapping[str, int]) -> list[str]:
    """The float operators by type, with the names of up to three each."""
    if not operators:
        return ["  float operators: none"]
    lines = [f"  float operators: {len(operators)}"]
    for kind, count in list(ops.items())[:_MOST]:
        names = [_short(name) for found, name in operators if found == kind][:3]
        more = ", ..." if count > len(names) else ""
        lines += _wrapped(f"{count} {kind}: {', '.join(names)}{more}", "    ", 6)
    rest = list(ops.values())[_MOST:]
    return lines + ([f"    {sum(rest)} of {len(rest)} other types"] if rest else [])


def _short(name: str) -> str:
    """The end of a name; of an operator fused of several, the first one's."""
    name = name.split(";")[0]
    return name if len(name) <= _NAME else f"...{name[3 - _NAME :]}"


def _counted(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{count}{_TIE}{kind}" for kind, count in kinds.items()) or "none"
