"""Weights from files into models."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import keras

from ehrnet_tf.errors import ModelFileError
from ehrnet_tf.models.scaling import variant_name

logger = logging.getLogger("ehrnet_tf.models")


def load_weights(model: keras.Model, path: str | os.PathLike) -> None:
    """Puts the weights of a `.keras` or `.weights.h5` file into a model of the same structure.

    Raises:
      ModelFileError: no such file, or it does not fit.
    """
    if not Path(path).is_file():
        raise ModelFileError(f"{path}: no such weights file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one for every layer that is not in the file
            model.load_weights(path)
    except Exception as error:
        raise ModelFileError(f"{path}: does not fit {variant_of(model)} ({_line(error)})") from error


def with_free_size(model: keras.Model) -> keras.Model:
    """A copy of the network for inputs of any height and width (multiples of 32)."""
    config = model.get_config()
    for layer in config["layers"]:
        if layer["class_name"] == "InputLayer":
            layer["config"]["batch_shape"] = (None, None, None, 3)
    free = keras.Model.from_config(config)
    free.set_weights(model.get_weights())
    return free


def load_backbone(model: keras.Model, source: str | os.PathLike | keras.Model) -> None:
    """Puts the backbone's weights of another model into a model.

    All or nothing: layers are matched by name, and every weight of either backbone must have its counterpart.

    Args:
      model: an `EfficientHRNet` or `CompactEfficientNet`.
      source: a `CompactEfficientNet` or `EfficientHRNet`, or the `.keras` file of one, or the `.weights.h5` file of a
        `CompactEfficientNet`.

    Raises:
      ModelFileError: no such file, no backbone in it, or one of another size or with other options; the message lists
        what does not fit and names the model that the file holds.
    """
    path = source.name if isinstance(source, keras.Model) else os.fspath(source)
    if not isinstance(source, keras.Model):
        source = _classifier_from_weights(model, path) if path.endswith(".weights.h5") else open_keras(path)
    wanted, found = _backbone_weights(model), _backbone_weights(source)
    if not found:
        raise ModelFileError(f"{path}: holds no backbone of this package; give what `ehrnet pretrain` writes")
    faults = [f"missing {key}" for key in wanted if key not in found]
    faults += [f"surplus {key}" for key in found if key not in wanted]
    faults += [
        f"{key} has shape {tuple(found[key].shape)} instead of {tuple(weight.shape)}"
        for key, weight in wanted.items()
        if key in found and found[key].shape != weight.shape
    ]
    if faults:
        raise ModelFileError(
            f"{path}: its backbone, of {variant_of(source)}, does not fit {variant_of(model)} (choose the same number "
            f"and the same squeeze_excite): {'; '.join(faults)}"
        )
    kinds = [activation_of(m) for m in (source, model)]
    if kinds[0] != kinds[1]:
        logger.warning("%s: its backbone was trained with %s, %s has %s", path, kinds[0], variant_of(model), kinds[1])
    for key, weight in wanted.items():
        weight.assign(found[key])


def _classifier_from_weights(model: keras.Model, path: str) -> keras.Model:
    """The classifier on the same backbone as ``model``'s, with the weights of a `.weights.h5` file."""
    import h5py

    from ehrnet_tf.models.efficientnet import CompactEfficientNet  # which needs this module

    if not Path(path).is_file():
        raise ModelFileError(f"{path}: no such weights file")
    try:
        with h5py.File(path) as file:
            classes = file["layers/dense/vars/1"].shape[0]
    except (OSError, KeyError):
        raise ModelFileError(f"{path}: holds no CompactEfficientNet's weights; give a .keras file") from None
    classifier = CompactEfficientNet(
        f"B{variant_of(model)[1:]}",
        classes,
        activation=activation_of(model),
        squeeze_excite=any(layer.name.endswith("_se_reduce") for layer in model.layers),
    )
    load_weights(classifier, path)
    return classifier


def open_keras(path: str | os.PathLike) -> keras.Model:
    """The model in a `.keras` file.

    Raises:
      ModelFileError: no such file, or it is none.
    """
    if not Path(path).is_file():
        raise ModelFileError(f"{path}: no such model file")
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises all kinds of errors on files that are not its own
        raise ModelFileError(f"{path}: not a whole Keras model file ({_line(error)}); save or copy it again") from error


def backbone_layers(model: keras.Model) -> list[keras.Layer]:
    """The layers of a model that belong to its backbone."""
    return [layer for layer in model.layers if layer.name.startswith("backbone_")]


@contextlib.contextmanager
def all_trainable(model: keras.Model) -> Iterator[None]:
    """Thaws the backbone for the block; a training graph that exists goes on as it was traced."""
    frozen = [layer for layer in backbone_layers(model) if not layer.trainable]
    for layer in frozen:
        layer.trainable = True
    try:
        yield
    finally:
        for layer in frozen:
            layer.trainable = False


def _backbone_weights(model: keras.Model) -> dict[str, keras.Variable]:
    """layer/variable → weight; random states of dropout layers are none."""
    return {
        f"{layer.name}/{weight.name}": weight
        for layer in backbone_layers(model)
        for weight in layer.weights
        if not isinstance(layer, keras.layers.Dropout)
    }


def activation_of(model: keras.Model) -> str:
    """ "swish", "relu" or "relu6": the activation of a model's backbone."""
    layer = model.get_layer("backbone_stem_activation")
    if isinstance(layer, keras.layers.ReLU):
        return "relu" if layer.max_value is None else "relu6"
    return "swish"


def variant_of(model: keras.Model) -> str:
    """The variant's name, or the model's where that says none."""
    return variant_name(model.name) or model.name


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
