"""Keras model to a TensorFlow SavedModel folder."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ehrnet_tf.converters.compare import compare
from ehrnet_tf.converters.serving import serving_function, source_runner
from ehrnet_tf.decoding.live import PEOPLE
from ehrnet_tf.errors import MissingExtraError, UsageError
from ehrnet_tf.runtime.metadata import MEMBER
from ehrnet_tf.runtime.runners import SavedModelRunner

if TYPE_CHECKING:
    import keras


def export_saved_model(
    model: keras.Model,
    out: str | os.PathLike,
    graph: str = "maps",
    people: int = PEOPLE,
    metadata: dict[str, Any] | None = None,
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

    Returns:
      "path", "graph", "bytes", and what `compare.compare` gives.

    Raises:
      UsageError: the folder exists, an unknown graph, a model of free size for "poses".
      EhrnetError: the folder computes something else than the model.
      MissingExtraError: TensorFlow is not installed.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise MissingExtraError("tensorflow", "train") from error
    out = Path(out)
    if out.exists():
        raise UsageError(f"{out}: exists already; remove it or choose another --out")
    source = source_runner(model, graph, people, metadata)
    if graph == "poses" and source.input_size is None:
        raise UsageError("the graph 'poses' needs a model of a fixed input size: build it with input_size=")
    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    spec = tf.TensorSpec((None if graph == "maps" else 1, *model.input_shape[1:]), tf.uint8, "image")
    function = tf.function(serving_function(source, graph, people), input_signature=[spec], autograph=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
        folder = Path(temporary) / "model"
        tf.saved_model.save(module, str(folder), signatures={"serving_default": function})
        (folder / MEMBER).write_text(json.dumps(source.metadata, indent=1), encoding="utf-8")
        difference = compare(source, SavedModelRunner(folder), out)
        shutil.move(folder, out)
    size_bytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return {"path": str(out), "graph": graph, "bytes": size_bytes, **difference}
