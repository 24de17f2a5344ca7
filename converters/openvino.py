"""Keras model or ONNX file to OpenVINO's representation: an .xml file and its weights, a .bin file beside it."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ehrnet_tf.converters.compare import compare
from ehrnet_tf.converters.pictures import check_inputs, comparison_pictures
from ehrnet_tf.decoding.live import PEOPLE
from ehrnet_tf.errors import EhrnetError, MissingExtraError, UsageError
from ehrnet_tf.files import check_writable, replace, scratch_folder
from ehrnet_tf.runtime.metadata import OPENVINO_ENTRY
from ehrnet_tf.runtime.onnx_runner import OnnxRunner
from ehrnet_tf.runtime.openvino_runner import HINTS, OpenVINORunner
from ehrnet_tf.runtime.runner import Runner

if TYPE_CHECKING:
    import keras

PRECISIONS = (*HINTS, "int8")


def export_openvino(
    model: keras.Model | str | os.PathLike,
    out_path: str | os.PathLike,
    precision: str = "float32",
    graph: str = "maps",
    people: int = PEOPLE,
    metadata: dict[str, Any] | None = None,
    calibration: Iterable[np.ndarray] | None = None,
    pictures: Sequence[np.ndarray] | None = None,
) -> dict[str, Any]:
    """Writes an .xml and a .bin file, both or neither, and compares them with the model in OpenVINO.

    Inputs and outputs are those of an .onnx file (`converters.onnx`). The runtime information of the .xml holds the
    metadata. Precisions:

    - float32: computed in float32, even where the processor has something faster;
    - bfloat16, float16: weights stored in 16 bits; the runner asks for arithmetic in that type, and gets it from a
      processor or GPU that has it (bfloat16: x86 with AMX or AVX512-BF16; float16: GPUs, ARM);
    - int8: weights and activations rounded by NNCF's post-training quantisation.

    OpenVINO computes a whole graph in one precision, and the decoder's coordinates need float32: the graph "poses" has
    no other.

    Args:
      model: an `EfficientHRNet` of a fixed size, or the path of an .onnx file of this package.
      out_path: the .xml file.
      precision: one of `PRECISIONS`.
      graph: "maps", or "poses" with the decoder inside; of a Keras model (an .onnx file has its own).
      people: the most people found, for "poses" of a Keras model.
      metadata: of the model, see `runtime.metadata`; None: what it has, or `model_metadata(model)`.
      calibration: (H, W, 3) uint8 network inputs; needed for int8.
      pictures: the same to compare with; None: those of the calibration, else made-up people.

    Returns:
      "path", "precision", "graph", "bytes" of both files, and what `compare.compare` gives.

    Raises:
      UsageError: unknown precision or graph, "poses" in another precision than float32, another suffix than .xml, int8
        without calibration pictures, a model of free size.
      EhrnetError: the files compute something else than the model.
      MissingExtraError: OpenVINO, NNCF (int8), or what `converters.onnx` needs is not installed.
    """
    out_path = Path(out_path)
    if precision not in PRECISIONS:
        raise UsageError(f"precision '{precision}': OpenVINO files have one of {', '.join(PRECISIONS)}")
    if out_path.suffix != ".xml":
        raise UsageError(f"{out_path}: the name of an OpenVINO file must end in .xml")
    weights = out_path.with_suffix(".bin")
    if weights.exists() and not out_path.exists():
        raise UsageError(f"{weights}: exists already, without {out_path.name}; remove it or choose another --out")
    check_writable(weights)
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("openvino", "openvino") from error
    source, content = _source(model, graph, people, metadata)
    if source.graph == "poses" or graph == "poses":
        check_poses_precision(precision)
    calibration = check_inputs(calibration, source.input_size)
    pictures = check_inputs(pictures, source.input_size) or comparison_pictures(None, source.input_size, calibration)
    if precision == "int8" and not calibration:
        raise UsageError("int8 needs calibration pictures: give some that resemble what will be seen")
    metadata = {**source.metadata, "precision": precision}
    converted = openvino.convert_model(io.BytesIO(content))  # which, unlike read_model, simplifies the graph
    if precision == "int8":
        metadata["calibration"] = {"pictures": len(calibration), **metadata.get("calibration", {})}
        converted = _quantize(converted, calibration)
    converted.set_rt_info(json.dumps(metadata), [OPENVINO_ENTRY])
    with scratch_folder(out_path) as folder:
        files = [folder / out_path.with_suffix(suffix).name for suffix in (".bin", ".xml")]
        _save(converted, files[1], out_path, halved=precision in ("bfloat16", "float16"))
        report = compare(source, OpenVINORunner(files[1]), pictures, precision, out_path)
        size = sum(file.stat().st_size for file in files)
        for file in files:  # the .xml last, since it is what is opened
            replace(file, out_path.parent / file.name)
    return {"path": str(out_path), "precision": precision, "graph": source.graph, "bytes": size, **report}


def _source(
    model: keras.Model | str | os.PathLike, graph: str, people: int, metadata: dict[str, Any] | None
) -> tuple[Runner, bytes]:
    """A runner of the model and the model as ONNX, without metadata, which OpenVINO would copy."""
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "onnx") from error
    if isinstance(model, (str, os.PathLike)):
        source: Runner = OnnxRunner(model)
        if metadata:
            source.metadata = {**source.metadata, **metadata}
        network = onnx.load(str(model))
    else:
        from ehrnet_tf.converters.onnx import to_onnx
        from ehrnet_tf.converters.serving import source_runner

        source = source_runner(model, graph, people, metadata)
        if source.input_size is None:
            raise UsageError("an OpenVINO file needs a model of a fixed input size: build it with input_size=")
        network = to_onnx(source, graph, people)
    del network.metadata_props[:]
    return source, network.SerializeToString()


def _quantize(model: Any, calibration: Sequence[np.ndarray]) -> Any:
    logging.getLogger("nncf").setLevel(logging.ERROR)
    try:
        import nncf
        from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet
    except ImportError as error:
        raise MissingExtraError("nncf", "openvino") from error
    # Ranges from the smallest to the largest value seen: a map's few high values are the keypoints. NNCF's own choice,
    # means over the pictures, costs 0.11 AP (docs/formats.md).
    whole = RangeEstimatorParametersSet.MINMAX
    return nncf.quantize(
        model,
        nncf.Dataset(calibration, lambda picture: picture[None]),
        subset_size=len(calibration),
        advanced_parameters=AdvancedQuantizationParameters(activations_range_estimator_params=whole),
    )


def check_poses_precision(precision: str) -> None:
    """Raises UsageError if OpenVINO would compute the decoder of the graph "poses" in less than float32."""
    if precision != "float32":
        raise UsageError(
            f"precision '{precision}': OpenVINO would round the decoder's coordinates too; --graph poses is float32 "
            "only, --graph maps has all precisions (decoding maps takes a millisecond)"
        )


def _save(model: Any, path: Path, out_path: Path, halved: bool) -> None:
    import openvino

    try:
        openvino.save_model(model, str(path), compress_to_fp16=halved)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise EhrnetError(f"{out_path}: OpenVINO cannot write it ({reason}); is the disk full?") from error
