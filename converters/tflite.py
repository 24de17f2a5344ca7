"""Keras model to .tflite, in float32, float16 or int8, with raw uint8 RGB going in and float maps coming out."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ehrnet_tf.converters.compare import compare_poses, random_pictures
from ehrnet_tf.converters.serving import decoder_function, source_runner
from ehrnet_tf.converters.tflite_join import join
from ehrnet_tf.decoding.live import PEOPLE
from ehrnet_tf.errors import EhrnetError, MissingExtraError, UsageError
from ehrnet_tf.files import atomic_path
from ehrnet_tf.runtime.metadata import STRIDES, append_metadata
from ehrnet_tf.runtime.runners import OUTPUTS, STRIDE, KerasRunner, TFLiteRunner, describe_size, open_interpreter

if TYPE_CHECKING:
    import keras

PRECISIONS = ("float32", "float16", "int8")
_HEAT = 0.1  # the decoder's threshold: where tags count


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
) -> dict[str, Any]:
    """Writes a .tflite file, all of it or nothing, and compares it with the model.

    The file has a static batch of 1, one input "image" (1, H, W, 3) uint8 RGB and float32 outputs: "heatmaps_4",
    "tags", "heatmaps_2" of the graph "maps"; "keypoints" (1, P, K, 3), "scores" (1, P) of the graph "poses" (see
    `decoding.graph.find_people`), whose decoder stays float32 at every precision. float16 halves the file (weights;
    arithmetic stays float32 on a CPU); int8 quantises weights per channel and activations per tensor, from the ranges
    that the calibration pictures give.

    Args:
      model: an `EfficientHRNet`.
      out_path: where to.
      precision: "float32", "float16" or "int8".
      calibration: (H, W, 3) uint8 network inputs; needed for int8 (a hundred or more that resemble what will be seen),
        otherwise used for the comparison only (default: random pictures).
      input_size: pixels, one number for a square or (height, width), for a model of free size; None: the model's, or
        the nominal size in the metadata.
      metadata: of the model, see `runtime.metadata`; None: `model_metadata(model)`.
      threads: of the comparison run.
      graph: "maps", or "poses" with the decoder inside, set as the metadata's "decoder" says.
      people: P.

    Returns:
      "path", "precision", "bytes", "pictures" compared, "ops" (see `tflite_ops`), "float_ops" (see `float_ops`), and
      "differences": by output {"max", "mean"}, absolute, in the maps' units; for "tags" also "max_where_heat", the
      worst where the model's heat exceeds 0.1, in units of the decoder's default tag threshold 1.0 (None if nowhere).
      With the graph "poses" also "poses": see `compare.compare_poses`.

    Raises:
      UsageError: unknown precision or graph, a size that is not a multiple of 32 or not the model's, int8 without
        calibration pictures, pictures of another shape or dtype, Keras on another backend than TensorFlow.
      MissingExtraError: TensorFlow is not installed.
      EhrnetError: the file gives other poses than the model (float32; see `compare.compare_poses`).
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision '{precision}': expected one of {', '.join(PRECISIONS)}")
    source = source_runner(model, graph, people, metadata)
    metadata = source.metadata
    size = _choose_size(model, input_size, metadata)
    pictures = _check_pictures(calibration, size)
    if precision == "int8" and not pictures:
        raise UsageError("int8 needs calibration pictures: give some that resemble what the network will see")

    flatbuffer = _convert(model, size, precision, pictures)
    metadata["precision"] = precision
    metadata["input"] = {**metadata["input"], "height": size[0], "width": size[1], "nominal": list(size)}
    if precision == "int8":
        metadata["calibration"] = {"pictures": len(pictures), **metadata.get("calibration", {})}
    with atomic_path(out_path) as temporary:
        temporary.write_bytes(flatbuffer)
        append_metadata(temporary, metadata)
        pictures = pictures or random_pictures(size)
        comparison = _compare(source, TFLiteRunner(temporary, threads), pictures)
        if graph == "poses":
            temporary.write_bytes(join(flatbuffer, _convert_decoder(source, size, people)))
            append_metadata(temporary, metadata)
            poses = compare_poses(source, TFLiteRunner(temporary, threads), pictures)
            if precision == "float32":
                poses.check(out_path)
            comparison["poses"] = poses.to_dict()
        return {
            "path": str(out_path),
            "precision": precision,
            "graph": graph,
            "bytes": temporary.stat().st_size,
            "ops": tflite_ops(temporary),
            "float_ops": float_ops(temporary),
            **comparison,
        }


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


def _check_pictures(calibration: Iterable[np.ndarray] | None, size: tuple[int, int]) -> list[np.ndarray]:
    pictures = [np.asarray(picture) for picture in (() if calibration is None else calibration)]
    for picture in pictures:
        if picture.shape != (*size, 3) or picture.dtype != np.uint8:
            raise UsageError(
                f"calibration picture of shape {picture.shape}, {picture.dtype}: give ({size[0]}, {size[1]}, 3) uint8"
            )
    return pictures


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

    # For int8 the graph's input is float and the converter makes it uint8 (scale 1, see `_representative`): a cast
    # inside the graph would stay float.
    dtype = tf.float32 if precision == "int8" else tf.uint8
    network, twins = _with_twins(model) if precision == "int8" else (model, {})

    def maps(image):
        outputs = network(tf.cast(image, tf.float32), training=False)
        for name, (kernel, bias) in twins.items():
            outputs[name] = tf.nn.conv2d(outputs[f"{name}_features"], kernel, 1, "SAME") + bias
        return {name: outputs[name] for name in OUTPUTS}

    function = tf.function(maps, input_signature=[tf.TensorSpec((1, *size, 3), dtype, "image")])
    module = tf.Module()
    module.weights = [variable.value for variable in network.variables]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), _resize_operators(network):
        warnings.simplefilter("ignore")  # the converter calls what TensorFlow itself has deprecated
        tf.saved_model.save(module, folder, signatures={"serving_default": function})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if precision == "int8":
            converter.representative_dataset = lambda: _representative(pictures)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.uint8
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
    function = tf.function(function, input_signature=specs, autograph=False)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tf.saved_model.save(tf.Module(), folder, signatures={"serving_default": function})
        return tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"]).convert()


@contextlib.contextmanager
def _resize_operators(model: keras.Model) -> Iterator[None]:
    """Makes upsampling layers one RESIZE_NEAREST_NEIGHBOR each, which every delegate knows, while the block runs.

    Keras repeats rows and columns instead: two pairs of five-dimensional RESHAPE and TILE.
    """
    import keras
    import tensorflow as tf

    layers = [x for x in model.layers if isinstance(x, keras.layers.UpSampling2D) and x.interpolation == "nearest"]

    def resize(layer, x):
        size = [side * factor for side, factor in zip(x.shape[1:3], layer.size, strict=True)]
        return tf.raw_ops.ResizeNearestNeighbor(images=x, size=size)

    for layer in layers:
        layer.call = functools.partial(resize, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call  # the class's own again


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


def _compare(model: KerasRunner, exported: TFLiteRunner, pictures: Sequence[np.ndarray]) -> dict[str, Any]:
    """How far the exported file strays from the model."""
    scale, zero_point = exported.input_quantization
    if (scale, zero_point) not in ((0.0, 0), (1.0, 0)):
        raise EhrnetError(f"{exported.name}: the converter scaled the input by {scale}; calibrate with other pictures")
    worst = dict.fromkeys(OUTPUTS, 0.0)
    total = dict.fromkeys(OUTPUTS, 0.0)
    hot = []
    for picture in pictures:
        expected, found = model(picture[None]), exported(picture[None])
        for name in OUTPUTS:
            difference = np.abs(found[name] - expected[name])
            worst[name] = max(worst[name], float(difference.max()))
            total[name] += float(difference.mean())
            if name == "tags":
                hot.append(difference[expected["heatmaps_4"] > _HEAT])
    where_heat = np.concatenate(hot)
    differences: dict[str, dict] = {n: {"max": worst[n], "mean": total[n] / len(pictures)} for n in OUTPUTS}
    differences["tags"]["max_where_heat"] = float(where_heat.max()) if len(where_heat) else None
    return {"pictures": len(pictures), "differences": differences}


def tflite_ops(path: str | os.PathLike) -> dict[str, int]:
    """How many operators of each type a .tflite file holds, the most frequent first."""
    interpreter = _plain_interpreter(path)
    return dict(Counter(op["op_name"] for op in interpreter._get_ops_details()).most_common())


def float_ops(path: str | os.PathLike) -> dict[str, int]:
    """How many operators of each type have a float input and a float output.

    A file that is int8 throughout holds none: the final DEQUANTIZE of each output has an integer input.
    """
    interpreter = _plain_interpreter(path)
    floats = {t["index"] for t in interpreter.get_tensor_details() if t["dtype"] in (np.float16, np.float32)}
    found = Counter(
        op["op_name"]
        for op in interpreter._get_ops_details()
        if floats.intersection(op["inputs"]) and floats.intersection(op["outputs"])
    )
    return dict(found.most_common())


def _plain_interpreter(path: str | os.PathLike):
    """An interpreter without a delegate, which would hide the operators that it takes over."""
    try:
        from ai_edge_litert.interpreter import OpResolverType
    except ImportError:
        from tensorflow.lite.experimental import OpResolverType
    return open_interpreter(path, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
