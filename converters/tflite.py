"""Keras model to .tflite, at any precision, with raw uint8 RGB going in and float maps coming out."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ehrnet_tf.converters.compare import compare
from ehrnet_tf.converters.pictures import check_inputs, comparison_pictures
from ehrnet_tf.converters.serving import decoder_function, source_runner
from ehrnet_tf.converters.tflite_join import join
from ehrnet_tf.converters.upsampling import upsampling_operators
from ehrnet_tf.decoding.live import PEOPLE
from ehrnet_tf.errors import EhrnetError, MissingExtraError, UsageError
from ehrnet_tf.files import atomic_path
from ehrnet_tf.runtime.metadata import STRIDES, append_metadata
from ehrnet_tf.runtime.operators import float_operators, float_ops, tflite_ops
from ehrnet_tf.runtime.runner import CALIBRATED, OUTPUTS, STRIDE, describe_size
from ehrnet_tf.runtime.runners import KerasRunner, TFLiteRunner

if TYPE_CHECKING:
    import keras

PRECISIONS = ("float32", "float16", "dynamic", "int16x8", "int8")
_NAMED = 3  # float operators that an error names


def export_tflite(
    model: keras.Model,
    out_path: str | os.PathLike,
    precision: str = "float32",
    calibration: Iterable[np.ndarray] | None = None,
    input_size: int | tuple[int, int] | None = None,
    metadata: dict[str, Any] | None = None,
    threads: int = 2,
    graph: str = "maps",
    people: int = PEOPLE,
    pictures: Sequence[np.ndarray] | None = None,
) -> dict[str, Any]:
    """Writes a .tflite file, all of it or nothing, and compares it with the model.

    The file has a static batch of 1, one input "image" (1, H, W, 3) uint8 RGB and float32 outputs: "heatmaps_4",
    "tags", "heatmaps_2" of the graph "maps"; "keypoints" (1, P, K, 3), "scores" (1, P) of the graph "poses" (see
    `decoding.graph.find_people`), whose decoder stays float32 at every precision. Precisions:

    - float16: weights halved; arithmetic stays float32 on a CPU;
    - dynamic: weights int8, activations float32 between operators;
    - int8: weights int8 per channel and activations int8 per tensor, from the ranges that the calibration pictures
      give; no operator computes in float;
    - int16x8: the same with activations of 16 bits: closer to float32, slow (no delegate runs it).

    Args:
      model: an `EfficientHRNet`.
      out_path: where to.
      precision: one of `PRECISIONS`.
      calibration: (H, W, 3) uint8 network inputs; needed for int8 and int16x8 (a hundred or more that resemble what
        will be seen).
      input_size: pixels, one number for a square or (height, width), for a model of free size; None: the model's, or
        the nominal size in the metadata.
      metadata: of the model, see `runtime.metadata`; None: `model_metadata(model)`.
      threads: of the comparison run.
      graph: "maps", or "poses" with the decoder inside, set as the metadata's "decoder" says.
      people: P.
      pictures: (H, W, 3) uint8 network inputs to compare with; None: those of the calibration, else made-up people.

    Returns:
      See `write_tflite`.

    Raises:
      UsageError: unknown precision or graph, a size that is not a multiple of 32 or not the model's, int8 without
        calibration pictures, pictures of another shape or dtype, Keras on another backend than TensorFlow.
      MissingExtraError: TensorFlow is not installed.
      EhrnetError: as `write_tflite`.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision '{precision}': expected one of {', '.join(PRECISIONS)}")
    source = source_runner(model, graph, people, metadata)
    metadata = source.metadata
    size = _choose_size(model, input_size, metadata)
    calibration = check_inputs(calibration, size)
    if precision in CALIBRATED:
        if not calibration:
            raise UsageError(f"{precision} needs calibration pictures: give some that resemble what will be seen")
        metadata["calibration"] = {"pictures": len(calibration), **metadata.get("calibration", {})}
    pictures = check_inputs(pictures, size) or comparison_pictures(None, size, calibration)
    flatbuffer = _convert(model, size, precision, calibration)
    return write_tflite(flatbuffer, out_path, source, precision, size, pictures, threads, graph, people)


def write_tflite(
    flatbuffer: bytes,
    out_path: str | os.PathLike,
    source: KerasRunner,
    precision: str,
    size: tuple[int, int],
    pictures: Sequence[np.ndarray],
    threads: int = 2,
    graph: str = "maps",
    people: int = PEOPLE,
    kept_float: bool = False,
    name: str | os.PathLike | None = None,
) -> dict[str, Any]:
    """Writes converted maps as a .tflite file with metadata, all of it or nothing, and compares it with its model.

    Args:
      flatbuffer: of the graph "maps".
      out_path: where to.
      source: the model, with the metadata that the file gets (besides what follows from these arguments).
      precision: of the flatbuffer.
      size: (height, width) of its input.
      pictures: (H, W, 3) uint8 network inputs to compare with.
      threads, graph, people: see `export_tflite`.
      kept_float: whether operators of an integer file may compute in float.
      name: what errors call the file; None: ``out_path``.

    Returns:
      "path", "precision", "graph", "bytes", "ops" (see `operators.tflite_ops`), "float_ops" (see
      `operators.float_ops`), and what `compare.compare` gives: "pictures", "differences" (of the maps, from which the
      graph "poses" is made as well), "poses".

    Raises:
      EhrnetError: an operator of an int8 or int16x8 file computes in float; the file gives other maps or poses than the
        model (see `compare.BOUNDS`).
    """
    metadata = source.metadata
    metadata["precision"] = precision
    metadata["input"] = {**metadata["input"], "height": size[0], "width": size[1], "nominal": list(size)}
    with atomic_path(out_path) as temporary:
        temporary.write_bytes(flatbuffer)
        if precision in CALIBRATED and not kept_float:
            check_integer(temporary, name or out_path)
        append_metadata(temporary, metadata)
        exported = TFLiteRunner(temporary, threads)
        scale, zero_point = exported.input_quantization
        if (scale, zero_point) not in ((0.0, 0), (1.0, 0)):
            raise EhrnetError(f"{name or out_path}: its input is scaled by {scale}; calibrate with other pictures")
        comparison = compare(source, exported, pictures, precision, name or out_path)
        if graph == "poses":
            temporary.write_bytes(join(flatbuffer, _convert_decoder(source, size, people)))
            append_metadata(temporary, metadata)
            comparison.update(compare(source, TFLiteRunner(temporary, threads), pictures, precision, name or out_path))
        return {
            "path": str(out_path),
            "precision": precision,
            "graph": graph,
            "bytes": temporary.stat().st_size,
            "ops": tflite_ops(temporary),
            "float_ops": float_ops(temporary),
            **comparison,
        }


def check_integer(path: str | os.PathLike, name: str | os.PathLike) -> None:
    """Raises EhrnetError if an operator of a .tflite file has a float input and a float output.

    Args:
      path: the file.
      name: what the message calls it.
    """
    found = float_operators(path)
    if found:
        named = ", ".join(f"{tensor} ({kind})" for kind, tensor in found[:_NAMED])
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise EhrnetError(f"{name}: {named}{more} would compute in float; the converter cannot make integers of it")


def _choose_size(model: keras.Model, wanted: int | tuple[int, int] | None, metadata: dict) -> tuple[int, int]:
    fixed = model.input_shape[1:3]
    if wanted is None:
        nominal = metadata["input"].get("nominal") or (None, None)
        wanted = tuple(side or n for side, n in zip(fixed, nominal, strict=True))
    height, width = (wanted, wanted) if isinstance(wanted, int) else wanted
    for side, own in zip((height, width), fixed, strict=True):
        if side is None or side < STRIDE or side % STRIDE:
            raise UsageError(f"input size {width}x{height}: give multiples of {STRIDE} as input_size=")
        if own not in (None, side):
            raise UsageError(f"input size {width}x{height}: the model's is fixed at {describe_size(fixed)}")
    return height, width


def _convert(model: keras.Model, size: tuple[int, int], precision: str, pictures: Sequence[np.ndarray]) -> bytes:
    try:
        import keras
        import tensorflow as tf
    except ImportError as error:
        raise MissingExtraError("tensorflow", "train") from error
    if keras.backend.backend() != "tensorflow":
        raise UsageError(
            f"export needs Keras on TensorFlow, not {keras.backend.backend()}: set KERAS_BACKEND=tensorflow"
        )

    # With ranges the graph's input is float: the converter makes it uint8 for int8 (scale 1, see `_representative`),
    # and cannot for int16x8.
    dtype = tf.float32 if precision in CALIBRATED else tf.uint8
    network, twins = _with_twins(model) if precision == "int8" else (model, {})

    def maps(image):
        outputs = network(tf.cast(image, tf.float32), training=False)
        for name, (kernel, bias) in twins.items():
            outputs[name] = tf.nn.conv2d(outputs[f"{name}_features"], kernel, 1, "SAME") + bias
        return {name: outputs[name] for name in OUTPUTS}

    def configure(converter):
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if precision in CALIBRATED:
            converter.representative_dataset = lambda: _representative(pictures)
            sets = tf.lite.OpsSet
            converter.target_spec.supported_ops = [
                sets.TFLITE_BUILTINS_INT8
                if precision == "int8"
                else sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
            ]
        if precision == "int8":
            converter.inference_input_type = tf.uint8

    variables = [variable.value for variable in network.variables]
    with upsampling_operators(network.layers, whole=precision == "int8"):
        flatbuffer = convert_function(maps, [tf.TensorSpec((1, *size, 3), dtype, "image")], variables, configure)
    if precision != "int16x8":
        return flatbuffer
    pixels = tf.TensorSpec((1, *size, 3), tf.uint8, "image")
    return join(convert_function(lambda image: {"image": tf.cast(image, tf.float32)}, [pixels]), flatbuffer)


def convert_function(
    function: Callable, inputs: list, variables: Sequence = (), configure: Callable[[Any], None] | None = None
) -> bytes:
    """A function of tensors as a .tflite flatbuffer with one signature.

    Args:
      function: gives a dict of tensors.
      inputs: `tf.TensorSpec`s with the arguments' names.
      variables: what it reads.
      configure: sets options of the `tf.lite.TFLiteConverter`.
    """
    import tensorflow as tf

    module = tf.Module()
    module.variables_read = list(variables)
    signature = tf.function(function, input_signature=inputs, autograph=False)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter calls what TensorFlow itself has deprecated
        tf.saved_model.save(module, folder, signatures={"serving_default": signature})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
        if configure:
            configure(converter)
        return converter.convert()


def _convert_decoder(source: KerasRunner, size: tuple[int, int], people: int) -> bytes:
    """The decoder alone: picture and maps in, people out, float32."""
    import tensorflow as tf

    function = decoder_function(source, people)
    count = len(source.keypoints)
    specs = [
        tf.TensorSpec((1, *size, 3), tf.uint8, "image"),
        *(
            tf.TensorSpec((1, size[0] // STRIDES[name], size[1] // STRIDES[name], count), tf.float32, name)
            for name in ("heatmaps_2", "tags")
        ),
    ]
    return convert_function(function, specs)


def _with_twins(model: keras.Model):
    """The model with the inputs of its stage-1 output layers as further outputs, and twins of these layers' weights.

    The head concatenates stage 1's maps for stage 2, and a concatenation gives all its inputs one int8 range: heat-maps
    (0..1) would be rounded in steps that fit the tags (many units). So the exported maps come from twins of these 1x1
    convolutions, whose kernels differ in the last bit, lest the converter merges twin and original.
    """
    import keras

    layers = {name: model.get_layer(f"head_{name}") for name in ("heatmaps_4", "tags")}
    features = {f"{name}_features": layer.input for name, layer in layers.items()}
    ulp_above_one = np.nextafter(np.float32(1), np.float32(2))
    twins = {
        name: (keras.ops.convert_to_numpy(layer.kernel) * ulp_above_one, keras.ops.convert_to_numpy(layer.bias))
        for name, layer in layers.items()
    }
    return keras.Model(model.input, {**model.output, **features}), twins


def _representative(pictures: Sequence[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """Calibration inputs. The first holds a black and a white pixel, so that the input's range is 0..255 whatever the
    pictures hold, and its scale 1: raw pixels are then the quantised values."""
    for number, picture in enumerate(pictures):
        image = picture[None].astype(np.float32)
        if number == 0:
            image[0, 0, 0], image[0, 0, 1] = 0, 255
        yield {"image": image}
