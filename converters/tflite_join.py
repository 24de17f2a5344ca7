"""Two .tflite files made one: what the first gives feeds the second.

Quantisation takes whole graphs, so a decoder that must stay float cannot be converted together with an integer network.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def join(first: bytes, second: bytes) -> bytes:
    """Appends ``second`` to ``first``: its inputs are the first's outputs, or else inputs, of the same names.

    Both hold one subgraph and one signature. Operators whose results nobody needs any more are left out.

    Args:
      first, second: flatbuffers as the TensorFlow Lite converter makes them.

    Returns:
      a flatbuffer with the inputs of ``first`` and the outputs of ``second``, under the signature's names.

    Raises:
      ValueError: an input of ``second`` has another shape or type than what it is fed with, or no counterpart.
    """
    from ai_edge_litert import schema_py_generated as schema

    whole, part = (schema.ModelT.InitFromPackedBuf(content, 0) for content in (first, second))
    graph, added = whole.subgraphs[0], part.subgraphs[0]
    signature, last = whole.signatureDefs[0], part.signatureDefs[0]
    known = {_text(m.name): m.tensorIndex for m in (*signature.inputs, *signature.outputs)}

    buffers, codes = len(whole.buffers), len(whole.operatorCodes)
    whole.buffers += part.buffers
    whole.operatorCodes += part.operatorCodes
    places = {m.tensorIndex: _find(known, graph, added.tensors[m.tensorIndex], _text(m.name)) for m in last.inputs}
    for index, tensor in enumerate(added.tensors):
        if index not in places:
            tensor.buffer += buffers
            places[index] = len(graph.tensors)
            graph.tensors.append(tensor)
    for operator in added.operators:
        operator.opcodeIndex += codes
        operator.inputs = _moved(operator.inputs, places)
        operator.outputs = _moved(operator.outputs, places)
        graph.operators.append(operator)
    for output in last.outputs:
        output.tensorIndex = places[output.tensorIndex]
    signature.outputs = last.outputs
    graph.outputs = _moved(added.outputs, places)
    _prune(graph)
    return _pack(schema, whole)


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _find(known: dict[str, int], graph: Any, wanted: Any, name: str) -> int:
    """The tensor of ``graph`` that feeds the input ``name``."""
    if name not in known:
        raise ValueError(f"nothing called '{name}' to feed; there are {', '.join(sorted(known))}")
    tensor = graph.tensors[known[name]]
    if tensor.type != wanted.type or list(tensor.shape) != list(wanted.shape):
        raise ValueError(
            f"'{name}' is {np.asarray(tensor.shape).tolist()} of type {tensor.type}, not "
            f"{np.asarray(wanted.shape).tolist()} of {wanted.type}"
        )
    return known[name]


def _moved(indices: Any, places: dict[int, int]) -> np.ndarray:
    """Tensor indices of the second file in the joined one; -1 stands for an optional input that is left out."""
    return np.array([index if index < 0 else places[index] for index in indices], np.int32)


def _prune(graph: Any) -> None:
    """Leaves out operators whose results nobody needs."""
    needed = set(graph.outputs)
    kept = []
    for operator in reversed(graph.operators):
        if needed.intersection(operator.outputs):
            needed.update(operator.inputs)
            kept.append(operator)
    graph.operators = kept[::-1]


def _pack(schema: Any, model: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
