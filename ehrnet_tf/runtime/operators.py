"""What a .tflite file computes with: its operators by type, those that compute in floats, those left out by XNNPACK.

All is read through the interpreter, so ai-edge-litert alone is enough. Only the main graph's operators are seen, not
those in the bodies of loops and conditions.
"""

from __future__ import annotations

import os
from collections import Counter

import numpy as np

from ehrnet_tf.errors import ModelFileError
from ehrnet_tf.runtime.tflite_runner import open_interpreter


def tflite_ops(path: str | os.PathLike) -> dict[str, int]:
    """How many operators of each type a .tflite file holds, the most frequent first.

    Raises:
      ModelFileError: not a whole TFLite file.
      MissingExtraError: neither ai-edge-litert nor TensorFlow is installed.
    """
    return dict(Counter(op["op_name"] for op in open_plain(path)._get_ops_details()).most_common())


def float_operators(path: str | os.PathLike) -> list[tuple[str, str]]:
    """The operators of a .tflite file that have a float input and a float output, float16 or float32.

    A file that is int8 throughout holds none: the final DEQUANTIZE of each output has an integer input. A DEQUANTIZE
    of float16 weights is one.

    Returns:
      (type, name of the first output's tensor) of each, in the file's order.

    Raises:
      ModelFileError: not a whole TFLite file.
      MissingExtraError: neither ai-edge-litert nor TensorFlow is installed.
    """
    interpreter = open_plain(path)
    tensors = interpreter.get_tensor_details()
    floats = {t["index"] for t in tensors if t["dtype"] in (np.float16, np.float32)}
    names = {t["index"]: t["name"] for t in tensors}
    return [
        (op["op_name"], names[op["outputs"][0]])
        for op in interpreter._get_ops_details()
        if floats.intersection(op["inputs"]) and floats.intersection(op["outputs"])
    ]


def float_ops(path: str | os.PathLike) -> dict[str, int]:
    """How many `float_operators` of each type there are, the most frequent first."""
    return dict(Counter(kind for kind, _ in float_operators(path)).most_common())


def delegate_partitions(path: str | os.PathLike) -> tuple[int, list[str]]:
    """How XNNPACK, in the interpreter as it is by default, divides a .tflite file.

    Returns:
      How many partitions it takes over, each run as one operator (0: nothing, or the build is without XNNPACK), and the
      types of the operators outside of them, one entry each, in the file's order. An operator whose outputs no other
      needs is not among them.

    Raises:
      ModelFileError: not a whole TFLite file, or not one that this interpreter can run.
      MissingExtraError: neither ai-edge-litert nor TensorFlow is installed.
    """
    interpreter = open_interpreter(path)
    try:
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(f"{path}: the TFLite interpreter cannot run it ({reason})") from error
    operators = interpreter._get_ops_details()
    partitions = [op for op in operators if op["op_name"] == "DELEGATE"]
    # The operators taken over stay in the list. Going back from the graph's outputs, a tensor comes out of a partition
    # if that is among its outputs, else out of an operator that is still run by itself.
    sources = {index: op for op in operators for index in op["outputs"]}
    sources.update({index: op for op in partitions for index in op["outputs"]})
    run, wanted = {}, [t["index"] for t in interpreter.get_output_details()]
    while wanted:
        op = sources.get(wanted.pop())
        if op is not None and op["index"] not in run:
            run[op["index"]] = op
            wanted.extend(op["inputs"])
    return len(partitions), [run[n]["op_name"] for n in sorted(run) if run[n]["op_name"] != "DELEGATE"]


def open_plain(path: str | os.PathLike):
    """An interpreter without a delegate, which would hide the operators that it takes over.

    Raises:
      ModelFileError: not a whole TFLite file.
      MissingExtraError: neither ai-edge-litert nor TensorFlow is installed.
    """
    return open_interpreter(path, "plain")
