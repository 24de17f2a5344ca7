"""Weights of the original PyTorch EfficientHRNet, from a checkpoint of the user's own, into a Keras model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ehrnet_tf.converters.checkpoints import read_checkpoint
from ehrnet_tf.converters.pytorch_names import (
    BACKBONE,
    COUNTER,
    Entry,
    dimensions,
    entries,
    fitting_variant,
    torch_shape,
)
from ehrnet_tf.errors import ModelFileError, UsageError
from ehrnet_tf.models.efficienthrnet import EfficientHRNet
from ehrnet_tf.models.efficientnet import CompactEfficientNet
from ehrnet_tf.models.weights import variant_of
from ehrnet_tf.runtime.metadata import classifier_metadata, model_metadata, save_keras

_WRAPPERS = ("state_dict", "model")
_PREFIXES = ("module.", "model.")
_SECOND_HEAD = "final_layers.1."


def load_state_dict(model: keras.Model, state_dict: Mapping[str, Any] | str | os.PathLike) -> str:
    """Puts a PyTorch state dict into ``model``, in place, all of it or nothing.

    Every entry is accounted for. Taken as they are: a prefix "module.", a wrapping {"state_dict": ...} or
    {"model": ...}, entries in half precision, counters of batch norms left out altogether, and

    - a second head with tag channels in a model without them: those tags are left out, as the original does in testing;
    - the backbone alone: then the rest of the model keeps its weights.

    Args:
      model: an `ehrnet_tf.EfficientHRNet` of the same variant and number of keypoints, or a `CompactEfficientNet`.
        (The classifiers' last layers are named as in the implementation whose layout the original's backbone has; that
        was not checked against a released classifier.)
      state_dict: entry name → array or tensor, or a file: .npz, .safetensors (both read without PyTorch), .pth.

    Returns:
      One line that says what was loaded.

    Raises:
      ModelFileError: the file cannot be read, or entries are missing, surplus, misshapen or not finite numbers. The
        message lists all of them; where the checkpoint is of another variant, it names that variant instead.
      MissingExtraError: the package that reads the file is not installed.
    """
    if isinstance(state_dict, Mapping):
        return _load(model, *_arrays(state_dict), "the checkpoint")
    return _load(model, *_arrays(read_checkpoint(state_dict)), os.fspath(state_dict))


def _load(model: keras.Model, arrays: dict[str, np.ndarray], faults: list[str], source: str) -> str:
    """`load_state_dict` with what `_arrays` gave, and a name for error messages."""
    wanted = entries(model)
    backbone_only = bool(arrays) and all(key.startswith(BACKBONE) for key in arrays)
    if backbone_only:
        wanted = [e for e in wanted if e.variable.path.startswith("backbone_")]
    assignments, more = _match(wanted, arrays)
    if faults or more:
        raise ModelFileError(f"{source}: {_explain(model, arrays, [*faults, *more], backbone_only)}")
    for variable, value in assignments:
        variable.assign(value)
    what = "the backbone alone" if backbone_only else "the whole network"
    heads = [entry for entry in wanted if entry.key == f"{_SECOND_HEAD}bias"]
    if heads and heads[-1].channels.stop < len(arrays[heads[-1].key]):
        what += ", without the tags of its second head"
    return f"{len(arrays)} entries: {what}"


def import_checkpoint(
    checkpoint: str | os.PathLike,
    out: str | os.PathLike,
    variant: str | None = None,
    keypoints: str | os.PathLike = "coco",
    input_size: int | None = None,
    tags_on_both_stages: bool = False,
) -> tuple[str, str]:
    """Writes a checkpoint as a .keras file with metadata: a pose model, or for "B<phi>" a classifier.

    Args:
      checkpoint: see `load_state_dict`. The backbone alone makes a pose model whose other weights are random.
      out: the file to write.
      variant: "H0" ... "H-4", "B0" ... "B-4"; None: the one that the checkpoint is of.
      keypoints: of a pose model, a set's name or YAML file.
      input_size: side in pixels; None: the variant's own.
      tags_on_both_stages: keep the tags of a second head that has them.

    Returns:
      The variant, and what `load_state_dict` says.

    Raises:
      UsageError: an argument that cannot be used.
      ModelFileError: the checkpoint cannot be read or does not fit.
    """
    if Path(out).suffix != ".keras":
        raise UsageError(f"{out}: the name of a Keras model file must end in .keras")
    arrays, faults = _arrays(read_checkpoint(checkpoint))
    if variant is None:
        variant = fitting_variant(_shapes(arrays))
        if variant is None:
            raise ModelFileError(f"{checkpoint}: is of no variant known here; name the nearest by --model to see why")
    letter = variant.strip()[:1].upper()
    if letter == "E":
        raise UsageError(f"variant '{variant}': the original has no family E; choose H{variant.strip()[1:]}")
    if letter == "B":
        bias = arrays.get("classifier.1.bias")
        model = CompactEfficientNet(variant, 1000 if bias is None else max(1, bias.size), input_size)
        metadata = classifier_metadata(model)
    else:
        model = EfficientHRNet(variant, input_size, keypoints, tags_on_both_stages=tags_on_both_stages)
        metadata = model_metadata(model, keypoints=keypoints)
    loaded = _load(model, arrays, faults, os.fspath(checkpoint))
    save_keras(model, out, {**metadata, "source": str(checkpoint), "loaded": loaded})
    return variant_of(model), loaded


def _unwrap(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """The state dict itself, without wrapping and without prefixes that all entries have."""
    while inner := next((state_dict[k] for k in _WRAPPERS if isinstance(state_dict.get(k), Mapping)), None):
        state_dict = inner
    while prefix := next((p for p in _PREFIXES if state_dict and all(str(k).startswith(p) for k in state_dict)), None):
        state_dict = {key.removeprefix(prefix): value for key, value in state_dict.items()}
    return {str(key): value for key, value in state_dict.items()}


def _arrays(state_dict: Mapping) -> tuple[dict[str, np.ndarray], list[str]]:
    """The entries of a state dict, perhaps wrapped, as NumPy arrays; and what is wrong with them."""
    arrays, faults = {}, []
    for key, value in _unwrap(state_dict).items():
        if hasattr(value, "detach"):  # a PyTorch tensor; NumPy has no bfloat16
            value = value.detach().cpu()
            value = (value.float() if value.is_floating_point() else value).numpy()
        try:
            value = np.asarray(value)
            # From safetensors, bfloat16 comes as a type that NumPy counts among no numbers.
            value = value.astype(np.float32) if value.dtype.kind == "f" or value.dtype.name == "bfloat16" else value
        except (TypeError, ValueError):
            value = np.asarray(None)
        if value.dtype.kind not in "fiu":
            faults.append(f"{key} is no array of numbers")
            continue
        if not np.isfinite(value).all():
            faults.append(f"{key} holds NaN or infinity")
        arrays[key] = value
    return arrays, faults


def _shapes(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {key: value.shape for key, value in arrays.items()}


def _match(wanted: list[Entry], arrays: Mapping[str, np.ndarray]) -> tuple[list, list[str]]:
    """(variable, value) for every weight, and what is missing, surplus or misshapen."""
    assignments, faults = [], []
    lengths = _output_lengths(wanted, arrays)
    for entry in wanted:
        if entry.key not in arrays:
            faults.append(f"missing {entry.key}")
            continue
        value = arrays[entry.key]
        fits = value.ndim == len(entry.axes) and len(value) == lengths.get(entry.key, len(value))
        part = value[entry.channels].transpose(entry.axes) if fits else value
        if fits and part.shape == tuple(entry.variable.shape):
            assignments.append((entry.variable, part))
        else:
            shape = torch_shape(entry)
            shape = (lengths.get(entry.key, shape[0]), *shape[1:])
            faults.append(f"{entry.key} has shape {value.shape} instead of {shape}")
    known = {e.key for e in wanted}
    counters = {key.rsplit(".", 1)[0] + f".{COUNTER}" for key in known if key.endswith(".running_mean")}
    if any(key in arrays for key in counters):
        faults += [f"missing {key}" for key in sorted(counters) if key not in arrays]
    faults += [f"{key} is no single number" for key in sorted(counters) if key in arrays and arrays[key].ndim]
    faults += [f"surplus {key}" for key in arrays if key not in known | counters]
    return assignments, list(dict.fromkeys(faults))


def _output_lengths(wanted: list[Entry], arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
    """How many channels the entries of the output layers must have."""
    second = [len(value) for key, value in arrays.items() if key.startswith(_SECOND_HEAD) and value.ndim]
    lengths = {}
    for entry in wanted:
        if entry.channels.stop is not None:  # heat-maps stand before tags, here and in the state dict
            lengths[entry.key] = entry.channels.stop
            if entry.channels.start == 0 and entry.key.startswith(_SECOND_HEAD) and 2 * entry.channels.stop in second:
                lengths[entry.key] *= 2  # tags that the model has no use for
    return lengths


def _explain(model: keras.Model, arrays: Mapping[str, np.ndarray], faults: list[str], backbone_only: bool) -> str:
    """What does not fit, and the variant that would."""
    own, fitting = variant_of(model), fitting_variant(_shapes(arrays))
    found = dimensions(_shapes(arrays))
    mine = dimensions({entry.key: torch_shape(entry) for entry in entries(model)})
    same_size = found[0] == mine[0] if backbone_only else found == mine
    if fitting and not same_size:
        remedy = "choose that variant"
        if fitting.startswith("B") and mine[1]:
            remedy = f"choose H{fitting[1:]}, or import it as {fitting} and give that file as backbone_weights"
        return f"does not fit {own}: it holds {fitting} ({len(faults)} entries differ); {remedy}"
    return f"does not fit {own}: {'; '.join(faults)}"
