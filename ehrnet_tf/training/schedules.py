"""Learning-rate schedules with a linear warm-up."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
from keras import ops

from ehrnet_tf.config import FitConfig


@keras.saving.register_keras_serializable("ehrnet_tf")
class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear from 0 over ``warmup`` steps, then steps down or a cosine.

    Args:
      base: the rate after the warm-up.
      total: steps of the whole run.
      warmup: steps of the warm-up.
      milestones: steps at which the rate is multiplied by ``decay``; None: half a cosine from ``base`` to 0.
      decay: factor at a milestone.
      offset: steps of the run that were done before the optimizer began to count.
    """

    def __init__(
        self,
        base: float,
        total: int,
        warmup: int = 0,
        milestones: Sequence[int] | None = None,
        decay: float = 0.1,
        offset: int = 0,
    ):
        self.base, self.total, self.warmup, self.decay, self.offset = base, total, warmup, decay, offset
        self.milestones = None if milestones is None else list(milestones)

    def __call__(self, step):
        step = ops.cast(step, "float32") + self.offset
        if self.milestones is None:
            progress = ops.clip((step - self.warmup) / max(1, self.total - self.warmup), 0.0, 1.0)
            factor = 0.5 * (1.0 + ops.cos(math.pi * progress))
        else:
            factor = 1.0
            for milestone in self.milestones:
                factor = factor * ops.where(step >= milestone, self.decay, 1.0)
        return self.base * factor * ops.minimum(1.0, (step + 1.0) / max(1, self.warmup))

    def get_config(self):
        return {
            "base": self.base,
            "total": self.total,
            "warmup": self.warmup,
            "milestones": self.milestones,
            "decay": self.decay,
            "offset": self.offset,
        }


def make_schedule(config: FitConfig, steps_per_epoch: int, begin: int = 0) -> WarmupSchedule:
    """The schedule that ``config`` describes in epochs, in steps, for an optimizer that begins to count in an epoch."""
    milestones = None
    if config.schedule == "step":
        milestones = [round(m * steps_per_epoch) for m in config.milestones]
    return WarmupSchedule(
        config.learning_rate,
        config.epochs * steps_per_epoch,
        round(config.warmup_epochs * steps_per_epoch),
        milestones,
        config.decay,
        begin * steps_per_epoch,
    )
