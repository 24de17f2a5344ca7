"""Reading the structure of a built EfficientHRNet: only its layers, their tensors and what is connected with what."""

from __future__ import annotations

import dataclasses
import re

import keras

STEM = "backbone_stem_activation"


@dataclasses.dataclass(frozen=True)
class Node:
    """A layer's output: its name, cells a side and channels."""

    layer: str
    size: int
    channels: int


@dataclasses.dataclass(frozen=True)
class Edge:
    """What a module does to branch ``source``'s map before it is added to branch ``target``'s sum.

    Attributes:
      source, target: branches, 0 the finest.
      layers: the layers in between, first to last; none where the map is taken as it is.
      halvings: how many of them are convolutions of stride 2.
      factor: by what the last one enlarges the map, 1 if it does not.
      channels: widths of the convolutions, in and out.
    """

    source: int
    target: int
    layers: tuple[str, ...]
    halvings: int
    factor: int
    channels: tuple[int, ...]


def node(model: keras.Model, name: str) -> Node:
    """The output of a layer."""
    _, size, _, channels = model.get_layer(name).output.shape
    return Node(name, size, channels)


def producer(tensor) -> str:
    """The name of the layer that gives a tensor."""
    return tensor._keras_history.operation.name


def backbone_stages(model: keras.Model) -> list[list[Node]]:
    """The outputs of the backbone's blocks, those of one size and width together."""
    blocks: dict[int, str] = {}
    for layer in model.layers:
        if match := re.match(r"backbone_block(\d+)_", layer.name):
            blocks[int(match[1])] = layer.name  # the last layer of a block stays
    stages: list[list[Node]] = []
    for _, name in sorted(blocks.items()):
        found = node(model, name)
        if not stages or (stages[-1][0].size, stages[-1][0].channels) != (found.size, found.channels):
            stages.append([])
        stages[-1].append(found)
    return stages


def taps(model: keras.Model) -> list[str]:
    """The layers whose outputs enter the branches, the finest first: inputs of the transition where a branch begins."""
    begins = [(1, 0), (1, 1), (2, 2), (3, 3)]
    return [producer(model.get_layer(f"transition{t}_branch{b}_conv").input) for t, b in begins]


def modules(model: keras.Model) -> list[str]:
    """The names of the fusion modules, in the order of the data."""
    found = (re.match(r"stage\d+_module\d+", layer.name) for layer in model.layers)
    return sorted({match[0] for match in found if match})


def branches(model: keras.Model, module: str) -> list[Node]:
    """What the branches of a module hold before the exchange."""
    found = (re.match(rf"{module}_branch(\d+)_block(\d+)_relu2$", layer.name) for layer in model.layers)
    last = {int(match[1]): match[0] for match in found if match}  # layers come in the order of the data
    return [node(model, last[b]) for b in sorted(last)]


def exchange(model: keras.Model, module: str) -> list[Edge]:
    """What goes from which branch to which in a module, found by walking the graph back from its sums."""
    sources = {found.layer: b for b, found in enumerate(branches(model, module))}
    edges = []
    for layer in model.layers:
        if match := re.match(rf"{module}_fuse(\d+)_add$", layer.name):
            edges += [_walk(model, tensor, int(match[1]), sources) for tensor in layer.input]
    return edges


def _walk(model: keras.Model, tensor, target: int, sources: dict[str, int]) -> Edge:
    path = []
    while (name := producer(tensor)) not in sources:
        path.insert(0, model.get_layer(name))
        tensor = path[0].input
    convs = [layer for layer in path if isinstance(layer, keras.layers.Conv2D)]
    ups = [layer.size[0] for layer in path if isinstance(layer, keras.layers.UpSampling2D)]
    return Edge(
        source=sources[name],
        target=target,
        layers=tuple(layer.name for layer in path),
        halvings=sum(layer.strides[0] == 2 for layer in convs),
        factor=ups[0] if ups else 1,
        channels=(tensor.shape[-1], *(layer.filters for layer in convs)),
    )
