"""One function for every format: what ``ehrnet export`` calls."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from ehrnet_tf.converters.pictures import calibration_pictures, comparison_pictures
from ehrnet_tf.decoding.live import PEOPLE
from ehrnet_tf.errors import UsageError
from ehrnet_tf.files import check_writable, scratch_folder
from ehrnet_tf.runtime.runner import CALIBRATED, Runner
from ehrnet_tf.runtime.runners import kind_of, open_runner


class Format(NamedTuple):
    """A format that models are converted to.

    Attributes:
      precisions: that it has.
      sources: suffixes of the files that are converted.
      suffixes: that the result's name may have; none: it is a folder.
      options: names of what `export` takes for this format alone.
    """

    precisions: tuple[str, ...]
    sources: tuple[str, ...]
    suffixes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


FORMATS = {
    "tflite": Format(("float32", "float16", "dynamic", "int16x8", "int8"), (".keras",), (".tflite",)),
    "onnx": Format(("float32",), (".keras",), (".onnx",)),
    "saved_model": Format(("float32",), (".keras",)),
    "openvino": Format(("float32", "bfloat16", "float16", "int8"), (".keras", ".onnx"), (".xml",)),
    "tensorrt": Format(
        ("float32", "float16", "int8"),
        (".onnx", ".keras"),
        (".engine", ".plan", ".trt"),
        ("workspace_megabytes", "timing_cache", "dla_core"),
    ),
    "tf-trt": Format(("float32", "float16", "int8"), (".keras",), options=("workspace_megabytes",)),
    "pytorch": Format(("float32",), (".keras",), (".pth", ".npz", ".safetensors")),
}


def export(
    model: str | os.PathLike,
    out: str | os.PathLike,
    format: str = "tflite",
    precision: str = "float32",
    graph: str = "maps",
    people: int = PEOPLE,
    calibration: str | os.PathLike | None = None,
    calibration_size: int = 128,
    seed: int = 0,
    pictures: str | os.PathLike | None = None,
    keypoints: str | os.PathLike | None = None,
    licence: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Converts a model file, compares the result with it on pictures, and keeps it only if it computes the same.

    Args:
      model: the file.
      out: the file or folder to write; not half of it.
      format: one of `FORMATS`.
      precision: one of the format's.
      graph: "maps", or "poses" with the decoder inside; of a Keras model (an .onnx file has its own).
      people: the most people found, for "poses" of a Keras model.
      calibration: folder of pictures like those to come, or of COCO data; needed for int8 and int16x8.
      calibration_size: how many of them are drawn.
      seed: of the drawing.
      pictures: folder of pictures, or of COCO data, to compare on; None: those of the calibration, else made-up people.
      keypoints: the keypoint set, for a file that does not say its own.
      licence: of the weights, for the metadata.
      **options: `workspace_megabytes`, `timing_cache`, `dla_core`: see `tensorrt.build_engine`; None: its default.

    Returns:
      The converter's report: "path", "bytes", "precision", "graph", and what `compare.compare` gives.

    Raises:
      UsageError: arguments that do not go together.
      ModelFileError, DataError, EhrnetError, OSError: the model or the pictures cannot be read, the conversion fails or
        gives something else, ``out`` cannot be written.
      MissingExtraError: a package is missing.
    """
    out, chosen = Path(out), {name: value for name, value in options.items() if value is not None}
    _check(Path(model), out, format, precision, calibration, chosen)
    if format == "pytorch":
        from ehrnet_tf.converters.to_pytorch import export_pytorch
        from ehrnet_tf.models.weights import open_keras

        return {"path": str(out), "entries": export_pytorch(open_keras(model), out)}
    source = open_runner(model, keypoints=keypoints)
    if source.kind != "Keras" and graph == "poses" and source.graph == "maps":
        raise UsageError(f"{model}: gives maps; export the .onnx file itself with --graph poses")
    size = source.input_size or tuple(source.metadata.get("input", {}).get("nominal") or (64, 64))
    metadata = {**source.metadata, "keypoints": source.keypoints.to_dict(), "source": str(model)}
    if licence:
        metadata["licence"] = licence
    drawn = [] if calibration is None else calibration_pictures(calibration, size, calibration_size, seed)
    if precision in CALIBRATED:
        metadata["calibration"] = {"folder": str(calibration), "pictures": len(drawn), "seed": seed}
    compared = comparison_pictures(pictures, size, drawn)
    shared = {"graph": graph, "people": people, "metadata": metadata, "pictures": compared}
    if format == "tflite":
        from ehrnet_tf.converters.tflite import export_tflite

        return export_tflite(source.model, out, precision, drawn, **shared)
    if format == "onnx":
        from ehrnet_tf.converters.onnx import export_onnx

        return export_onnx(source.model, out, **shared)
    if format == "saved_model":
        from ehrnet_tf.converters.saved_model import export_saved_model

        return export_saved_model(source.model, out, **shared)
    if format == "openvino":
        from ehrnet_tf.converters.openvino import export_openvino

        return export_openvino(getattr(source, "model", model), out, precision, calibration=drawn, **shared)
    if format == "tf-trt":
        from ehrnet_tf.converters.tf_trt import export_tf_trt

        return export_tf_trt(source.model, out, precision, calibration=drawn, **shared, **chosen)
    return _tensorrt(source, model, out, precision, drawn, shared, chosen)


def _tensorrt(
    source: Runner,
    model: str | os.PathLike,
    out: Path,
    precision: str,
    calibration: list,
    shared: dict[str, Any],
    options: dict[str, Any],
) -> dict[str, Any]:
    from ehrnet_tf.converters.tensorrt import export_tensorrt, import_tensorrt

    import_tensorrt()  # said before the work is done
    if source.kind != "Keras":
        return export_tensorrt(model, out, precision, calibration, shared["pictures"], shared["metadata"], **options)
    from ehrnet_tf.converters.onnx import export_onnx

    with scratch_folder(out) as folder:
        export_onnx(source.model, folder / "model.onnx", **shared)
        return export_tensorrt(folder / "model.onnx", out, precision, calibration, shared["pictures"], **options)


def _check(
    model: Path,
    out: Path,
    format: str,
    precision: str,
    calibration: str | os.PathLike | None,
    options: dict[str, Any],
) -> None:
    """What can be said before anything is loaded."""
    if format not in FORMATS:
        raise UsageError(f"format '{format}': expected one of {', '.join(FORMATS)}")
    known = FORMATS[format]
    if model.suffix.lower() not in known.sources:
        raise UsageError(f"{model}: only {' and '.join(known.sources)} files are converted to {format}")
    if precision not in known.precisions:
        raise UsageError(
            f"--format {format} has {', '.join(known.precisions)}, not {precision}: take one, or leave out --precision"
        )
    if precision in CALIBRATED and calibration is None:
        raise UsageError(f"--precision {precision} needs --calibration DIR, a folder of pictures like those to come")
    for name in options:
        if name not in known.options:
            raise UsageError(f"--{name.replace('_', '-')}: not for --format {format}; leave it out")
    if known.suffixes and out.suffix not in known.suffixes:
        raise UsageError(f"{out}: the name of a file of --format {format} must end in {' or '.join(known.suffixes)}")
    if not known.suffixes and out.exists():
        raise UsageError(f"{out}: exists already; remove it or choose another --out")
    kind_of(model)  # that it is there, and a model
    if known.suffixes:
        check_writable(out)
