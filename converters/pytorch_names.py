"""Which entry of the original PyTorch network's state dict each weight of a Keras model is."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

import keras

from ehrnet_tf.errors import ModelFileError
from ehrnet_tf.models.scaling import ClassifierScale, Scale, classifier_scale, scale
from ehrnet_tf.models.weights import variant_of

BACKBONE = "features."
COUNTER = "num_batches_tracked"  # PyTorch's batch norms count their updates; nothing reads the number
# Keras layer name → prefix of the entries in the PyTorch state dict.
_NAMES = [
    (r"backbone_stem_conv", "features.0.1"),
    (r"backbone_stem_bn", "features.0.2"),
    (r"transition(\d)_branch(\d)_conv", lambda t, b: f"trans{t}_branch{int(b) + 1}.0"),
    (r"transition(\d)_branch(\d)_bn", lambda t, b: f"trans{t}_branch{int(b) + 1}.1"),
    (r"stage(\d)_module(\d)_branch(\d)_block(\d)_(\w+)", "stage{}.{}.branches.{}.{}.{}"),
    (r"stage(\d)_module(\d)_fuse(\d)_from(\d)_conv", "stage{}.{}.fuse_layers.{}.{}.0"),
    (r"stage(\d)_module(\d)_fuse(\d)_from(\d)_bn", "stage{}.{}.fuse_layers.{}.{}.1"),
    (r"stage(\d)_module(\d)_fuse(\d)_from(\d)_conv(\d)", "stage{}.{}.fuse_layers.{}.{}.{}.0"),
    (r"stage(\d)_module(\d)_fuse(\d)_from(\d)_bn(\d)", "stage{}.{}.fuse_layers.{}.{}.{}.1"),
    (r"head_(?:heatmaps_4|tags)", "final_layers.0"),
    (r"head_(?:heatmaps_2|tags_2)", "final_layers.1"),
    (r"head_deconv", "deconv_layers.0.0.0"),
    (r"head_deconv_bn", "deconv_layers.0.0.1"),
    (r"classifier", "classifier.1"),
    (r"head_block(\d)_(\w+)", lambda k, rest: f"deconv_layers.0.{int(k) + 1}.0.{rest}"),
]
# Position of a layer inside a PyTorch MBConv block, without and with the expansion convolution.
_MBCONV = {
    "expand_conv": (None, "0.1"),
    "expand_bn": (None, "0.2"),
    "depthwise_conv": ("0.1", "1.1"),
    "depthwise_bn": ("0.2", "1.2"),
    "se_reduce": ("1.se.1", "2.se.1"),
    "se_expand": ("1.se.3", "2.se.3"),
    "project_conv": ("2", "3"),
    "project_bn": ("3", "4"),
}
_BATCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


@dataclasses.dataclass(frozen=True)
class Entry:
    """One weight of a Keras model and its place in the state dict.

    The PyTorch heads hold heat-maps and tags in one convolution: channels [0, K) and [K, 2 K). Kernels are stored
    (out, in, h, w), depthwise ones (C, 1, h, w), transposed ones (in, out, h, w) and dense ones (out, in); in Keras
    they are (h, w, in, out), (h, w, C, 1), (h, w, out, in) and (in, out).
    """

    variable: keras.Variable
    key: str
    channels: slice  # of the entry's first axis
    axes: tuple[int, ...]  # the entry's axes in Keras' order


def entries(model: keras.Model) -> list[Entry]:
    """An `Entry` for every weight of an `EfficientHRNet` or `CompactEfficientNet`, in the model's order.

    Raises:
      ModelFileError: the model has a layer that the original network has not.
    """
    blocks = sum(layer.name.endswith("_depthwise_conv") for layer in model.layers)
    found = []
    for layer in model.layers:
        for variable in layer.weights:
            if isinstance(layer, keras.layers.Dropout):
                continue  # its random state
            leaf = _BATCH_NORM.get(variable.name, "bias" if variable.name == "bias" else "weight")
            channels = slice(None)
            if layer.name in ("head_heatmaps_4", "head_heatmaps_2"):
                channels = slice(0, layer.filters)
            elif layer.name in ("head_tags", "head_tags_2"):
                channels = slice(layer.filters, 2 * layer.filters)
            axes = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}[len(variable.shape)]
            if layer.name.endswith("depthwise_conv"):
                axes = (2, 3, 0, 1)
            prefix = _prefix(layer.name, blocks)
            if prefix is None:
                raise ModelFileError(
                    f"{variant_of(model)}: the original network has no counterpart of layer '{layer.name}'"
                )
            found.append(Entry(variable, f"{prefix}.{leaf}", channels, axes))
    return found


def torch_shape(entry: Entry) -> tuple[int, ...]:
    """The shape of an entry, as far as its weight goes: an output layer's entry may hold more channels."""
    return tuple(entry.variable.shape[entry.axes.index(axis)] for axis in range(len(entry.axes)))


def _prefix(layer: str, blocks: int) -> str | None:
    """The prefix that a Keras layer's weights have in the state dict; ``blocks``: how many the backbone has."""
    if match := re.fullmatch(r"backbone_block(\d+)_(\w+)", layer):
        block, part = match.groups()
        return f"features.{block}.conv.{_MBCONV[part][block != '1']}"
    if layer in ("top_conv", "top_bn"):
        return f"features.{blocks + 1}.{1 if layer == 'top_conv' else 2}"
    for pattern, target in _NAMES:
        if match := re.fullmatch(pattern, layer):
            return target(*match.groups()) if callable(target) else target.format(*match.groups())
    return None


def dimensions(shapes: Mapping[str, tuple[int, ...]]) -> tuple:
    """What a state dict's shapes say of the network's size: (widths of stem and blocks, of branches, fusion modules).

    Parts that the state dict lacks are empty.
    """
    blocks = [f"features.{b}.conv.{_MBCONV['project_conv'][b > 1]}.weight" for b in range(1, len(shapes))]
    widths = [shapes[key][:1] for key in ("features.0.1.weight", *blocks) if key in shapes]
    branches = [shapes[key][:1] for b in range(1, 5) if (key := f"trans3_branch{b}.0.weight") in shapes]
    modules = {match.groups() for key in shapes if (match := re.match(r"stage(\d)\.(\d)\.", key))}
    return sum(widths, ()), sum(branches, ()), tuple(sum(s == stage for s, _ in modules) for stage in "234")


def dimensions_of(size: Scale | ClassifierScale) -> tuple:
    """What `dimensions` gives for a variant's state dict."""
    widths = (size.stem_width, *(stage.width for stage in size.stages for _ in range(stage.repeats)))
    if isinstance(size, ClassifierScale):
        return widths, (), (0, 0, 0)
    return widths, size.branch_widths, size.modules


def fitting_variant(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """The variant that a state dict is of: "H4" ... "H-8", or for a backbone or classifier "B4" ... "B-8"; or None."""
    found = dimensions(shapes)
    for phi in range(4, -9, -1):
        for size in (scale(phi), classifier_scale(phi)):
            if dimensions_of(size) == found:
                return size.name
    return None
