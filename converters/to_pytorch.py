"""Weights of a Keras model as a state dict that the original PyTorch network loads."""

from __future__ import annotations

import os

import keras
import numpy as np

from ehrnet_tf.converters.checkpoints import read_checkpoint, write_checkpoint
from ehrnet_tf.converters.pytorch_names import COUNTER, dimensions, dimensions_of, entries
from ehrnet_tf.errors import EhrnetError, ModelFileError, UsageError
from ehrnet_tf.models.scaling import classifier_scale, scale
from ehrnet_tf.models.weights import variant_of


def to_state_dict(model: keras.Model) -> dict[str, np.ndarray]:
    """The inverse of `from_pytorch.load_state_dict`.

    Args:
      model: an `ehrnet_tf.EfficientHRNet` of family H, or a `CompactEfficientNet`, with the published options.

    Returns:
      Entry name → array, float32; the counters of batch norms are int64 and 0.

    Raises:
      ModelFileError: the model has options that the original network has not; the message names the first.
    """
    _check_published(model)
    state: dict[str, np.ndarray] = {}
    for entry in entries(model):
        value = keras.ops.convert_to_numpy(entry.variable).transpose(np.argsort(entry.axes))
        # Heat-maps stand before tags.
        earlier = [state[entry.key]] if entry.key in state else []
        state[entry.key] = np.ascontiguousarray(np.concatenate([*earlier, value]))
        if entry.key.endswith(".running_var"):
            state[entry.key.removesuffix("running_var") + COUNTER] = np.zeros((), np.int64)
    shapes = {key: value.shape for key, value in state.items()}
    variant = variant_of(model)
    if dimensions(shapes) != dimensions_of(classifier_scale(variant) if variant[0] == "B" else scale(variant)):
        raise ModelFileError(f"{variant}: its widths are not the published ones; the original has no width_divisor")
    return state


def export_pytorch(model: keras.Model, path: str | os.PathLike) -> int:
    """Writes `to_state_dict` as a .pth, .npz or .safetensors file, and reads it again to compare.

    Returns:
      The number of entries.

    Raises:
      UsageError: another suffix.
      ModelFileError, MissingExtraError: see `to_state_dict` and `checkpoints.write_checkpoint`.
    """
    state = to_state_dict(model)
    write_checkpoint(path, state)
    written = read_checkpoint(path)
    for key, value in state.items():
        if not np.array_equal(written[key], value):
            raise EhrnetError(f"{path}: {key} reads back differently; write it again")
    return len(state)


def _check_published(model: keras.Model) -> None:
    try:
        activation = model.get_layer("backbone_stem_activation").get_config().get("activation", "relu")
    except ValueError:
        raise UsageError(f"model '{model.name}': build it by EfficientHRNet or CompactEfficientNet") from None
    if activation not in ("swish", "silu"):
        raise ModelFileError(f"{variant_of(model)}: the original network has no activation but swish")
    if not any(layer.name.endswith("_se_reduce") for layer in model.layers):
        raise ModelFileError(f"{variant_of(model)}: the original network has no variant without squeeze_excite")
