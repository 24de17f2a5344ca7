"""ONNX files of a few layers, and what the stand-in makes of them."""

import json

import numpy as np

MAGIC = b"FAKEPLAN"


def write_onnx(path, graph="maps", metadata=None):
    """Writes a network of a few layers with inputs and outputs as `converters.onnx` gives them to a file, 64 pixels."""
    import onnx
    from onnx import TensorProto, helper

    random = np.random.default_rng(0)
    weights = {
        "coarse": random.normal(size=(17, 3, 4, 4)).astype(np.float32) / 1000,
        "tagging": random.normal(size=(17, 3, 4, 4)).astype(np.float32) / 1000,
        "fine": random.normal(size=(17, 3, 2, 2)).astype(np.float32) / 1000,
        "flat": np.array([1, 17, 256]),
        "four": np.array([4]),
        "last": np.array([-1]),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["scaled"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["scaled"], ["planes"], "planes", perm=[0, 3, 1, 2]),
    ]

    def head(kernel, name, size):
        nodes.append(helper.make_node("Conv", ["planes", kernel], [f"{name}_map"], kernel, strides=[size, size]))
        nodes.append(helper.make_node("Transpose", [f"{name}_map"], [name], f"{name}_out", perm=[0, 2, 3, 1]))

    if graph == "maps":
        head("coarse", "heatmaps_4", 4)
        head("tagging", "tags", 4)
        head("fine", "heatmaps_2", 2)
        shapes = {"heatmaps_4": (1, 16, 16, 17), "tags": (1, 16, 16, 17), "heatmaps_2": (1, 32, 32, 17)}
    else:
        nodes += [
            helper.make_node("Conv", ["planes", "coarse"], ["heat"], "coarse", strides=[4, 4]),
            helper.make_node("Reshape", ["heat", "flat"], ["lines"], "lines"),
            helper.make_node("TopK", ["lines", "four"], ["best", "places"], "topk"),
            helper.make_node("Cast", ["places"], ["where"], "where", to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["best"], ["values"], "values", perm=[0, 2, 1]),
            helper.make_node("Transpose", ["where"], ["x"], "x", perm=[0, 2, 1]),
            helper.make_node("Unsqueeze", ["values", "last"], ["value"], "value"),
            helper.make_node("Unsqueeze", ["x", "last"], ["place"], "place"),
            helper.make_node("Concat", ["place", "place", "value"], ["keypoints"], "concat", axis=3),
            helper.make_node("ReduceMean", ["values"], ["scores"], "mean", axes=[2], keepdims=0),
        ]
        shapes = {"keypoints": (1, 4, 17, 3), "scores": (1, 4)}
    used = {name for node in nodes for name in node.input}
    model = helper.make_model(
        helper.make_graph(
            nodes,
            graph,
            [helper.make_tensor_value_info("image", TensorProto.UINT8, (1, 64, 64, 3))],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
            [onnx.numpy_helper.from_array(values, name) for name, values in weights.items() if name in used],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    if metadata is not None:
        helper.set_model_props(model, {"ehrnet.json": json.dumps(metadata)})
    onnx.save(model, str(path))
    return path


def plan(version, model):
    """A serialized engine of the stand-in."""
    return MAGIC + json.dumps({"version": version, "size": len(model)}).encode() + b"\n" + model
