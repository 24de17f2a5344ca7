"""Keras model to an ONNX file of static shapes, opset 17."""

from __future__ import annotations

import json
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ehrnet_tf.converters.compare import compare
from ehrnet_tf.converters.pictures import check_inputs, comparison_pictures
from ehrnet_tf.converters.serving import serving_function, source_runner
from ehrnet_tf.converters.upsampling import upsampling_operators
from ehrnet_tf.decoding.live import PEOPLE
from ehrnet_tf.errors import MissingExtraError, UsageError
from ehrnet_tf.files import atomic_path
from ehrnet_tf.runtime.metadata import MEMBER
from ehrnet_tf.runtime.onnx_runner import OnnxRunner
from ehrnet_tf.runtime.runners import GRAPHS, KerasRunner

if TYPE_CHECKING:
    import keras
    import numpy as np
    import onnx

OPSET = 17


def export_onnx(
    model: keras.Model,
    out_path: str | os.PathLike,
    graph: str = "maps",
    people: int = PEOPLE,
    metadata: dict[str, Any] | None = None,
    pictures: Sequence[np.ndarray] | None = None,
) -> dict[str, Any]:
    """Writes an .onnx file, all of it or nothing, and compares it with the model in ONNX Runtime.

    One input "image" (1, H, W, 3) uint8 RGB; float32 outputs by name, as of a .tflite file (`converters.tflite`). The
    file's metadata entry ``ehrnet.json`` holds the metadata.

    Args:
      model: an `EfficientHRNet` of a fixed size.
      out_path: where to.
      graph: "maps", or "poses" with the decoder inside.
      people: the most people found, for "poses".
      metadata: of the model, see `runtime.metadata`; None: `model_metadata(model)`.
      pictures: (H, W, 3) uint8 network inputs to compare with; None: made-up people.

    Returns:
      "path", "graph", "bytes", "ops": how many operators of each type, and what `compare.compare` gives.

    Raises:
      UsageError: an unknown graph, or a model of free size.
      EhrnetError: the file computes something else than the model.
      MissingExtraError: tf2onnx, ONNX Runtime or TensorFlow is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "onnx") from error
    source = source_runner(model, graph, people, metadata)
    if source.input_size is None:
        raise UsageError("an ONNX file needs a model of a fixed input size: build it with input_size=")
    pictures = check_inputs(pictures, source.input_size) or comparison_pictures(None, source.input_size)
    converted = to_onnx(source, graph, people)
    with atomic_path(out_path) as temporary:
        onnx.save(converted, str(temporary))
        ops = dict(Counter(node.op_type for node in converted.graph.node).most_common())
        report = {"path": str(out_path), "graph": graph, "bytes": temporary.stat().st_size, "ops": ops}
        return {**report, **compare(source, OnnxRunner(temporary), pictures, "float32", out_path)}


def to_onnx(source: KerasRunner, graph: str, people: int = PEOPLE) -> onnx.ModelProto:
    """A model of a fixed size as ONNX, checked, with its metadata.

    Args:
      source: the model, with the metadata that the file gets.
      graph, people: see `export_onnx`.

    Raises:
      MissingExtraError: tf2onnx or TensorFlow is not installed.
    """
    try:
        import onnx
        import tensorflow as tf
        import tf2onnx
    except ImportError as error:
        raise MissingExtraError(error.name or "onnx", "onnx") from error
    spec = tf.TensorSpec((1, *source.input_size, 3), tf.uint8, "image")
    serve = serving_function(source, graph, people)

    def outputs_in_order(image):
        found = serve(tf.cast(image, tf.float32))  # TensorRT takes uint8 at the input alone
        return {name: tf.identity(found[name], name) for name in GRAPHS[graph]}

    with warnings.catch_warnings(), upsampling_operators(source.model.layers, whole=False):
        warnings.simplefilter("ignore")
        converted, _ = tf2onnx.convert.from_function(
            tf.function(outputs_in_order, autograph=False), input_signature=[spec], opset=OPSET
        )
    entry = converted.metadata_props.add()
    entry.key, entry.value = MEMBER, json.dumps(source.metadata)
    onnx.checker.check_model(converted)
    return converted
