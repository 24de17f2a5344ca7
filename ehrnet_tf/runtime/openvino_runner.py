"""Running OpenVINO's intermediate representation: an .xml file and the .bin file beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ehrnet_tf.errors import MissingExtraError, ModelFileError, UsageError
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.runtime.metadata import choose_keypoints, read_metadata
from ehrnet_tf.runtime.runner import GRAPHS, FileRunner, check_device, check_threads

DEVICES = ("gpu", "npu", "auto")
# What is asked of OpenVINO for a file of a precision. Without it, it picks the fastest that the processor has: bfloat16
# where there is AMX, whatever the file is. A processor without the type computes in float32.
HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


class OpenVINORunner(FileRunner):
    """Runs an .xml file that `converters.openvino` wrote; batches go through it one by one.

    Args:
      path: the .xml file; the .bin file of the same name lies beside it.
      threads: CPU threads.
      keypoints: the keypoint set; None: the file's metadata, else "coco" if there are 17 channels.
      device: None or "cpu", or one of `DEVICES`.

    Raises:
      ModelFileError: no such file, its .bin file is missing or too short, not an OpenVINO model, of dynamic shape, or
        with other inputs and outputs.
      UsageError: it is not known which keypoints the channels are; ``threads`` below 1; a device that is not there.
      MissingExtraError: OpenVINO is not installed.
    """

    kind = "OpenVINO"

    def __init__(
        self,
        path: str | os.PathLike,
        threads: int | None = None,
        keypoints: str | os.PathLike | KeypointSet | None = None,
        device: str | None = None,
    ):
        self.name = str(path)
        self.threads = check_threads(threads)
        self.device = check_device(device, DEVICES, self.kind)
        self.metadata = read_metadata(path) or {}
        core = open_core()
        model = read_model(core, path)
        channels = self._check_tensors(
            {port_name(port): (port_type(port), port_shape(port)) for port in model.inputs},
            {port_name(port): port_shape(port) for port in model.outputs},
        )
        self.keypoints = choose_keypoints(keypoints, self.metadata, channels, self.name)
        compiled = self._compile(core, model)
        self._request = compiled.create_infer_request()
        self._places = {port_name(port): i for i, port in enumerate(compiled.outputs)}

    def _compile(self, core: Any, model: Any) -> Any:
        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if not self.device:
            options["INFERENCE_NUM_THREADS"] = self.threads
        if self.precision in HINTS:
            options["INFERENCE_PRECISION_HINT"] = HINTS[self.precision]
        try:
            return core.compile_model(model, (self.device or "cpu").upper(), options)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            if self.device:
                had = ", ".join(core.available_devices)
                raise UsageError(
                    f"device '{self.device}': OpenVINO finds {had} here; install the driver, or leave the device out"
                ) from error
            raise ModelFileError(f"{self.name}: OpenVINO cannot compile it ({reason}); export it again") from error

    def _run_one(self, image: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        self._request.infer({0: image}, share_inputs=True)
        return {name: self._request.get_output_tensor(self._places[name]).data.copy() for name in outputs}


def port_name(port: Any) -> str:
    """Of an input or output, which may have several, or none."""
    names = port.get_names()
    known = [name for graph in GRAPHS.values() for name in graph if name in names]
    return (known or sorted(names) or [port.get_node().get_friendly_name()])[0]


def port_type(port: Any) -> str:
    """As NumPy calls it."""
    return port.element_type.to_dtype().name


def port_shape(port: Any) -> list[int | None]:
    """None: any."""
    return [None if side.is_dynamic else side.get_length() for side in port.get_partial_shape()]


def open_core() -> Any:
    """OpenVINO's core.

    Raises:
      MissingExtraError: OpenVINO is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("openvino", "openvino") from error
    return openvino.Core()


def read_model(core: Any, path: str | os.PathLike) -> Any:
    """The model of an .xml file.

    Raises:
      ModelFileError: not an OpenVINO model, or its .bin file is missing or too short.
    """
    weights = Path(path).with_suffix(".bin")
    if not weights.is_file():
        raise ModelFileError(f"{path}: its weights {weights.name} are not beside it; copy or export both again")
    try:
        return core.read_model(str(path))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[-200:]
        raise ModelFileError(f"{path}: not a whole OpenVINO model ({reason}); export or copy it again") from error
