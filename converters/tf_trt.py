"""Keras model to a SavedModel folder whose network runs in TensorRT inside of TensorFlow (TF-TRT).

TF-TRT ended with TensorFlow 2.17 (on a Jetson: NVIDIA's wheels of it). Where TensorFlow is not wanted as such, an
engine (`converters.tensorrt`) is smaller, faster to load, and has a future.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ehrnet_tf.converters.compare import compare
from ehrnet_tf.converters.pictures import check_inputs, comparison_pictures
from ehrnet_tf.converters.saved_model import write_saved_model
from ehrnet_tf.converters.serving import source_runner
from ehrnet_tf.decoding.live import PEOPLE
from ehrnet_tf.errors import EhrnetError, MissingExtraError, UsageError
from ehrnet_tf.files import atomic_folder, scratch_folder
from ehrnet_tf.runtime.metadata import MEMBER
from ehrnet_tf.runtime.saved_model_runner import SavedModelRunner

if TYPE_CHECKING:
    import keras

PRECISIONS = {"float32": "FP32", "float16": "FP16", "int8": "INT8"}  # and TF-TRT's names for them
WORKS = "TensorFlow 2.16 or 2.17 built with TensorRT: on a Jetson NVIDIA's wheels, on a PC PyPI's with TensorRT 8.6"


def export_tf_trt(
    model: keras.Model,
    out: str | os.PathLike,
    precision: str = "float16",
    graph: str = "maps",
    people: int = PEOPLE,
    metadata: dict[str, Any] | None = None,
    calibration: Iterable[np.ndarray] | None = None,
    pictures: Sequence[np.ndarray] | None = None,
    workspace_megabytes: int = 1024,
) -> dict[str, Any]:
    """Writes a SavedModel folder with TensorRT engines for this machine's GPU, and compares it with the model.

    The signature is that of `converters.saved_model` with a batch of 1. Engines are built now, not at the first
    picture. Operators that TF-TRT does not take stay with TensorFlow.

    Args:
      model: an `EfficientHRNet` of a fixed size.
      out: the folder; must not exist.
      precision: one of `PRECISIONS`.
      graph: "maps", or "poses" with the decoder inside.
      people: the most people found, for "poses".
      metadata: of the model, see `runtime.metadata`; None: `model_metadata(model)`.
      calibration: (H, W, 3) uint8 network inputs; needed for int8.
      pictures: the same to compare with; None: those of the calibration, else made-up people.
      workspace_megabytes: memory that TensorRT may use while it runs.

    Returns:
      "path", "precision", "graph", "bytes", and what `compare.compare` gives.

    Raises:
      UsageError: the folder exists, an unknown precision or graph, int8 without calibration pictures, a model of free
        size.
      EhrnetError: this TensorFlow is without TF-TRT; the folder computes something else than the model.
      MissingExtraError: TensorFlow is not installed.
    """
    out = Path(out)
    if precision not in PRECISIONS:
        raise UsageError(f"precision '{precision}': TF-TRT has {', '.join(PRECISIONS)}")
    if out.exists():  # said before the work is done
        raise UsageError(f"{out}: exists already; remove it or choose another --out")
    source = source_runner(model, graph, people, metadata)
    if source.input_size is None:
        raise UsageError("TF-TRT needs a model of a fixed input size: build it with input_size=")
    calibration = check_inputs(calibration, source.input_size)
    if precision == "int8" and not calibration:
        raise UsageError("int8 needs calibration pictures: give some that resemble what will be seen")
    pictures = check_inputs(pictures, source.input_size) or comparison_pictures(None, source.input_size, calibration)
    metadata = source.metadata
    metadata["precision"] = precision
    if precision == "int8":
        metadata["calibration"] = {"pictures": len(calibration), **metadata.get("calibration", {})}
    converter_class = find_converter()
    import tensorflow as tf

    with scratch_folder(out) as scratch, atomic_folder(out) as folder:
        write_saved_model(source, scratch / "plain", graph, people, batch=1, name=out)
        try:
            converter = converter_class(
                input_saved_model_dir=str(scratch / "plain"),
                precision_mode=PRECISIONS[precision],
                max_workspace_size_bytes=workspace_megabytes << 20,
                use_calibration=precision == "int8",
            )
            if precision == "int8":
                converter.convert(calibration_input_fn=lambda: _batches(calibration))
            else:
                converter.convert()
            converter.build(input_fn=lambda: _batches(pictures[:1]))
            converter.save(str(folder))
        except (RuntimeError, ValueError, tf.errors.OpError) as error:
            reason = " ".join(str(error).split())[:200]
            raise EhrnetError(f"{out}: TF-TRT cannot convert it ({reason}); it needs {WORKS}, and a GPU") from error
        (folder / MEMBER).write_text(json.dumps(metadata, indent=1), encoding="utf-8")
        report = compare(source, SavedModelRunner(folder), pictures, precision, out)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {"path": str(out), "precision": precision, "graph": graph, "bytes": size, **report}


def find_converter() -> Any:
    """TensorFlow's ``TrtGraphConverterV2``.

    Raises:
      EhrnetError: this TensorFlow is without TF-TRT, or finds no TensorRT.
      MissingExtraError: TensorFlow is not installed.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise MissingExtraError("tensorflow", "train") from error
    try:
        from tensorflow.compiler.tf2tensorrt._pywrap_py_utils import get_linked_tensorrt_version, is_tensorrt_enabled
        from tensorflow.python.compiler.tensorrt.trt_convert import TrtGraphConverterV2

        enabled, built_for = is_tensorrt_enabled(), get_linked_tensorrt_version()
    except ImportError:
        enabled, built_for = False, (0, 0, 0)
    if not enabled and any(built_for):
        raise EhrnetError(
            f"TensorFlow {tf.__version__} finds no TensorRT {'.'.join(map(str, built_for))}, for which it was built: "
            "install its libraries where the loader finds them (LD_LIBRARY_PATH)"
        )
    if not enabled:
        raise EhrnetError(
            f"TensorFlow {tf.__version__} was built without TF-TRT; use {WORKS}; or an engine: "
            "ehrnet export --format tensorrt"
        )
    return TrtGraphConverterV2


def _batches(pictures: Sequence[np.ndarray]) -> Iterator[dict[str, Any]]:
    import tensorflow as tf

    for picture in pictures:
        yield {"image": tf.constant(picture[None])}
