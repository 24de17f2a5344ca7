"""Losses for `model.compile`: heat-maps by masked squared error, tags by associative embedding.

Both are written with `keras.ops` alone and run on every Keras backend. Sources: associative embedding (arXiv
1611.05424) in HigherHRNet's form (arXiv 1908.10357); the hinge form of the push term follows CornerNet (arXiv
1808.01244).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ehrnet_tf.config import LossConfig

HINGE_MARGIN = 2.0  # people further apart than this cost nothing; the decoder joins tags closer than 1


@keras.saving.register_keras_serializable("ehrnet_tf")
class HeatmapLoss(keras.losses.Loss):
    """Mean squared error per cell, times ``weight``; a cell whose target is t counts 1 + focus * t times.

    y_true, y_pred: (B, H, W, K). Almost all of a target is 0; a focus above 0 keeps short training from staying there
    (the reference has none). The mask, (B, H, W) with 0 where nothing is known, is passed as sample weight; masked
    cells count as 0 in a mean over all cells, as in the reference.
    """

    def __init__(self, weight: float = 1.0, focus: float = 0.0, name: str = "heatmap_loss"):
        super().__init__(name=name)
        self.weight, self.focus = weight, focus

    def call(self, y_true, y_pred):
        error = ops.square(y_pred - y_true)
        if self.focus:
            error = error * (1.0 + self.focus * y_true)
        return self.weight * ops.mean(error, axis=-1)

    def get_config(self):
        return {"weight": self.weight, "focus": self.focus, "name": self.name}


def people_tags(joints: Any, tags: Any) -> tuple[Any, Any, Any, Any]:
    """The tag values at the people's keypoints.

    Args:
      joints: (B, P, J, 2): index into the tag map flattened channels-last, (y * W + x) * K + k, and a flag 0 or 1; J
        is K, or more where several cells count for a keypoint.
      tags: (B, H, W, K).

    Returns:
      Values (B, P, J), flags (B, P, J), means (B, P) over each person's flagged keypoints, and (B, P) 1 where a person
      has any. All float.
    """
    index = ops.cast(joints[..., 0], "int32")
    flags = ops.cast(joints[..., 1], tags.dtype)
    flat = ops.reshape(tags, (ops.shape(tags)[0], -1))
    values = ops.take_along_axis(flat, ops.reshape(index, (ops.shape(index)[0], -1)), axis=1)
    values = ops.reshape(values, ops.shape(index))
    count = ops.sum(flags, axis=-1)
    means = ops.sum(values * flags, axis=-1) / ops.maximum(count, 1.0)
    return values, flags, means, ops.cast(count > 0, tags.dtype)


@keras.saving.register_keras_serializable("ehrnet_tf")
def pull_loss(joints, tags):
    """(B,): mean over the people of the mean squared distance of a person's tags to their mean; 0 without people."""
    values, flags, means, present = people_tags(joints, tags)
    square = ops.square(values - means[..., None]) * flags
    each = ops.sum(square, axis=-1) / ops.maximum(ops.sum(flags, axis=-1), 1.0)
    return ops.sum(each, axis=-1) / ops.maximum(ops.sum(present, axis=-1), 1.0)


@keras.saving.register_keras_serializable("ehrnet_tf")
def push_loss(joints, tags, form: str = "exp"):
    """(B,): how close different people's mean tags lie, from 0 (far) to 0.5 (all equal); 0 with fewer than two people.

    Half the mean over ordered pairs of exp(-d²) ("exp", the reference) or of max(0, 1 - |d| / 2) ("hinge"), whose
    gradient does not vanish where tags coincide.
    """
    _, _, means, present = people_tags(joints, tags)
    distance = ops.abs(means[:, :, None] - means[:, None, :])
    near = ops.exp(-ops.square(distance)) if form == "exp" else ops.relu(1.0 - distance / HINGE_MARGIN)
    near = near * present[:, :, None] * present[:, None, :]
    count = ops.sum(present, axis=-1)
    pairs = ops.maximum(count * (count - 1), 1.0)
    return 0.5 * (ops.sum(near, axis=(1, 2)) - count) / pairs


@keras.saving.register_keras_serializable("ehrnet_tf")
class TagLoss(keras.losses.Loss):
    """``pull`` times `pull_loss` plus ``push`` times `push_loss`.

    y_true: joints (B, P, J, 2) as in `people_tags` (Keras hands them over as float32, exact up to 2^24); y_pred: tag
    maps (B, H, W, K). ``form``: "exp" or "hinge".
    """

    def __init__(self, pull: float = 1e-3, push: float = 1e-3, form: str = "exp", name: str = "tag_loss"):
        super().__init__(name=name)
        self.pull, self.push, self.form = pull, push, form

    def call(self, y_true, y_pred):
        return self.pull * pull_loss(y_true, y_pred) + self.push * push_loss(y_true, y_pred, self.form)

    def get_config(self):
        return {"pull": self.pull, "push": self.push, "form": self.form, "name": self.name}


def pose_losses(config: LossConfig | None = None, tags_on_both_stages: bool = False) -> dict[str, keras.losses.Loss]:
    """One loss for each output of an `EfficientHRNet`, weights included: the ``loss`` of ``model.compile``."""
    config = config or LossConfig()
    losses: dict[str, keras.losses.Loss] = {
        "heatmaps_4": HeatmapLoss(config.heatmaps_4, config.heatmap_focus),
        "tags": TagLoss(config.pull, config.push, config.tag_form),
        "heatmaps_2": HeatmapLoss(config.heatmaps_2, config.heatmap_focus),
    }
    if tags_on_both_stages:
        losses["tags_2"] = TagLoss(config.pull, config.push, config.tag_form)
    return losses


def tag_metrics() -> dict[str, list]:
    """The pull and push terms apart, unweighted: the ``metrics`` of ``model.compile``.

    A push that stays near its collapsed value beside a small pull means that all people get the same tag.
    """

    wrapper = keras.metrics.MeanMetricWrapper
    return {"tags": [wrapper(pull_loss, "pull"), wrapper(push_loss, "push")]}
