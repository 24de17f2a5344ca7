"""Runners: one interface over everything that computes maps from pictures.

A runner takes raw pictures and returns maps; letterbox and decoding lie outside (`runtime.estimator`).
"""

from __future__ import annotations

import abc
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ehrnet_tf.errors import MissingExtraError, ModelFileError, UsageError
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.runtime.metadata import STRIDES, choose_keypoints, model_metadata, read_metadata

if TYPE_CHECKING:
    import keras

OUTPUTS = tuple(STRIDES)
GRAPHS = {"maps": OUTPUTS, "poses": ("keypoints", "scores")}  # what a file may give
_NAMES = " or ".join(", ".join(names) for names in GRAPHS.values())
ACCEPTED = ".keras, .tflite and .onnx files and SavedModel folders"
STRIDE = 32  # height and width of an input must be multiples of it


class Runner(abc.ABC):
    """Computes maps from pictures; a file with the decoder inside, poses.

    Attributes:
      name: the file's path or the model's name.
      kind: the runtime: "Keras", "SavedModel", "TFLite", "ONNX Runtime".
      graph: what comes out: "maps" or "poses".
      input_size: (height, width) in pixels; None: any multiples of 32.
      metadata: see `runtime.metadata`; {} if a file holds none.
      keypoints: the keypoint set that the K channels stand for.
      precision: see `converters.tflite.PRECISIONS`, or "unknown".
      threads: how many CPU threads it was told to use; None: the runtime's own choice.
    """

    name: str
    kind: str
    graph: str = "maps"
    input_size: tuple[int, int] | None
    metadata: dict[str, Any]
    keypoints: KeypointSet
    threads: int | None = None

    @property
    def precision(self) -> str:
        return self.metadata.get("precision", "unknown")

    def describe(self) -> str:
        """One line for people: what runs, and how."""
        size = "{1}x{0}".format(*self.input_size) if self.input_size else "any size"
        variant = self.metadata.get("variant") or "unknown variant"
        threads = f", {self.threads} threads" if self.threads else ""
        return f"{self.name}: {variant}, {self.keypoints.name}, {size}, {self.kind} {self.precision}{threads}"

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Runs the network.

        Args:
          images: (B, H, W, 3) uint8, RGB, letterboxed.

        Returns:
          float32: "heatmaps_4" and "tags" (B, H/4, W/4, K), "heatmaps_2" (B, H/2, W/2, K). With the graph "poses":
          "keypoints" (B, P, K, 3): x, y in input pixels, score; "scores" (B, P), 0 for nobody.

        Raises:
          UsageError: another shape, size or dtype.
        """
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or not len(images):
            raise UsageError(f"{self.name}: takes (B, H, W, 3) uint8 pictures, not {images.shape} {images.dtype}")
        size = images.shape[1:3]
        if self.input_size and size != self.input_size:
            raise UsageError(f"{self.name}: takes {describe_size(self.input_size)} pictures, not {describe_size(size)}")
        if any(side % STRIDE or not side for side in size):
            raise UsageError(f"{self.name}: {describe_size(size)}: height and width must be multiples of {STRIDE}")
        return self._run(images)

    def any_size(self) -> Runner:
        """A runner of the same network that takes any size.

        Raises:
          UsageError: this format's size is fixed.
        """
        if self.input_size is None:
            return self
        raise UsageError(
            f"{self.name}: its input is fixed at {describe_size(self.input_size)}; scales and reference sizes need the "
            ".keras model"
        )

    @abc.abstractmethod
    def _run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """`__call__` on checked pictures."""


def describe_size(size: tuple[int, int]) -> str:
    """(height, width) as "WxH"."""
    return f"{size[1]}x{size[0]}"


class KerasRunner(Runner):
    """Runs a Keras model, given as such or as a .keras file; any batch size.

    The runner follows the weights of a model that goes on training. The first call traces the graph: seconds.

    Args:
      model: an `EfficientHRNet`, or the path of one saved.
      keypoints: the keypoint set; None: the metadata's, else "coco" if there are 17 channels.
      metadata: what is known of the model; None: what the file holds, else `model_metadata`.

    Raises:
      ModelFileError: no such file, or not a Keras model file with this network.
      UsageError: it is not known which keypoints the channels are; the model has other outputs.
      MissingExtraError: Keras is not installed.
    """

    kind = "Keras"

    def __init__(
        self,
        model: keras.Model | str | os.PathLike,
        keypoints: str | os.PathLike | KeypointSet | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        if isinstance(model, (str, os.PathLike)):
            self.name = str(model)
            metadata = metadata or read_metadata(model)
            model = _load_keras(Path(model))
        else:
            self.name = model.name
        if not metadata:
            metadata = model_metadata(model, keypoints=keypoints)
        self.model = model
        self.metadata = metadata
        self.keypoints = choose_keypoints(keypoints, metadata, model.output["tags"].shape[-1], self.name)
        height, width = model.input_shape[1:3]
        self.input_size = (height, width) if height and width else None
        self._compute = _compiled(model)

    def any_size(self) -> KerasRunner:
        if self.input_size is None:
            return self
        from ehrnet_tf.models.weights import with_free_size

        runner = KerasRunner(with_free_size(self.model), self.keypoints, self.metadata)
        runner.name = self.name
        return runner

    def _run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        outputs = self._compute(images)
        return {name: np.asarray(outputs[name], np.float32) for name in OUTPUTS}


def _load_keras(path: Path) -> keras.Model:
    try:
        from ehrnet_tf.models.weights import open_keras
    except ImportError as error:
        raise MissingExtraError("keras", "train") from error
    model = open_keras(path)
    if not isinstance(getattr(model, "output", None), dict) or not set(OUTPUTS) <= set(model.output):
        raise ModelFileError(f"{path}: a Keras model without the outputs {', '.join(OUTPUTS)}; save an EfficientHRNet")
    return model


def _compiled(model: keras.Model):
    """The model's inference as a function of (B, H, W, 3) uint8, traced once on the TensorFlow backend."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return lambda images: {
            name: keras.ops.convert_to_numpy(value) for name, value in model(images, training=False).items()
        }
    import tensorflow as tf

    signature = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, "image")
    return tf.function(lambda images: model(images, training=False), input_signature=[signature])


class TFLiteRunner(Runner):
    """Runs a .tflite file that `converters.tflite` wrote; batches go through it one by one.

    Args:
      path: the file.
      threads: CPU threads.
      keypoints: the keypoint set; None: the file's metadata, else "coco" if there are 17 channels.

    Raises:
      ModelFileError: no such file, not a whole TFLite file, or one with other inputs and outputs.
      UsageError: it is not known which keypoints the channels are; ``threads`` below 1.
      MissingExtraError: neither ai-edge-litert nor TensorFlow is installed.
    """

    kind = "TFLite"

    def __init__(
        self,
        path: str | os.PathLike,
        threads: int | None = 2,
        keypoints: str | os.PathLike | KeypointSet | None = None,
    ):
        self.name = str(path)
        self.threads = 2 if threads is None else threads
        if self.threads < 1:
            raise UsageError(f"threads {threads}: must be at least 1")
        self.metadata = read_metadata(path) or {}
        self._interpreter = open_interpreter(path, num_threads=self.threads)
        self._interpreter.allocate_tensors()
        self.graph, self._input, self._outputs = self._find_tensors()
        self.input_size = tuple(int(n) for n in self._input["shape"][1:3])
        channels = (
            self._outputs["tags"]["shape"][-1] if self.graph == "maps" else self._outputs["keypoints"]["shape"][2]
        )
        self.keypoints = choose_keypoints(keypoints, self.metadata, int(channels), self.name)

    @property
    def input_quantization(self) -> tuple[float, int]:
        """Scale and zero point of the uint8 input; (0.0, 0) where it is not quantised."""
        scale, zero_point = self._input["quantization"]
        return float(scale), int(zero_point)

    def _find_tensors(self) -> tuple[str, dict, dict[str, dict]]:
        signatures = list(self._interpreter.get_signature_list())
        if signatures:
            runner = self._interpreter.get_signature_runner(signatures[0])
            inputs, outputs = list(runner.get_input_details().values()), runner.get_output_details()
            for graph, names in GRAPHS.items():
                if len(inputs) == 1 and set(names) <= set(outputs) and inputs[0]["dtype"] == np.uint8:
                    return graph, inputs[0], {name: outputs[name] for name in names}
        raise ModelFileError(
            f"{self.name}: needs one uint8 input and outputs named {_NAMES}; export it by ehrnet export"
        )

    def _run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        each = [self._run_one(image[None]) for image in images]
        if len(each) == 1:
            return each[0]
        return {name: np.concatenate([maps[name] for maps in each]) for name in self._outputs}

    def _run_one(self, image: np.ndarray) -> dict[str, np.ndarray]:
        self._interpreter.set_tensor(self._input["index"], image)
        self._interpreter.invoke()
        return {name: self._read(details) for name, details in self._outputs.items()}

    def _read(self, details: dict) -> np.ndarray:
        values = self._interpreter.get_tensor(details["index"])
        if values.dtype == np.float32:
            return values
        scale, zero_point = details["quantization"]
        return (values.astype(np.float32) - zero_point) * np.float32(scale)


class SavedModelRunner(Runner):
    """Runs a TensorFlow SavedModel folder, as `converters.saved_model` or Keras' `model.export` writes it.

    The signature "serving_default" (or the only one) takes one (B, H, W, 3) batch of RGB pixels, uint8 or float32, and
    gives the outputs by name. Metadata lie in the folder as ``ehrnet.json``.

    Args:
      path: the folder.
      keypoints: the keypoint set; None: the metadata's, else "coco" if there are 17 channels.

    Raises:
      ModelFileError: not a SavedModel that TensorFlow reads, or one with other inputs and outputs.
      UsageError: it is not known which keypoints the channels are.
      MissingExtraError: TensorFlow is not installed.
    """

    kind = "SavedModel"

    def __init__(self, path: str | os.PathLike, keypoints: str | os.PathLike | KeypointSet | None = None):
        try:
            import tensorflow as tf
        except ImportError as error:
            raise MissingExtraError("tensorflow", "train") from error
        self.name = str(path)
        self.metadata = read_metadata(path) or {}
        try:
            self._model = tf.saved_model.load(self.name)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelFileError(
                f"{path}: not a SavedModel that TensorFlow reads ({reason}); export it again"
            ) from error
        signatures = self._model.signatures
        self._signature = signatures.get("serving_default") or next(iter(signatures.values()), None)
        self.graph, self._input = self._find_tensors(tf)
        shape = self._input.shape
        self._batch = shape[0]
        self.input_size = (shape[1], shape[2]) if shape[1] and shape[2] else None
        outputs = self._signature.structured_outputs
        channels = outputs["tags"].shape[-1] if self.graph == "maps" else outputs["keypoints"].shape[2]
        self.keypoints = choose_keypoints(keypoints, self.metadata, channels, self.name)

    def _find_tensors(self, tf: Any) -> tuple[str, Any]:
        if self._signature is not None:
            inputs = list(self._signature.structured_input_signature[1].values())
            outputs, takes = self._signature.structured_outputs, ((tf.uint8, 4), (tf.float32, 4))
            for graph, names in GRAPHS.items():
                found = [outputs[name].shape.rank for name in names if name in outputs]
                wanted = [4] * len(names) if graph == "maps" else [4, 2]
                if len(inputs) == 1 and found == wanted and (inputs[0].dtype, inputs[0].shape.rank) in takes:
                    return graph, inputs[0]
        raise ModelFileError(
            f"{self.name}: needs a signature with one (B, H, W, 3) uint8 or float32 input and outputs named {_NAMES}; "
            "export it by ehrnet export"
        )

    def _run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        import tensorflow as tf

        batch, each = self._batch or len(images), []
        for first in range(0, len(images), batch):
            part = images[first : first + batch]
            lacking = batch - len(part)
            if lacking:
                part = np.concatenate((part, np.zeros((lacking, *part.shape[1:]), np.uint8)))
            outputs = self._signature(**{self._input.name: tf.constant(part, self._input.dtype)})
            each.append({name: outputs[name].numpy()[: batch - lacking] for name in GRAPHS[self.graph]})
        return {name: np.concatenate([maps[name] for maps in each]) for name in GRAPHS[self.graph]}


def open_interpreter(path: str | os.PathLike, **options: Any):
    """A TFLite interpreter over the file, from ai-edge-litert or, where that is missing, from TensorFlow.

    Raises:
      ModelFileError: not a whole TFLite file.
      MissingExtraError: neither package is installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            from tensorflow.lite import Interpreter
        except ImportError as error:
            raise MissingExtraError("ai-edge-litert", "train") from error
    try:
        return Interpreter(model_path=str(path), **options)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(f"{path}: not a whole TFLite file ({reason}); export or copy it again") from error


def open_runner(
    model_or_path: Any, threads: int | None = None, keypoints: str | os.PathLike | KeypointSet | None = None
) -> Runner:
    """The runner for a Keras model, a .keras, .tflite or .onnx file or a SavedModel folder; a runner passes through.

    Args:
      model_or_path: what to run.
      threads: CPU threads where the runtime can be told (TFLite, ONNX Runtime; default 2).
      keypoints: the keypoint set, for files that do not say theirs.

    Raises:
      ModelFileError: no such file, a kind of file that is not accepted, or not what its suffix says.
      UsageError: as the runners' constructors.
    """
    if isinstance(model_or_path, Runner):
        return model_or_path
    if hasattr(model_or_path, "input_shape") and hasattr(model_or_path, "output"):
        return KerasRunner(model_or_path, keypoints)
    try:
        path = Path(model_or_path)
    except TypeError as error:
        raise UsageError(f"{model_or_path!r:.80}: give a Keras model or the path of {ACCEPTED}") from error
    if not path.exists():
        raise ModelFileError(f"{path}: no such model file; accepted are {ACCEPTED}")
    if (path / "saved_model.pb").is_file():
        return SavedModelRunner(path, keypoints)
    suffix = path.suffix.lower()
    if suffix == ".keras":
        return KerasRunner(path, keypoints)
    if suffix == ".tflite":
        return TFLiteRunner(path, threads, keypoints)
    if suffix == ".onnx":
        from ehrnet_tf.runtime.onnx_runner import OnnxRunner

        return OnnxRunner(path, threads, keypoints)
    raise ModelFileError(f"{path}: not a kind of model that can be run; accepted are {ACCEPTED}")
