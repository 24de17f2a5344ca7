"""The stand-in's classes."""

import ctypes
import json

import numpy as np

from .files import MAGIC, plan
from .record import CLASSES


class _Object:
    """An object of the bindings: attributes that are no settable property are refused."""

    def __setattr__(self, name, value):
        own = type(self).__module__ == __name__
        if own and not name.startswith("_") and getattr(getattr(type(self), name, None), "fset", None) is None:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}' that can be set")
        super().__setattr__(name, value)


def _attribute(name, settable=False):
    """A property over ``_name``."""
    private = f"_{name}"
    return property(
        lambda self: getattr(self, private), (lambda self, v: setattr(self, private, v)) if settable else None
    )


def classes_of(trt, cudart):
    """The classes of a module that has the enums of a version, over memory of a stand-in for libcudart."""
    import onnx
    import onnxruntime

    types_of = onnx.TensorProto
    dtypes = {
        types_of.FLOAT: "FLOAT",
        types_of.FLOAT16: "HALF",
        types_of.UINT8: "UINT8",
        types_of.INT32: "INT32",
        types_of.INT64: "INT64" if hasattr(trt.DataType, "INT64") else "INT32",
        types_of.BOOL: "BOOL",
    }
    numpy_types = {"FLOAT": np.float32, "HALF": np.float16, "UINT8": np.uint8, "INT32": np.int32, "INT64": np.int64}
    layer_types = {"Conv": "CONVOLUTION", "ConvTranspose": "DECONVOLUTION", "TopK": "TOPK", "Transpose": "SHUFFLE"}
    layer_types["Cast"] = "CAST" if hasattr(trt.LayerType, "CAST") else "IDENTITY"

    def on_device(address, shape, dtype):
        """An array over memory of the device."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        assert cudart.fake_kind(ctypes.c_void_p(address), ctypes.c_size_t(size)) in (1, 3), "not the device's memory"
        return np.frombuffer((ctypes.c_uint8 * size).from_address(address), dtype).reshape(shape)

    def needs(logger, kind):
        if not isinstance(logger, kind) or not getattr(logger, "_initialised", False):
            raise TypeError(f"{kind.__name__}.__init__() must be called when overriding __init__")

    class ILogger(_Object):
        def __init__(self):
            self._initialised = True

        def log(self, severity, msg):
            raise NotImplementedError

    class ITensor(_Object):
        def __init__(self, name, dtype, shape, is_input=False):
            self._name, self._dtype, self._shape, self._is_input = name, dtype, shape, is_input

        name, shape = _attribute("name"), _attribute("shape")

        @property
        def dtype(self):
            return self._dtype

        @dtype.setter
        def dtype(self, value):
            assert isinstance(value, trt.DataType) and self._is_input
            self._dtype = value

    class ILayer(_Object):
        def __init__(self, name, kind, inputs, outputs):
            self._name, self._type, self._inputs, self._outputs = name, kind, inputs, outputs
            self._precision, self._output_types = None, {}

        name, type = _attribute("name"), _attribute("type")

        @property
        def precision(self):
            return self._precision or trt.DataType.FLOAT

        @precision.setter
        def precision(self, value):
            floats = [t for t in (*self._inputs[:1], *self._outputs[:1]) if t._dtype.name in ("FLOAT", "HALF")]
            assert isinstance(value, trt.DataType) and floats, f"{self._name} computes in integers"
            self._precision = value

        @property
        def precision_is_set(self):
            return self._precision is not None

        @property
        def num_inputs(self):
            return len(self._inputs)

        @property
        def num_outputs(self):
            return len(self._outputs)

        def get_input(self, index):
            return self._inputs[index] if index < len(self._inputs) else None

        def get_output(self, index):
            return self._outputs[index] if index < len(self._outputs) else None

        def set_output_type(self, index, dtype):
            assert self._outputs[index]._dtype.name in ("FLOAT", "HALF"), f"output {index} of {self._name} is no float"
            self._output_types[index] = dtype

    class INetworkDefinition(_Object):
        def __init__(self):
            self._inputs, self._outputs, self._layers, self._content = [], [], [], b""

        @property
        def num_inputs(self):
            return len(self._inputs)

        @property
        def num_outputs(self):
            return len(self._outputs)

        @property
        def num_layers(self):
            return len(self._layers)

        def get_input(self, index):
            return self._inputs[index] if index < len(self._inputs) else None

        def get_output(self, index):
            return self._outputs[index] if index < len(self._outputs) else None

        def get_layer(self, index):
            return self._layers[index] if index < len(self._layers) else None

    class ParserError(_Object):
        def __init__(self, code, desc, node, node_name):
            self._code, self._desc, self._node, self._node_name = code, desc, node, node_name

        def code(self):
            return trt.ErrorCode[self._code]

        def desc(self):
            return self._desc

        def node(self):
            return self._node

        def node_name(self):
            return self._node_name

    class OnnxParser(_Object):
        def __init__(self, network, logger):
            needs(logger, trt.ILogger)
            self._network, self._errors = network, []

        @property
        def num_errors(self):
            return len(self._errors)

        def get_error(self, index):
            return self._errors[index]

        def parse(self, model, path=None):
            try:
                parsed = onnx.shape_inference.infer_shapes(onnx.load_from_string(bytes(model)))
                assert parsed.graph.node
            except Exception:
                self._errors = [ParserError("MODEL_DESERIALIZE_FAILED", "Failed to parse the\nONNX model.", -1, "")]
                return False
            for index, node in enumerate(parsed.graph.node):
                uint8 = any(i.name in node.input and node.op_type != "Cast" for i in parsed.graph.input)
                if node.op_type == "Unique" or node.domain or uint8:
                    name = f"In node {index} (import{node.op_type}): UNSUPPORTED_NODE: No importer"
                    self._errors = [ParserError("UNSUPPORTED_NODE", name, index, node.name)]
                    return False
            self._fill(bytes(model), parsed.graph)
            return True

        def _fill(self, content, graph):
            tensors = {}

            def tensor(value, **options):
                kind = value.type.tensor_type
                shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim)
                tensors[value.name] = ITensor(value.name, trt.DataType[dtypes[kind.elem_type]], shape, **options)
                return tensors[value.name]

            network = self._network
            network._content = content
            network._inputs = [tensor(value, is_input=True) for value in graph.input]
            for value in (*graph.value_info, *graph.output):
                tensor(value)
            network._outputs = [tensors[value.name] for value in graph.output]
            for weights in graph.initializer:
                dtype = trt.DataType[dtypes[weights.data_type]]
                tensors[weights.name] = ITensor(weights.name, dtype, tuple(weights.dims))
                network._layers.append(ILayer(weights.name, trt.LayerType.CONSTANT, [], [tensors[weights.name]]))
            for node in graph.node:
                kind = trt.LayerType[layer_types.get(node.op_type, "ELEMENTWISE")]
                taken = [tensors[name] for name in node.input if name]
                network._layers.append(ILayer(node.name, kind, taken, [tensors[name] for name in node.output]))

    class IHostMemory(bytes):
        @property
        def nbytes(self):
            return len(self)

    class ITimingCache(_Object):
        def __init__(self, content):
            self._content = content

        def serialize(self):
            return IHostMemory(self._content)

    class IInt8EntropyCalibrator2(_Object):
        def __init__(self):
            self._initialised = True

        def get_batch_size(self):
            raise NotImplementedError

        def get_batch(self, names):
            raise NotImplementedError

        def read_calibration_cache(self):
            raise NotImplementedError

        def write_calibration_cache(self, cache):
            raise NotImplementedError

    class IBuilderConfig(_Object):
        def __init__(self):
            self._flags, self._pools, self._timing = {trt.BuilderFlag.TF32}, {}, None
            self._int8_calibrator, self._DLA_core, self._builder_optimization_level = None, -1, 3
            self._default_device_type = trt.DeviceType.GPU

        DLA_core = _attribute("DLA_core", True)
        default_device_type = _attribute("default_device_type", True)
        builder_optimization_level = _attribute("builder_optimization_level", True)

        @property
        def int8_calibrator(self):
            return self._int8_calibrator

        @int8_calibrator.setter
        def int8_calibrator(self, value):
            needs(value, trt.IInt8EntropyCalibrator2)
            self._int8_calibrator = value

        def set_flag(self, flag):
            self._flags.add(trt.BuilderFlag(flag))

        def clear_flag(self, flag):
            self._flags.discard(trt.BuilderFlag(flag))

        def set_memory_pool_limit(self, pool, pool_size):
            self._pools[trt.MemoryPoolType(pool).name] = pool_size

        def create_timing_cache(self, serialized_timing_cache):
            return ITimingCache(bytes(serialized_timing_cache))

        def set_timing_cache(self, cache, ignore_mismatch):
            if cache._content and not cache._content.startswith(trt.__version__.encode()):
                return False
            self._timing = cache
            return True

    class Builder(_Object):
        def __init__(self, logger):
            needs(logger, trt.ILogger)
            self._logger = logger

        @property
        def num_DLA_cores(self):
            return 2 if ctypes.c_int.in_dll(cudart, "fake_integrated").value else 0

        def create_network(self, flags=0):
            explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
            assert flags == (0 if explicit is None else 1 << int(explicit))
            return INetworkDefinition()

        def create_builder_config(self):
            return IBuilderConfig()

        def build_serialized_network(self, network, config):
            build = {
                "flags": {flag.name for flag in config._flags},
                "input": network._inputs[0]._dtype.name,
                "workspace": config._pools["WORKSPACE"],
                "level": config._builder_optimization_level,
                "device": config._default_device_type.name,
                "dla_core": config._DLA_core,
                "pinned": [layer._name for layer in network._layers if layer._precision],
                "float_outputs": [layer._name for layer in network._layers if layer._output_types],
                "timing": config._timing._content,
            }
            trt.builds.append(build)
            if "INT8" in build["flags"] and not self._calibrate(network._inputs[0], config._int8_calibrator, build):
                error = "Calibration failure occurred with no scaling factors\ndetected."
                self._logger.log(trt.ILogger.ERROR, error)
                return None
            config._timing._content = trt.__version__.encode() + b" timings"
            if config._pools["WORKSPACE"] < 16 << 20:
                self._logger.log(trt.ILogger.WARNING, "a warning")
                self._logger.log(trt.ILogger.ERROR, "Could not find any implementation for node x.")
                return None
            return IHostMemory(plan(trt.__version__, network._content))

        def _calibrate(self, tensor, calibrator, build):
            assert calibrator.get_batch_size() == 1
            table = calibrator.read_calibration_cache()
            build["batches"], build["table"] = [], None if table is None else bytes(table)
            while not table:
                batch = calibrator.get_batch([tensor._name])
                if not batch:
                    break
                (address,) = batch
                dtype = numpy_types[tensor._dtype.name]
                build["batches"].append(on_device(address, tensor._shape, dtype).copy())
            if build["batches"]:
                ranges = b"".join(b"%s: 3c010a14\n" % layer for layer in (b"image", b"scaled"))
                header = b"TRT-%s-EntropyCalibration2\n" % trt.__version__.replace(".", "").encode()
                calibrator.write_calibration_cache(memoryview(header + ranges))
            return bool(table or build["batches"])

    class Runtime(_Object):
        def __init__(self, logger):
            needs(logger, trt.ILogger)
            self._logger, self._DLA_core = logger, 0

        DLA_core = _attribute("DLA_core", True)

        def deserialize_cuda_engine(self, serialized_engine):
            content = bytes(serialized_engine)
            header, _, model = content.partition(b"\n")
            try:
                assert header.startswith(MAGIC), "Serialization assertion magicTagRead == magicTag failed."
                known = json.loads(header[len(MAGIC) :])
                assert known["version"] == trt.__version__, (
                    "IRuntime::deserializeCudaEngine: Error Code 6: API Usage Error (The engine plan file is not "
                    f"compatible with\nthis version of TensorRT, expecting {trt.__version__} got {known['version']}.)"
                )
                assert known["size"] == len(model), "Size specified in header does not match archive size"
            except (AssertionError, ValueError) as error:
                self._logger.log(trt.ILogger.ERROR, str(error))
                return None
            return ICudaEngine(model, self._logger)

    class ICudaEngine(_Object):
        def __init__(self, model, logger):
            graph = onnx.load_from_string(model).graph
            self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
            self._values = {v.name: v.type.tensor_type for v in (*graph.input, *graph.output)}
            self._inputs, self._logger = [v.name for v in graph.input], logger

        @property
        def num_io_tensors(self):
            return len(self._values)

        def get_tensor_name(self, index):
            return list(self._values)[index]

        def get_tensor_mode(self, name):
            return trt.TensorIOMode.INPUT if name in self._inputs else trt.TensorIOMode.OUTPUT

        def get_tensor_shape(self, name):
            return tuple(d.dim_value or -1 for d in self._values[name].shape.dim)

        def get_tensor_dtype(self, name):
            return trt.DataType[dtypes[self._values[name].elem_type]]

        def get_tensor_format(self, name):
            return trt.TensorFormat.LINEAR

        def create_execution_context(self):
            return IExecutionContext(self)

    class IExecutionContext(_Object):
        def __init__(self, engine):
            self._engine, self._addresses, self._running = engine, {}, None

        def set_tensor_address(self, name, memory):
            assert isinstance(memory, int)
            self._addresses[name] = memory
            return name in self._engine._values

        def execute_async_v3(self, stream_handle):
            assert isinstance(stream_handle, int) and stream_handle
            if set(self._addresses) != set(self._engine._values) or getattr(trt, "fails", False):
                self._engine._logger.log(trt.ILogger.ERROR, "IExecutionContext::enqueueV3: Error Code 3")
                return False
            self._running = ctypes.CFUNCTYPE(None)(self._compute)
            cudart.fake_enqueue(ctypes.c_void_p(stream_handle), self._running)
            return True

        def _compute(self):
            arrays = {}
            for name, address in self._addresses.items():
                dtype = numpy_types[self._engine.get_tensor_dtype(name).name]
                arrays[name] = on_device(address, self._engine.get_tensor_shape(name), dtype)
            outputs = [name for name in arrays if name not in self._engine._inputs]
            found = self._engine._session.run(outputs, {name: arrays[name] for name in self._engine._inputs})
            for name, values in zip(outputs, found):
                arrays[name][...] = values

    found = [value for value in locals().values() if isinstance(value, type) and value.__name__ in CLASSES]
    return found
