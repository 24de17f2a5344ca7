"""ONNX to a TensorRT engine, on the machine that will run it.

An engine runs only with the TensorRT that built it and on the kind of GPU on which it was built. TensorRT's Python API
is used, for 8.5, 8.6 and 10; from 11 on a network's types are those of the ONNX file, so that only float32 is left.

**Integers.** See `converters.tensorrt_calibration`.

**What stays float32.** All that follows the last convolutions: the decoder, whose coordinates half precision would
round to half a pixel, and the change of layout of the maps.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Callable, Iterable, Sequence

import numpy as np

from ehrnet_tf.converters.compare import compare
from ehrnet_tf.converters.pictures import check_inputs, comparison_pictures
from ehrnet_tf.converters.tensorrt_calibration import Table, calibration_files, make_calibrator
from ehrnet_tf.converters.tensorrt_operators import unsupported_operators
from ehrnet_tf.errors import EhrnetError, ModelFileError, UsageError
from ehrnet_tf.files import atomic_path
from ehrnet_tf.runtime.cuda import Cuda
from ehrnet_tf.runtime.metadata import append_metadata, read_metadata
from ehrnet_tf.runtime.onnx_runner import OnnxRunner
from ehrnet_tf.runtime.runner import GRAPHS
from ehrnet_tf.runtime.tensorrt_runner import (
    SUFFIXES,
    TensorRTRunner,
    import_tensorrt,
    tensorrt_logger,
    tensorrt_version,
)

__all__ = ["PRECISIONS", "build_engine", "calibration_files", "export_tensorrt", "unsupported_operators"]

PRECISIONS = ("float32", "float16", "int8")
STRONGLY_TYPED_ONLY = 11  # the first TensorRT that takes precisions from the ONNX file alone
_UNPINNED = ("CONSTANT", "SHAPE", "CAST", "IDENTITY")  # layers whose types are their own
_CONVOLUTIONS = ("CONVOLUTION", "DECONVOLUTION")


def export_tensorrt(
    onnx_path: str | os.PathLike,
    out_path: str | os.PathLike,
    precision: str = "float16",
    calibration: Iterable[np.ndarray] | None = None,
    pictures: Sequence[np.ndarray] | None = None,
    metadata: dict[str, Any] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Builds an engine and compares it with the ONNX file in ONNX Runtime; all of it or nothing is written.

    Args:
      onnx_path: the ONNX file.
      out_path: the engine to write.
      precision: see `build_engine`.
      calibration: see `build_engine`.
      metadata: see `build_engine`.
      pictures: (H, W, 3) uint8 network inputs to compare with; None: those of the calibration, else made-up people.
      **options: "workspace_megabytes", "timing_cache", "dla_core": see `build_engine`.

    Returns:
      What `build_engine` and `compare.compare` give.

    Raises:
      EhrnetError: the engine computes something else than the ONNX file, and what `build_engine` raises.
      MissingExtraError: ONNX Runtime is not installed.
    """
    source = OnnxRunner(onnx_path)
    calibration = check_inputs(calibration, source.input_size)
    pictures = check_inputs(pictures, source.input_size) or comparison_pictures(None, source.input_size, calibration)

    def check(path: Path) -> dict[str, Any]:
        runner = TensorRTRunner(path)
        try:
            return compare(source, runner, pictures, precision, out_path)
        finally:
            runner.close()

    return build_engine(onnx_path, out_path, precision, calibration, metadata=metadata, check=check, **options)


def build_engine(
    onnx_path: str | os.PathLike,
    out_path: str | os.PathLike,
    precision: str = "float16",
    calibration: Iterable[np.ndarray] | None = None,
    workspace_megabytes: int = 1024,
    timing_cache: str | os.PathLike | None = None,
    dla_core: int | None = None,
    metadata: dict[str, Any] | None = None,
    check: Callable[[Path], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Builds an engine for this GPU and writes it with its metadata, all of it or nothing. Takes minutes.

    The file's metadata are those of the ONNX file, with "precision" and "engine": "tensorrt" (its version), "device",
    "compute_capability", "workspace_megabytes", "dla_core"; of an int8 engine also "calibration". Precisions:

    - float32: without TF32, which would round factors to 10 bits;
    - float16: what follows the last convolutions stays float32;
    - int8: as float16, with convolutions in 8 bits where that is faster and a range is known.

    The ranges of an int8 engine are kept beside it (see `calibration_files`) and used again by a later build of the
    same ONNX file with the same pictures and the same TensorRT.

    Args:
      onnx_path: of `converters.onnx`: static shapes, one (1, H, W, 3) uint8 input.
      out_path: where to, ending in .engine, .plan or .trt.
      precision: one of `PRECISIONS`.
      calibration: (H, W, 3) uint8 network inputs that resemble what will be seen, a hundred or more; needed for int8,
        otherwise not looked at.
      workspace_megabytes: of GPU memory that a layer may use besides its tensors.
      timing_cache: a file that keeps how fast kernels were, which makes later builds on this device faster; made if it
        is not there.
      dla_core: the deep learning accelerator to use (Jetson Xavier and Orin), for the layers that it takes; None: the
        GPU alone.
      metadata: of the model; None: the ONNX file's.
      check: called with the path of the finished file before it gets its name, which it does not if this raises; what
        it returns is added to the report.

    Returns:
      "path", "graph", "precision", "bytes", "seconds", "layers", "float32_layers" (kept by intent), "engine" as in the
      metadata, and of an int8 engine "calibration": "pictures", "cache" (its file), "reused".

    Raises:
      UsageError: unusable arguments, int8 without pictures or with pictures of another shape or dtype, a DLA core that
        is not there, float16 or int8 for TensorRT 11.
      ModelFileError: no such file, not an ONNX file, an operator that TensorRT does not know, dynamic shapes, or other
        inputs and outputs than a pose model's.
      EhrnetError: TensorRT is missing or fails, no CUDA device, not enough memory.
    """
    started = time.monotonic()
    onnx_path, out_path = Path(onnx_path), Path(out_path)
    _check_arguments(out_path, precision, workspace_megabytes, dla_core)
    metadata = dict(metadata or read_metadata(onnx_path) or {})
    trt = import_tensorrt()
    if precision != "float32" and tensorrt_version(trt)[0] >= STRONGLY_TYPED_ONLY:
        raise UsageError(
            f"TensorRT {trt.__version__} builds float32 only from a float32 .onnx; for {precision} install 8.5 to 10.x "
            "(pip install 'tensorrt-cu12<11') or take precision float32"
        )
    build = _Build(trt, Cuda(), onnx_path, workspace_megabytes, timing_cache, dla_core)
    network, graph = build.network()
    size = tuple(network.get_input(0).shape[1:3])
    pictures = _check_pictures(calibration, size, precision)
    layers, kept = network.num_layers, 0 if precision == "float32" else _keep_float32(trt, network)
    table = Table(trt.__version__, onnx_path, pictures, out_path) if precision == "int8" else None
    plan = build.run(network, precision, None if table is None else table.read_or_make(build.calibrate))
    engine = build.describe()
    metadata.update(precision=precision, engine=engine)
    if table is not None:
        metadata["calibration"] = {"pictures": len(pictures), **(metadata.get("calibration") or {})}
    with atomic_path(out_path) as temporary:
        temporary.write_bytes(plan)
        append_metadata(temporary, metadata)
        size_in_bytes = temporary.stat().st_size
        checked = check(temporary) if check else {}
    report = {"path": str(out_path), "graph": graph, "precision": precision, "bytes": size_in_bytes}
    report.update(seconds=time.monotonic() - started, layers=layers, float32_layers=kept, engine=engine, **checked)
    return report if table is None else {**report, "calibration": table.describe()}


def _check_arguments(out_path: Path, precision: str, workspace_megabytes: int, dla_core: int | None) -> None:
    if precision not in PRECISIONS:
        raise UsageError(f"precision '{precision}': TensorRT takes {', '.join(PRECISIONS)}")
    if out_path.suffix not in SUFFIXES:
        raise UsageError(f"{out_path}: the name of an engine must end in {', '.join(SUFFIXES)}")
    if workspace_megabytes < 1:
        raise UsageError(f"workspace of {workspace_megabytes} megabytes: must be at least 1")
    if dla_core is not None and (dla_core < 0 or precision == "float32"):
        raise UsageError(f"DLA core {dla_core}: give 0 or more, and precision float16 or int8, which a DLA computes in")


def _check_pictures(
    calibration: Iterable[np.ndarray] | None, size: tuple[int, int], precision: str
) -> list[np.ndarray]:
    if precision != "int8":
        return []
    pictures = [np.asarray(picture) for picture in calibration or ()]
    if not pictures:
        raise UsageError("int8 needs calibration pictures: give some that resemble what will be seen")
    for picture in pictures:
        if picture.shape != (*size, 3) or picture.dtype != np.uint8:
            raise UsageError(
                f"calibration: takes {(*size, 3)} uint8 network inputs, not {picture.shape} {picture.dtype}; prepare "
                "them by converters.pictures"
            )
    return pictures


class _Build:
    """One or two runs of TensorRT's builder over an ONNX file, with shared options."""

    def __init__(
        self,
        trt: Any,
        cuda: Cuda,
        onnx_path: Path,
        workspace_megabytes: int,
        timing_cache: str | os.PathLike | None,
        dla_core: int | None,
    ):
        self.trt, self.cuda, self.onnx_path = trt, cuda, onnx_path
        self._workspace, self._dla_core = workspace_megabytes, dla_core
        self._timing_path = None if timing_cache is None else Path(timing_cache)
        self._timing = self._timing_path.read_bytes() if self._timing_path and self._timing_path.is_file() else b""
        self._logger = tensorrt_logger(trt)
        trt.init_libnvinfer_plugins(self._logger, "")
        self._builder = trt.Builder(self._logger)
        if dla_core is not None and dla_core >= self._builder.num_DLA_cores:
            raise UsageError(
                f"DLA core {dla_core}: {cuda.device_name} has {self._builder.num_DLA_cores}; leave it out for the GPU"
            )

    def describe(self) -> dict[str, Any]:
        """What the metadata say of the engine."""
        return {
            "tensorrt": self.trt.__version__,
            "device": self.cuda.device_name,
            "compute_capability": self.cuda.compute_capability,
            "workspace_megabytes": self._workspace,
            "dla_core": self._dla_core,
        }

    def network(self) -> tuple[Any, str]:
        """The ONNX file's network, parsed and checked, and its graph: "maps" or "poses".

        Raises:
          ModelFileError: see `build_engine`.
        """
        explicit = getattr(self.trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)  # the only kind from 10 on
        network = self._builder.create_network(0 if explicit is None else 1 << int(explicit))
        parser = self.trt.OnnxParser(network, self._logger)
        self._logger.take()
        if not parser.parse(self.onnx_path.read_bytes(), str(self.onnx_path)):
            errors = [parser.get_error(i) for i in range(parser.num_errors)]
            raise ModelFileError(_parser_message(self.trt, self.onnx_path, errors, self._logger))
        return network, _check_network(self.trt, network, self.onnx_path)

    def run(self, network: Any, precision: str, table: bytes | None = None) -> bytes:
        """The serialized engine of a network.

        Raises:
          EhrnetError: TensorRT fails.
        """
        config = self._config(precision)
        if precision != "float32":
            config.set_flag(self.trt.BuilderFlag.FP16)
            config.set_flag(self.trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)
        if self._dla_core is not None:
            config.default_device_type = self.trt.DeviceType.DLA
            config.DLA_core = self._dla_core
            config.set_flag(self.trt.BuilderFlag.GPU_FALLBACK)
        if precision == "int8":
            calibrator = make_calibrator(self.trt, self.cuda, (), table)
            config.int8_calibrator = calibrator
        plan = self._serialize(network, config)
        if plan is None:
            raise EhrnetError(
                f"{self.onnx_path}: TensorRT {self.trt.__version__} on {self.cuda.device_name} cannot build it as "
                f"{precision} ({self._logger.take()}); give it more workspace, or close other programs that use the GPU"
            )
        if self._timing_path:
            with atomic_path(self._timing_path) as temporary:
                temporary.write_bytes(self._timing)
        return bytes(plan)

    def calibrate(self, pictures: Sequence[np.ndarray]) -> bytes:
        """The calibration cache of the ONNX file: a range for every tensor.

        Raises:
          EhrnetError: TensorRT fails.
        """
        network, _ = self.network()
        network.get_input(0).dtype = self.trt.DataType.FLOAT
        config = self._config("int8")
        if hasattr(config, "builder_optimization_level"):  # from 8.6 on; the engine is not used
            config.builder_optimization_level = 0
        calibrator = make_calibrator(self.trt, self.cuda, pictures, None)
        config.int8_calibrator = calibrator
        self._serialize(network, config)
        calibrator.close()
        if calibrator.failure is not None:
            raise calibrator.failure
        if calibrator.written is None:
            raise EhrnetError(f"{self.onnx_path}: TensorRT cannot calibrate it ({self._logger.take()})")
        return calibrator.written

    def _config(self, precision: str) -> Any:
        config = self._builder.create_builder_config()
        config.set_memory_pool_limit(self.trt.MemoryPoolType.WORKSPACE, self._workspace << 20)
        config.clear_flag(self.trt.BuilderFlag.TF32)
        if precision == "int8":
            config.set_flag(self.trt.BuilderFlag.INT8)
        return config

    def _serialize(self, network: Any, config: Any) -> Any:
        cache = config.create_timing_cache(self._timing)
        if not config.set_timing_cache(cache, False):  # of another device or version
            cache = config.create_timing_cache(b"")
            config.set_timing_cache(cache, False)
        self._logger.take()
        plan = self._builder.build_serialized_network(network, config)
        self._timing = bytes(cache.serialize())
        return plan


def _parser_message(trt: Any, path: Path, errors: Sequence[Any], logger: Any) -> str:
    """One line for what the parser found, naming the first node with an error."""
    if not errors:
        return f"{path}: TensorRT cannot parse it ({logger.take()}); export it again"
    reason = " ".join(errors[0].desc().split())[:300]
    if errors[0].code() == trt.ErrorCode.MODEL_DESERIALIZE_FAILED:
        return f"{path}: not a whole ONNX file ({reason}); export or copy it again"
    name = errors[0].node_name() if hasattr(errors[0], "node_name") else ""  # from 9 on
    node = f"node {errors[0].node()}" + (f" '{name}'" if name else "")
    return f"{path}: TensorRT's parser does not take {node} ({reason}); export it again with opset 17 by ehrnet export"


def _check_network(trt: Any, network: Any, path: Path) -> str:
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    outputs = {network.get_output(i).name for i in range(network.num_outputs)}
    shape = tuple(inputs[0].shape) if len(inputs) == 1 else ()
    if any(side < 1 for side in shape):
        raise ModelFileError(
            f"{path}: its input is of any size {shape}; export it with a fixed one, batch 1: ehrnet export of a model "
            "built with input_size="
        )
    for graph, names in GRAPHS.items():
        if set(names) <= outputs and len(shape) == 4 and (shape[0], shape[3]) == (1, 3):
            if inputs[0].dtype == trt.DataType.UINT8:
                return graph
            break
    wanted = " or ".join(", ".join(names) for names in GRAPHS.values())
    raise ModelFileError(
        f"{path}: needs one (1, H, W, 3) uint8 input and outputs named {wanted}, and has "
        f"{', '.join(f'{i.name} {i.dtype.name}{tuple(i.shape)}' for i in inputs)} and {', '.join(sorted(outputs))}; "
        "export it by ehrnet export"
    )


def _keep_float32(trt: Any, network: Any) -> int:
    """Asks for float32 in the layers that lead to no convolution; gives how many they are."""
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    inputs = [_tensors(layer.get_input, layer.num_inputs) for layer in layers]
    outputs = [_tensors(layer.get_output, layer.num_outputs) for layer in layers]
    leading: set[str] = set()  # tensors that lead to a convolution
    grown = -1
    while grown != len(leading):
        grown = len(leading)
        for layer, taken, given in zip(reversed(layers), reversed(inputs), reversed(outputs)):
            if layer.type.name in _CONVOLUTIONS or any(tensor.name in leading for tensor in given):
                leading.update(tensor.name for tensor in taken)
    kept, read = 0, set()
    for layer, taken, given in zip(layers, inputs, outputs):
        convolving = layer.type.name in _CONVOLUTIONS or any(tensor.name in leading for tensor in given)
        if convolving or layer.type.name in _UNPINNED:
            continue
        read.update(tensor.name for tensor in taken)
        if any(tensor.dtype == trt.DataType.FLOAT for tensor in (*taken[:1], *given[:1])):
            layer.precision = trt.DataType.FLOAT
            kept += 1
    for layer, given in zip(layers, outputs):
        if layer.type.name not in _UNPINNED and (layer.precision_is_set or any(t.name in read for t in given)):
            for i, tensor in enumerate(given):
                if tensor.dtype == trt.DataType.FLOAT:
                    layer.set_output_type(i, trt.DataType.FLOAT)
    return kept


def _tensors(get: Any, count: int) -> list[Any]:
    return [tensor for tensor in (get(i) for i in range(count)) if tensor is not None]
