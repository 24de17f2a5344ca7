"""Weights of the original PyTorch EfficientHRNet, from a checkpoint of the user's own, into a Keras model."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from ehrnet_tf.errors import ModelFileError

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


def torch_prefix(layer_name: str) -> str:
    """The prefix that a Keras layer's weights have in the state dict."""
    if match := re.fullmatch(r"backbone_block(\d+)_(\w+)", layer_name):
        block, part = match.groups()
        return f"features.{block}.conv.{_MBCONV[part][block != '1']}"
    for pattern, target in _NAMES:
        if match := re.fullmatch(pattern, layer_name):
            return target(*match.groups()) if callable(target) else target.format(*match.groups())
    raise ValueError(f"layer '{layer_name}' has no counterpart in the PyTorch network")


def torch_entries(model) -> list[tuple[object, str, slice, tuple[int, ...] | None]]:
    """(Keras variable, state-dict key, slice of output channels, axes order or None) for every weight of the model.

    The PyTorch heads hold heat-maps and tags in one convolution: channels [0, K) and [K, 2K). Kernels are stored
    (out, in, h, w), depthwise ones (C, 1, h, w), transposed ones (in, out, h, w); in Keras they are (h, w, in, out),
    (h, w, C, 1) and (h, w, out, in).
    """
    entries = []
    for layer in model.layers:
        for variable in layer.weights:
            if "seed" in variable.name:
                continue  # a dropout layer's random state
            prefix = torch_prefix(layer.name)
            leaf = _BATCH_NORM.get(variable.name, "bias" if variable.name == "bias" else "weight")
            channels, axes = slice(None), None
            if layer.name in ("head_heatmaps_4", "head_heatmaps_2"):
                channels = slice(0, layer.filters)
            elif layer.name in ("head_tags", "head_tags_2"):
                channels = slice(layer.filters, 2 * layer.filters)
            if len(variable.shape) == 4:
                axes = (2, 3, 0, 1) if layer.name.endswith("depthwise_conv") else (2, 3, 1, 0)
            entries.append((variable, f"{prefix}.{leaf}", channels, axes))
    return entries


def load_state_dict(model, state_dict: Mapping[str, np.ndarray]) -> None:
    """Puts a PyTorch state dict into ``model`` (changed in place).

    Args:
      model: an `ehrnet_tf.EfficientHRNet` with the same variant and keypoints.
      state_dict: entry name → array, as in the original checkpoints. A second head with tag channels is accepted by a
        model without them (testing ignores those tags, as in the original).

    Raises:
      ModelFileError: entries are missing, surplus or of another shape; the message lists all of them.
    """
    remaining = {
        key.removeprefix("module."): np.asarray(value)
        for key, value in state_dict.items()
        if not key.endswith("num_batches_tracked")
    }
    used: set[str] = set()
    faults: list[str] = []
    assignments = []
    for variable, key, channels, axes in torch_entries(model):
        if key not in remaining:
            faults.append(f"missing {key}")
            continue
        value = remaining[key][channels]
        used.add(key)
        if axes is not None and value.ndim == len(axes):
            value = value.transpose(axes)
        if value.shape != tuple(variable.shape):
            faults.append(f"{key} has shape {remaining[key].shape}, which does not fit {tuple(variable.shape)}")
            continue
        assignments.append((variable, value))
    faults += [f"surplus {key}" for key in remaining if key not in used]
    if faults:
        shown = "; ".join(dict.fromkeys(faults))
        raise ModelFileError(f"the checkpoint does not fit {model.name}: {shown}")
    for variable, value in assignments:
        variable.assign(value)
