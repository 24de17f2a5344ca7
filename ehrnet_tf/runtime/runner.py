"""What every runner is: one interface over everything that computes maps from pictures.

A runner takes raw pictures and returns maps; letterbox and decoding lie outside (`runtime.estimator`). Which runner a
file needs: `runtime.runners`.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ehrnet_tf.errors import ModelFileError, UsageError
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.runtime.metadata import STRIDES

OUTPUTS = tuple(STRIDES)
GRAPHS = {"maps": OUTPUTS, "poses": ("keypoints", "scores")}  # what a file may give
LIVE = ("heatmaps_2", "tags")  # of the maps, what the live decoder reads
CALIBRATED = ("int16x8", "int8")  # precisions whose ranges come from calibration pictures
THREADS = 2  # where nothing else is said
STRIDE = 32  # height and width of an input must be multiples of it


class Runner(abc.ABC):
    """Computes maps from pictures; a file with the decoder inside, poses.

    Attributes:
      name: the file's path or the model's name.
      kind: the runtime: "Keras", "SavedModel", "TFLite", "ONNX Runtime", "OpenVINO", "TensorRT".
      graph: what comes out: "maps" or "poses".
      input_size: (height, width) in pixels; None: any multiples of 32.
      metadata: see `runtime.metadata`; {} if a file holds none.
      keypoints: the keypoint set that the K channels stand for.
      precision: see `converters.tflite.PRECISIONS`, or "unknown".
      threads: how many CPU threads it was told to use; None: the runtime's own choice.
      device: what it was told to run on; None: the CPU, or what the runtime is made for.
    """

    name: str
    kind: str
    graph: str = "maps"
    input_size: tuple[int, int] | None
    metadata: dict[str, Any]
    keypoints: KeypointSet
    threads: int | None = None
    device: str | None = None

    @property
    def precision(self) -> str:
        return self.metadata.get("precision", "unknown")

    def describe(self) -> str:
        """One line for people: what runs, and how."""
        size = "{1}x{0}".format(*self.input_size) if self.input_size else "any size"
        variant = self.metadata.get("variant") or "unknown variant"
        threads = f", {self.threads} threads" if self.threads else ""
        device = f" on {self.device}" if self.device else ""
        return f"{self.name}: {variant}, {self.keypoints.name}, {size}, {self.kind} {self.precision}{threads}{device}"

    def __call__(self, images: np.ndarray, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Runs the network.

        Args:
          images: (B, H, W, 3) uint8, RGB, letterboxed.
          outputs: names of those that are wanted, since reading one costs time; None: all that the graph has.

        Returns:
          By name, float32: "heatmaps_4" and "tags" (B, H/4, W/4, K), "heatmaps_2" (B, H/2, W/2, K). With the graph
          "poses": "keypoints" (B, P, K, 3): x, y in input pixels, score; "scores" (B, P), 0 for nobody.

        Raises:
          UsageError: another shape, size or dtype, or outputs that there are not.
        """
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or not len(images):
            raise UsageError(f"{self.name}: takes (B, H, W, 3) uint8 pictures, not {images.shape} {images.dtype}")
        size = images.shape[1:3]
        if self.input_size and size != self.input_size:
            raise UsageError(f"{self.name}: takes {describe_size(self.input_size)} pictures, not {describe_size(size)}")
        if any(side % STRIDE or not side for side in size):
            raise UsageError(f"{self.name}: {describe_size(size)}: height and width must be multiples of {STRIDE}")
        if outputs is None:
            return self._run(images)
        known = GRAPHS[self.graph]
        if isinstance(outputs, str) or not set(outputs) <= set(known):
            raise UsageError(f"{self.name}: outputs {outputs!r}: give a list of some of {', '.join(known)}")
        return self._run_for(images, outputs)

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
        """`__call__` on checked pictures, with all outputs."""

    def _run_for(self, images: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """`__call__` on checked pictures, with some outputs."""
        found = self._run(images)
        return {name: found[name] for name in outputs}


class FileRunner(Runner):
    """What the runners of files with a static shape share: tensors checked once, pictures run one by one."""

    def _check_tensors(
        self, inputs: Mapping[str, tuple[str, Sequence[int | None]]], outputs: Mapping[str, Sequence[int | None]]
    ) -> int:
        """Sets ``graph`` and ``input_size``.

        Args:
          inputs: (type, shape) by name; None or a name in a shape: any.
          outputs: shapes by name.

        Returns:
          K, the number of keypoint channels.

        Raises:
          ModelFileError: other inputs or outputs than a pose model's.
        """
        if len(inputs) == 1:
            ((kind, shape),) = inputs.values()
            for graph, names in GRAPHS.items():
                found = [outputs[name] for name in names if name in outputs]
                if [len(s) for s in found] != ([4] * len(names) if graph == "maps" else [4, 2]):
                    continue
                if kind != "uint8" or len(shape) != 4:
                    break
                if not all(isinstance(side, int) and side > 0 for side in shape):
                    raise ModelFileError(
                        f"{self.name}: its input is of any size {tuple(shape)}; export it with a fixed one, batch 1: "
                        "ehrnet export of a model built with input_size="
                    )
                count = outputs["tags"][3] if graph == "maps" else outputs["keypoints"][2]
                if shape[0] != 1 or shape[3] != 3 or not isinstance(count, int):
                    break
                self.graph, self.input_size = graph, (shape[1], shape[2])
                return count
        wanted = " or ".join(", ".join(names) for names in GRAPHS.values())
        had = ", ".join(f"{name} {kind}{tuple(shape)}" for name, (kind, shape) in inputs.items())
        raise ModelFileError(
            f"{self.name}: needs one (1, H, W, 3) uint8 input and outputs named {wanted}, and has {had or 'no input'} "
            f"and {', '.join(outputs) or 'no output'}; export it by ehrnet export"
        )

    def _run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return self._run_for(images, GRAPHS[self.graph])

    def _run_for(self, images: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        each = [self._run_one(images[i : i + 1], outputs) for i in range(len(images))]
        return each[0] if len(each) == 1 else {n: np.concatenate([maps[n] for maps in each]) for n in outputs}

    @abc.abstractmethod
    def _run_one(self, image: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """The outputs of one (1, H, W, 3) picture, in arrays of their own."""


def check_threads(threads: int | None) -> int:
    """The number of threads to use.

    Raises:
      UsageError: below 1.
    """
    if threads is None:
        return THREADS
    if threads < 1:
        raise UsageError(f"threads {threads}: must be at least 1")
    return threads


def check_device(device: str | None, accepted: Sequence[str], runner: str) -> str | None:
    """``device`` in lower case, None for the CPU.

    Raises:
      UsageError: not among ``accepted``.
    """
    lower = None if device is None else device.lower()
    if lower in (None, "cpu"):
        return None
    if lower not in accepted:
        raise UsageError(f"device '{device}': {runner} runs on {', '.join(('cpu', *accepted))}")
    return lower


def describe_size(size: tuple[int, int]) -> str:
    """(height, width) as "WxH"."""
    return f"{size[1]}x{size[0]}"
