"""Which operators of an ONNX file TensorRT does not take, told without TensorRT.

From the support matrix of TensorRT 8.5's ONNX parser, the oldest that is used: onnx/onnx-tensorrt, docs/operators.md at
commit 6d0ab7be (Apache-2.0). Whatever it takes is taken by later ones too: of its operators none is marked unsupported
in the matrices of 9.1 (commit 877b5dcc) and 10.15, between which lies 10.3. Not all that a later one takes is listed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ehrnet_tf.errors import MissingExtraError, ModelFileError

if TYPE_CHECKING:
    import onnx

NEWEST_OPSET = 17  # that 8.5 reads

_FLOAT = """
Acos Acosh ArgMax ArgMin Asin Asinh Atan Atanh BatchNormalization Ceil Celu Cos Cosh CumSum Dropout Einsum Erf Exp
Floor GridSample GRU ImageScaler InstanceNormalization Log LogSoftmax LRN LSTM LpNormalization MatMul
MeanVarianceNormalization NonMaxSuppression NonZero Pow QuantizeLinear RandomNormal RandomNormalLike RandomUniform
RandomUniformLike Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
ReduceSum ReduceSumSquare Resize ReverseSequence RNN RoiAlign Scan Sin Sinh Softmax Sqrt Tan TopK Upsample
ConstantOfShape
Clip Conv ConvTranspose Elu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool HardSwish HardSigmoid LeakyRelu LpPool
MaxPool ParametricSoftplus PRelu Relu Round ScaledTanh Selu Sigmoid Softplus Softsign Tanh ThresholdedRelu
"""
_FLOAT_AND_INT32 = """
Abs Add AveragePool DepthToSpace Div Equal Greater GreaterOrEqual IsNaN Less LessOrEqual Max Mean Min Mod Mul Neg Pad
Range Scatter ScatterElements ScatterND Shrink Sign SpaceToDepth Sub Sum
"""
_FLOAT_INT32_AND_BOOL = """
Cast Concat Constant Expand EyeLike Flatten Gather GatherElements GatherND Identity If Loop OneHot Reshape Shape Size
Slice Split Squeeze Tile Transpose Trilu Unsqueeze Where
"""
_BOOL = "And Not Or Xor"
_UNKNOWN = "UNDEFINED"
_FIRST_COUNTS = """
CumSum Expand Gather GatherElements GatherND If Loop NonMaxSuppression Pad QuantizeLinear ReduceSum Reshape Resize
ReverseSequence RoiAlign Slice Split Squeeze Tile TopK Trilu Unsqueeze Upsample
"""

_FLOATS, _INTEGERS = frozenset(("FLOAT", "FLOAT16")), frozenset(("INT32", "INT64"))  # INT64 is made INT32
SUPPORTED = {
    **dict.fromkeys(_FLOAT.split(), _FLOATS),
    **dict.fromkeys(_FLOAT_AND_INT32.split(), _FLOATS | _INTEGERS),
    **dict.fromkeys(_FLOAT_INT32_AND_BOOL.split(), _FLOATS | _INTEGERS | {"BOOL"}),
    **dict.fromkeys(_BOOL.split(), frozenset(("BOOL",))),
    "DequantizeLinear": frozenset(("INT8",)),
}
# Inputs whose type counts, where it is not that of all of them: the others are indices, shapes and conditions.
_COUNTING = {
    **dict.fromkeys(_FIRST_COUNTS.split(), (0,)),
    **dict.fromkeys(("ScatterND", "ScatterElements", "Scatter"), (0, 2)),
    **dict.fromkeys(("ConstantOfShape", "Constant", "Shape", "Size"), ()),
    "OneHot": (2,),
    "Where": (1, 2),
}
# Inputs that must be known when the engine is built.
_CONSTANT_INPUTS = {"TopK": 1, "Slice": 3, "Squeeze": 1, "Unsqueeze": 1, "CumSum": 1}
_RESIZE_MODES = {
    "mode": ("nearest", "linear"),
    "coordinate_transformation_mode": (
        *("half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners"),
    ),
    "nearest_mode": ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
}


def unsupported_operators(onnx_path: str | os.PathLike) -> list[str]:
    """What TensorRT 8.5's parser, and so maybe a later one, does not take of an ONNX file.

    Besides unknown operators: types that an operator does not compute in (float64; integers where it is float only;
    uint8 anywhere but in a network input that is cast to float), inputs that must be constant, and modes.

    Args:
      onnx_path: an ONNX file.

    Returns:
      Sorted, each once: "Unique", "ReduceMax of INT32", "Slice of UINT8", "TopK with a variable input 1",
      "Resize with mode cubic", "opset 18". Empty: all is supported.

    Raises:
      ModelFileError: no such file, or not an ONNX file.
      MissingExtraError: the package onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "onnx") from error
    try:
        model = onnx.load(str(onnx_path))
        if not model.graph.node:
            raise ValueError("no operators")
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(f"{onnx_path}: not a whole ONNX file ({reason}); export or copy it again") from error
    with contextlib.suppress(onnx.shape_inference.InferenceError):  # of operators that ONNX does not know
        model = onnx.shape_inference.infer_shapes(model)
    types = _types(model.graph, onnx.TensorProto.DataType.Name)
    constants = {i.name for i in model.graph.initializer}
    constants.update(name for node in model.graph.node if node.op_type == "Constant" for name in node.output)
    found = {f"opset {o.version}" for o in model.opset_import if not o.domain and o.version > NEWEST_OPSET}
    for node in model.graph.node:
        found.update(_complaints(node, types, constants, {i.name for i in model.graph.input}))
    return sorted(found)


def _types(graph: onnx.GraphProto, name: Callable[[int], str]) -> dict[str, str]:
    values = [*graph.input, *graph.output, *graph.value_info]
    types = {value.name: name(value.type.tensor_type.elem_type) for value in values}
    types.update({tensor.name: name(tensor.data_type) for tensor in graph.initializer})
    return types


def _complaints(node: onnx.NodeProto, types: dict[str, str], constants: set[str], inputs: set[str]) -> Iterator[str]:
    kind = node.op_type
    if node.domain not in ("", "ai.onnx") or kind not in SUPPORTED:
        yield f"{node.domain}.{kind}" if node.domain not in ("", "ai.onnx") else kind
        return
    places = _COUNTING.get(kind, range(len(node.input)))
    taken = {types.get(node.input[i], _UNKNOWN) for i in places if i < len(node.input) and node.input[i]}
    if kind == "Cast":
        taken = _cast(node, types, inputs)
    yield from (f"{kind} of {name}" for name in taken - SUPPORTED[kind] - {_UNKNOWN})
    place = _CONSTANT_INPUTS.get(kind)
    if place is not None and place < len(node.input) and node.input[place] and node.input[place] not in constants:
        yield f"{kind} with a variable input {place}"
    if kind == "MaxPool" and len(node.output) > 1 and node.output[1]:
        yield "MaxPool with indices"
    if kind == "Resize":
        for attribute in node.attribute:
            value = attribute.s.decode(errors="replace")
            if value not in _RESIZE_MODES.get(attribute.name, (value,)):
                yield f"Resize with {attribute.name} {value}"


def _cast(node: onnx.NodeProto, types: dict[str, str], inputs: set[str]) -> set[str]:
    """The types of a cast, less the uint8 of a network input that is cast to a float."""
    source, target = types.get(node.input[0], _UNKNOWN), types.get(node.output[0], _UNKNOWN)
    if source == "UINT8" and node.input[0] in inputs and target in _FLOATS:
        return {target}
    return {source, target}
