"""The network, one of its fusion modules and its head, drawn from the layers of a built model."""

from __future__ import annotations

from pathlib import Path

import keras
from how_graph import STEM, Edge, backbone_stages, branches, exchange, modules, node, producer, taps
from how_style import GREY, INK, LEFT, PALE, PEOPLE, RIGHT, bare, new, save
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from ehrnet_tf.models.scaling import variant_name

BACKBONE, BRANCH, HEAD = PEOPLE[0], PEOPLE[1], PEOPLE[2]


def box(axes: Axes, x: float, y: float, text: object, color: str, width: float = 0.76, height: float = 0.5) -> None:
    """A round box with its middle at x, y."""
    pad = 0.06
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2 + pad, y - height / 2 + pad),
            width - 2 * pad,
            height - 2 * pad,
            boxstyle=f"round,pad={pad}",
            facecolor=color,
            edgecolor="none",
            zorder=3,
        )
    )
    axes.text(x, y, str(text), ha="center", va="center", color="white", zorder=4)


def arrow(axes: Axes, start, end, color: str = GREY, width: float = 1.0, bend: float = 0.0) -> None:
    """An arrow between two points."""
    style = {"arrowstyle": "-|>,head_width=0.14,head_length=0.28", "color": color, "lw": width, "shrinkA": 0}
    style |= {"shrinkB": 0, "connectionstyle": f"arc3,rad={bend}"}
    axes.annotate("", end, start, arrowprops=style, zorder=2)


def draw(out: Path, model: keras.Model) -> list[Path]:
    """Draws all three figures."""
    return [draw_network(out, model), draw_fusion(out, model), draw_head(out, model)]


def draw_network(out: Path, model: keras.Model) -> Path:
    """Draws how_network.png: stages and taps of the backbone, branches, exchanges, head; columns run with the data."""
    figure, grid = new(4.4)
    axes = grid[0, 0]
    side = model.input_shape[1]
    levels = {side // 2**k: -k for k in range(1, 6)}  # cells a side → height in the drawing
    stages, tapped = backbone_stages(model), taps(model)

    x, at = 0.0, {}
    stem = node(model, STEM)
    box(axes, x, levels[stem.size], stem.channels, GREY)
    previous = (x, levels[stem.size])
    for stage in stages:
        last = stage[-1]
        x += 0.95
        here = (x, levels[last.size])
        box(axes, *here, last.channels, BACKBONE)
        axes.text(x, here[1] + 0.29, f"×{len(stage)}", ha="center", va="bottom", color=BACKBONE)
        _step(axes, previous, here)
        previous = here
        if last.layer in tapped:
            at[tapped.index(last.layer)] = here
    x += 1.0
    ends = _draw_modules(axes, model, at, levels, x)
    x, right = _draw_outputs(axes, model, ends, levels)

    for size, y in levels.items():
        axes.text(-0.6, y, f"1/{side // size}: {size} × {size}", ha="right", va="center", color=INK)
        axes.axhline(y, color=PALE, lw=0.8, zorder=0)
    axes.set(xlim=(-2.9, right), ylim=(-5.4, -0.35))
    bare(axes)
    axes.text(0, -1.32, "stem", ha="center", va="top", color=GREY)
    axes.text(1.6, -0.62, "backbone; ×: blocks of each stage", va="center", color=BACKBONE)
    figure.suptitle(f"{variant_name(model.name)}: numbers in boxes are channels", fontsize=10)
    return save(figure, out / "how_network.png")


def _step(axes: Axes, start, end) -> None:
    """An arrow from one box to the next, down and right or level."""
    if start[1] == end[1]:
        arrow(axes, (start[0] + 0.38, start[1]), (end[0] - 0.38, end[1]))
    else:
        arrow(axes, (start[0], start[1] - 0.25), (end[0] - 0.38, end[1]), bend=0.25)


def _draw_modules(axes: Axes, model: keras.Model, at: dict, levels: dict[int, int], x: float) -> dict:
    """Draws all modules from ``x`` on; gives where the last one's outputs lie: target branch → (x, y)."""
    ends: dict[int, tuple[float, float]] = {}
    stage = ""
    for module in modules(model):
        if module.split("_")[0] != stage:
            stage = module.split("_")[0]
            axes.text(x - 0.38, -1.45, f"stage {stage[5:]}", color=BRANCH, ha="left")
        nodes = branches(model, module)
        for b, found in enumerate(nodes):
            start = ends.get(b, at[b])
            arrow(axes, (start[0] + (0.05 if b in ends else 0.38), start[1]), (x - 0.38, levels[found.size]))
            box(axes, x, levels[found.size], found.channels, BRANCH)
        ends = {}
        for edge in exchange(model, module):
            start = (x + 0.38, levels[nodes[edge.source].size])
            end = (x + 1.0, levels[nodes[edge.target].size])
            axes.plot(*zip(start, end, strict=True), color=edge_color(edge), lw=1.1, zorder=1)
            ends[edge.target] = end
        for end in ends.values():
            axes.plot(*end, "o", color=INK, ms=4, zorder=3)
        x += 1.6
    return ends


def edge_color(edge: Edge) -> str | tuple[float, ...]:
    """Grey as it is, blue to a finer map, orange to a coarser one."""
    return GREY if edge.source == edge.target else RIGHT if edge.halvings else LEFT


def _draw_outputs(axes: Axes, model: keras.Model, ends: dict, levels: dict[int, int]) -> tuple[float, float]:
    """Draws the head; gives its x and the drawing's right end."""
    x, y = ends[0]
    x += 0.8
    outputs = {name: producer(tensor) for name, tensor in model.output.items()}
    upper = levels[node(model, outputs["heatmaps_2"]).size]
    before = producer(model.get_layer(outputs["heatmaps_2"]).input)
    count = node(model, outputs["tags"]).channels
    arrow(axes, (x - 0.75, y), (x - 0.38, y))
    box(axes, x, y, f"{count}\n{count}", HEAD)
    axes.text(x + 0.5, y, "heat-maps 1/4\nand tags", va="center", ha="left", color=HEAD)
    arrow(axes, (x, y + 0.25), (x, upper - 0.25))
    box(axes, x, upper, node(model, before).channels, HEAD)
    arrow(axes, (x + 0.38, upper), (x + 0.57, upper))
    box(axes, x + 0.95, upper, node(model, outputs["heatmaps_2"]).channels, HEAD)
    axes.text(x + 1.42, upper, "heat-\nmaps 1/2", va="center", ha="left", color=HEAD)
    return x, x + 3.1


def draw_fusion(out: Path, model: keras.Model, module: str = "stage4_module0") -> Path:
    """Draws how_fusion.png: who gives to whom in one module, and what lies on the way."""
    nodes, edges = branches(model, module), exchange(model, module)
    figure, grid = new(3.9, ncols=2, width_ratios=[1, 1.35])
    axes = grid[0, 0]
    targets = sorted({edge.target for edge in edges})
    for b, found in enumerate(nodes):
        box(axes, 0, -b, f"{found.size}×{found.size}×{found.channels}", BRANCH, 1.0, 0.52)
    for edge in edges:
        arrow(axes, (0.5, -edge.source), (1.94, -edge.target), edge_color(edge), 1.3)
    for target in targets:
        axes.plot(2.05, -target, "o", color=INK, ms=15, zorder=3)
        axes.text(2.05, -target, "+", color="white", ha="center", va="center_baseline", fontsize=13, zorder=4)
        arrow(axes, (2.15, -target), (2.5, -target), INK)
    axes.text(0, 0.62, "branches after\ntwo basic blocks", ha="center", va="center")
    axes.text(2.05, 0.62, "sum,\nReLU", ha="center", va="center")
    axes.set(xlim=(-0.6, 2.6), ylim=(-len(nodes) + 0.5, 1))
    bare(axes)
    _draw_table(grid[0, 1], nodes, edges, targets)
    figure.suptitle(f"{variant_name(model.name)}, {module}", fontsize=10)
    return save(figure, out / "how_fusion.png")


def _draw_table(axes: Axes, nodes: list, edges: list[Edge], targets: list[int]) -> None:
    """Rows: where it goes; columns: where it comes from; in the cells: layers on the way."""
    for edge in edges:
        axes.text(edge.source, -edge.target, what(edge), ha="center", va="center", color=INK)
        axes.add_patch(
            FancyBboxPatch(
                (edge.source - 0.42, -edge.target - 0.38),
                0.84,
                0.76,
                boxstyle="round,pad=0.04",
                facecolor=edge_color(edge),
                alpha=0.25,
                edgecolor="none",
            )
        )
    for b in range(len(nodes)):
        axes.text(b, 0.62, f"from 1/{4 * 2**b}", ha="center", va="center")
    for target in targets:
        axes.text(-0.55, -target, f"to\n1/{4 * 2**target}", ha="right", va="center")
    axes.set(xlim=(-1, len(nodes) - 0.5), ylim=(-len(nodes) + 0.5, 1))
    bare(axes)


def what(edge: Edge) -> str:
    """The layers of an edge in a few words."""
    if edge.halvings:
        return f"{edge.halvings} × conv\n3×3, /2\n{edge.channels[0]}→{edge.channels[-1]}"
    if edge.factor > 1:
        return f"conv 1×1\n{edge.channels[0]}→{edge.channels[-1]}\nnearest ×{edge.factor}"
    return "as it is"


def draw_head(out: Path, model: keras.Model) -> Path:
    """Draws how_head.png: from the finest branch to the three outputs."""
    outputs = {name: producer(tensor) for name, tensor in model.output.items()}
    heat, tags = (model.get_layer(outputs[name]) for name in ("heatmaps_4", "tags"))
    up = model.get_layer("head_deconv")
    blocks = sum(layer.name.endswith("_add") and layer.name.startswith("head_block") for layer in model.layers)
    before = producer(model.get_layer(outputs["heatmaps_2"]).input)
    steps = (
        (0, 0, producer(heat.input), "finest branch", BRANCH),
        (1.7, 0.75, heat.name, "conv 1×1: heatmaps_4", HEAD),
        (1.7, -0.75, tags.name, "conv 1×1: tags", HEAD),
        (3.4, 0, "head_concat", "concatenated", GREY),
        (
            5.1,
            0,
            up.name,
            f"transposed conv\n{up.kernel_size[0]}×{up.kernel_size[1]}, stride {up.strides[0]}",
            BACKBONE,
        ),
        (6.8, 0, before, f"{blocks} basic blocks", BACKBONE),
        (8.5, 0, outputs["heatmaps_2"], "conv 1×1: heatmaps_2", HEAD),
    )
    figure, grid = new(2.3)
    axes = grid[0, 0]
    for x, y, name, text, color in steps:
        found = node(model, name)
        box(axes, x, y, f"{found.size}×{found.size}×{found.channels}", color, 1.32, 0.46)
        axes.text(x, y + 0.3, text, ha="center", va="bottom", color=color)
    for start, end in ((0, 1), (0, 2), (0, 3), (1, 3), (2, 3), (3, 4), (4, 5), (5, 6)):
        a, b = steps[start], steps[end]
        arrow(axes, (a[0] + 0.66, a[1]), (b[0] - 0.66, b[1]), INK)
    axes.set(xlim=(-0.75, 9.35), ylim=(-1.1, 1.4))
    bare(axes)
    return save(figure, out / "how_head.png")
