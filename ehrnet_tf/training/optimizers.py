"""Optimizers as the configuration names them, and the moving average of the weights that they keep."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import numpy as np

from ehrnet_tf.config import FitConfig
from ehrnet_tf.training.muon import Muon
from ehrnet_tf.training.schedules import make_schedule

_UNDECAYED = ["bias", "gamma", "beta"]


def make_optimizer(
    config: FitConfig, steps_per_epoch: int, model: keras.Model, begin: int = 0, resumed: bool = False
) -> keras.optimizers.Optimizer:
    """The optimizer that ``config`` names, with its schedule, for the weights of ``model`` that are trained now.

    Args:
      config: of the run.
      steps_per_epoch: of the run.
      model: with ``trainable`` set.
      begin: the epoch in which this optimizer begins, or began.
      resumed: go on with the optimizer that the model was loaded with, its moments and its count, if it is one for the
        same weights. The schedule is new: the configuration may want more epochs now.
    """
    schedule = make_schedule(config, steps_per_epoch, begin)
    decay = config.weight_decay or (0.004 if config.optimizer == "adamw" else None)
    mine = getattr(model, "optimizer", None)
    if resumed and mine is not None and len(inner(mine)._trainable_variables) == len(model.trainable_variables):
        optimizer = inner(mine)
        optimizer.learning_rate, optimizer.weight_decay, optimizer.global_clipnorm = schedule, decay, config.clip_norm
        if decay:  # which weights have none is not saved
            optimizer.exclude_from_weight_decay(var_names=_UNDECAYED)
        return _end_as_it_is(mine)
    options: dict = {"global_clipnorm": config.clip_norm, "weight_decay": decay}
    if ema := getattr(config, "ema", None):
        options |= {"use_ema": True, "ema_momentum": ema}
    kinds = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "sgd": lambda rate, **more: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, **more),
        "muon": Muon,
    }
    optimizer = kinds[config.optimizer](schedule, **options)
    if decay:
        optimizer.exclude_from_weight_decay(var_names=_UNDECAYED)
    if getattr(config, "precision", None) == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    # A training graph that makes the optimizer's variables itself is traced twice.
    optimizer.build(model.trainable_variables)
    return _end_as_it_is(optimizer)


def _end_as_it_is(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """`model.fit` would end with the weights' moving average in place of the weights, and a run has several fits."""
    inner(optimizer).finalize_variable_values = lambda variables: None
    return optimizer


def inner(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """The optimizer inside a `LossScaleOptimizer`, any other itself."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def averaged_weights(model: keras.Model) -> list[np.ndarray]:
    """``model.get_weights()`` with the weights' moving average, if its optimizer keeps one; nothing is assigned."""
    optimizer = inner(model.optimizer)
    averages = {}
    if optimizer.use_ema:
        pairs = zip(optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True)
        averages = {id(variable): average for variable, average in pairs}
    return [keras.ops.convert_to_numpy(averages.get(id(weight), weight)) for weight in model.weights]


@contextlib.contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """``model`` with its weights' moving average for the block, if its optimizer keeps one."""
    optimizer = inner(model.optimizer)
    if not optimizer.use_ema:
        yield
        return
    variables = optimizer._trainable_variables
    own = [keras.ops.convert_to_numpy(variable) for variable in variables]
    optimizer._overwrite_model_variables_with_average_value(variables)
    try:
        yield
    finally:
        for variable, value in zip(variables, own, strict=True):
            variable.assign(value)
