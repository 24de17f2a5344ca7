"""What happens between epochs: figures, validation by AP, checkpoints, curves.

The callbacks share the ``logs`` of an epoch: those that add figures stand before those that write them.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import keras

from ehrnet_tf.config import Config
from ehrnet_tf.data.coco import Records
from ehrnet_tf.models.weights import all_trainable
from ehrnet_tf.training.checkpoint import check_loss
from ehrnet_tf.training.logs import duration, read_log
from ehrnet_tf.training.optimizers import averaged, averaged_weights

logger = logging.getLogger("ehrnet_tf.training")

_VALIDATED = ("AP", "AP50", "AP_true_groups", "AP_true_heatmaps")


class StopOnNaN(keras.callbacks.Callback):
    """Ends the run before a broken epoch is saved."""

    def on_epoch_end(self, epoch, logs=None):
        check_loss(logs["loss"], epoch)


class EpochFigures(keras.callbacks.Callback):
    """Adds "learning_rate" and "seconds", and says every so often how far an epoch is.

    Args:
      batch: pictures a step.
      steps: an epoch.
      every: seconds between two lines.
    """

    def __init__(self, batch: int, steps: int, every: float = 300.0):
        super().__init__()
        self._batch, self._steps, self._every = batch, steps, every

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch, self._begin, self._done = epoch, time.perf_counter(), 0
        self._said = self._begin

    def on_train_batch_end(self, batch, logs=None):
        self._done += 1
        now = time.perf_counter()
        if now < self._said + self._every:
            return
        self._said = now
        rate = self._done / (now - self._begin)
        logger.info(
            "epoch %d, step %d of %d: loss %.4g, %.3g pictures a second, %s left of the epoch",
            self._epoch + 1,
            self._steps - self.params["steps"] + batch + 1,
            self._steps,
            logs["loss"],
            rate * self._batch,
            duration((self.params["steps"] - batch - 1) / rate),
        )

    def on_epoch_end(self, epoch, logs=None):
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        logs["seconds"] = round(time.perf_counter() - self._begin, 2)


class ValidationAP(keras.callbacks.Callback):
    """Adds "AP", "AP50" and the two APs of `evaluation.bounds` every so many epochs and after the last (else NaN), and
    keeps the best model.

    Args:
      config: the run's configuration.
      data: the data folder.
      out: the run folder; ``best.keras`` is written there. A best AP already in its log.csv is not fallen below.
      records: the validation pictures.
      apart: a context in which this process computes by itself.
      copy: makes a model of the same weights that is validated and kept in the place of the trained one (for another
        size or precision, or a model that is spread over devices); None: the trained one is.
      write: whether this process validates.
    """

    def __init__(
        self,
        config: Config,
        data: str | os.PathLike,
        out: str | os.PathLike,
        records: Records,
        apart: Callable[[], AbstractContextManager] = contextlib.nullcontext,
        copy: Callable[[], keras.Model] | None = None,
        write: bool = True,
    ):
        super().__init__()
        self._config, self._data, self._out, self._records = config, data, Path(out), records
        self.apart, self._copy, self._write = apart, copy, write
        self.best_ap, self.best_epoch = -1.0, 0
        for row in read_log(self._out / "log.csv"):
            if row["AP"] > self.best_ap:
                self.best_ap, self.best_epoch = row["AP"], int(row["epoch"]) + 1
        self.runner: Any = None  # of the model as validated last

    def on_epoch_end(self, epoch, logs=None):
        logs.update(dict.fromkeys(_VALIDATED, math.nan))
        last = epoch + 1 == self._config.train.epochs
        if not self._write or ((epoch + 1) % self._config.train.validate_every and not last):
            return
        if self._copy:
            weights = averaged_weights(self.model)
            with self.apart():
                self._validate(epoch, logs, weights)
        else:
            with averaged(self.model):
                self._validate(epoch, logs, None)

    def _validate(self, epoch, logs, weights):
        from ehrnet_tf.evaluation import evaluate
        from ehrnet_tf.runtime.metadata import model_metadata, save_keras
        from ehrnet_tf.runtime.runners import KerasRunner

        if self.runner is None:
            model = self._copy() if self._copy else self.model
            self.runner = KerasRunner(model, metadata=model_metadata(model, self._config))
        model, metadata = self.runner.model, dict(self.runner.metadata)
        if weights is not None:
            model.set_weights(weights)
        figures = evaluate(
            self.runner,
            self._data,
            self._config.data.val_split,
            settings=self._config.decode,
            progress=False,
            records=self._records,
            bounds=True,
        )
        logs.update({name: figures[name] for name in _VALIDATED})
        if logs["AP"] > self.best_ap:
            self.best_ap, self.best_epoch = logs["AP"], epoch + 1
            metadata["accuracy"] = {"AP": logs["AP"], "data": str(self._data), "split": self._config.data.val_split}
            with all_trainable(model):
                save_keras(model, self._out / "best.keras", metadata)
