"""Keras model to a TensorFlow SavedModel folder."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ehrnet_tf.converters.compare import compare
from ehrnet_tf.converters.pictures import check_inputs, comparison_pictures
from ehrnet_tf.converters.serving import serving_function, source_runner
from ehrnet_tf.decoding.live import PEOPLE
from ehrnet_tf.errors import EhrnetError, MissingExtraError, UsageError
from ehrnet_tf.files import atomic_folder
from ehrnet_tf.runtime.keras_runner import KerasRunner
from ehrnet_tf.runtime.metadata import MEMBER
from ehrnet_tf.runtime.saved_model_runner import SavedModelRunner

if TYPE_CHECKING:
    import keras
    import numpy as np


def export_saved_model(
    model: keras.Model,
    out: str | os.PathLike,
    graph: str = "maps",
    people: int = PEOPLE,
    metadata: dict[str, Any] | None = None,
    pictures: Sequence[np.ndarray] | None = None,
) -> dict[str, Any]:
    """Writes a SavedModel folder, all of it or nothing, and compares it with the model.

    The signature "serving_default" takes "image" (B, H, W, 3) uint8 RGB, of any B for the graph "maps" and of B = 1 for
    "poses", and gives the graph's outputs by name. `ehrnet.json` in the folder holds the metadata.

    Args:
      model: an `EfficientHRNet`; of a fixed size for the graph "poses".
      out: the folder; must not exist.
      graph: "maps", or "poses" with the decoder inside.
      people: the most people found, for "poses".
      metadata: of the model, see `runtime.metadata`; None: `model_metadata(model)`.
      pictures: (H, W, 3) uint8 network inputs to compare with; None: made-up people.

    Returns:
      "path", "graph", "bytes", and what `compare.compare` gives.

    Raises:
      UsageError: the folder exists, an unknown graph, a model of free size for "poses".
      EhrnetError: the folder computes something else than the model.
      MissingExtraError: TensorFlow is not installed.
    """
    out = Path(out)
    if out.exists():  # said before the work is done
        raise UsageError(f"{out}: exists already; remove it or choose another --out")
    source = source_runner(model, graph, people, metadata)
    if graph == "poses" and source.input_size is None:
        raise UsageError("the graph 'poses' needs a model of a fixed input size: build it with input_size=")
    size = source.input_size or tuple(source.metadata["input"].get("nominal") or (64, 64))
    pictures = check_inputs(pictures, size) or comparison_pictures(None, size)
    with atomic_folder(out) as folder:
        write_saved_model(source, folder, graph, people, batch=None if graph == "maps" else 1, name=out)
        comparison = compare(source, SavedModelRunner(folder), pictures, "float32", out)
    size_bytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return {"path": str(out), "graph": graph, "bytes": size_bytes, **comparison}


def write_saved_model(
    source: KerasRunner, folder: Path, graph: str, people: int, batch: int | None, name: str | os.PathLike
) -> None:
    """Writes a model with its metadata as a SavedModel.

    Args:
      source: the model, with the metadata that the folder gets.
      folder: where to.
      graph, people: see `export_saved_model`.
      batch: pictures that the signature takes at once; None: any number.
      name: what errors call the folder.

    Raises:
      EhrnetError: TensorFlow cannot write it.
      MissingExtraError: TensorFlow is not installed.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise MissingExtraError("tensorflow", "train") from error
    module = tf.Module()
    module.weights = [variable.value for variable in source.model.variables]
    spec = tf.TensorSpec((batch, *source.model.input_shape[1:]), tf.uint8, "image")
    function = tf.function(serving_function(source, graph, people), input_signature=[spec], autograph=False)
    try:
        tf.saved_model.save(module, str(folder), signatures={"serving_default": function})
    except tf.errors.OpError as error:
        reason = " ".join(str(error.message).split("}}")[-1].split())[:200]
        raise EhrnetError(f"{name}: TensorFlow cannot write it ({reason}); is the disk full?") from error
    (folder / MEMBER).write_text(json.dumps(source.metadata, indent=1), encoding="utf-8")
