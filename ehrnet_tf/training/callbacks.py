"""What happens between epochs: figures, validation by AP, checkpoints, curves.

The callbacks share the ``logs`` of an epoch: those that add figures stand before those that write them.
"""

from __future__ import annotations

import csv
import math
import os
import time
from pathlib import Path

import keras

from ehrnet_tf.config import Config
from ehrnet_tf.data.coco import Records
from ehrnet_tf.errors import EhrnetError
from ehrnet_tf.files import atomic_path
from ehrnet_tf.models.weights import all_trainable

POSE_CURVES = {
    "Losses": ["loss", "heatmaps_4_loss", "heatmaps_2_loss", "tags_loss"],
    "Tag terms": ["tags_pull", "tags_push"],
    "Validation": ["AP", "AP50"],
    "Learning rate": ["learning_rate"],
}


class StopOnNaN(keras.callbacks.Callback):
    """Ends the run before a broken epoch is saved."""

    def on_epoch_end(self, epoch, logs=None):
        if not math.isfinite(logs["loss"]):
            raise EhrnetError(
                f"epoch {epoch + 1}: the loss is {logs['loss']}; the last good epoch is kept in last.keras; "
                "lower train.learning_rate or lengthen train.warmup_epochs"
            )


class EpochFigures(keras.callbacks.Callback):
    """Adds "learning_rate" and "seconds"."""

    def on_epoch_begin(self, epoch, logs=None):
        self._begin = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        logs["seconds"] = round(time.perf_counter() - self._begin, 2)


class ValidationAP(keras.callbacks.Callback):
    """Adds "AP" and "AP50" every so many epochs and after the last (else NaN), and keeps the best model.

    Args:
      config: the run's configuration.
      data: the data folder.
      out: the run folder; ``best.keras`` is written there. A best AP already in its log.csv is not fallen below.
      records: the validation pictures.
    """

    def __init__(self, config: Config, data: str | os.PathLike, out: str | os.PathLike, records: Records):
        super().__init__()
        self._config, self._data, self._out, self._records = config, data, Path(out), records
        self.best_ap, self.best_epoch = -1.0, 0
        for row in read_log(self._out / "log.csv"):
            if row["AP"] > self.best_ap:
                self.best_ap, self.best_epoch = row["AP"], int(row["epoch"]) + 1
        self._runner = None

    def on_epoch_end(self, epoch, logs=None):
        from ehrnet_tf.evaluation import evaluate
        from ehrnet_tf.runtime.metadata import model_metadata, save_keras
        from ehrnet_tf.runtime.runners import KerasRunner

        logs["AP"] = logs["AP50"] = math.nan
        last = epoch + 1 == self._config.train.epochs
        if (epoch + 1) % self._config.train.validate_every and not last:
            return
        metadata = model_metadata(self.model, self._config)
        if self._runner is None:
            self._runner = KerasRunner(self.model, metadata=metadata)
        figures = evaluate(
            self._runner,
            self._data,
            self._config.data.val_split,
            settings=self._config.decode,
            progress=False,
            records=self._records,
        )
        logs["AP"], logs["AP50"] = figures["AP"], figures["AP50"]
        if logs["AP"] > self.best_ap:
            self.best_ap, self.best_epoch = logs["AP"], epoch + 1
            metadata["accuracy"] = {"AP": logs["AP"], "data": str(self._data), "split": self._config.data.val_split}
            with all_trainable(self.model):
                save_keras(self.model, self._out / "best.keras", metadata)


class Log(keras.callbacks.Callback):
    """Appends every epoch's figures to a CSV file as one line, and draws them all as ``curves.png`` beside it.

    Args:
      path: the CSV file.
      curves: see `draw_curves`.
    """

    def __init__(self, path: str | os.PathLike, curves: dict[str, list[str]]):
        super().__init__()
        self._path, self._curves = Path(path), curves

    def on_epoch_end(self, epoch, logs=None):
        row = {"epoch": epoch, **{key: float(logs[key]) for key in sorted(logs)}}
        new = not self._path.is_file()
        with open(self._path, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, row.keys())
            if new:
                writer.writeheader()
            writer.writerow(row)
        draw_curves(read_log(self._path), self._path.with_name("curves.png"), self._curves)


class Checkpoint(keras.callbacks.Callback):
    """Saves the whole state of the model and its optimizer after every epoch, atomically."""

    def __init__(self, path: str | os.PathLike):
        super().__init__()
        self._path = path

    def on_epoch_end(self, epoch, logs=None):
        with atomic_path(self._path) as temporary:
            self.model.save(temporary)


def read_log(path: Path) -> list[dict[str, float]]:
    """The lines of a log.csv as numbers; none if there is no such file."""
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def draw_curves(rows: list[dict[str, float]], path: str | os.PathLike, curves: dict[str, list[str]]) -> None:
    """Draws columns of a log over the epochs, as a PNG.

    Args:
      rows: the log's lines.
      path: the file.
      curves: title of each of four panels → its columns. The first has a logarithmic axis, the third reaches from 0
        to 1.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7), layout="constrained")
    epochs = [row["epoch"] + 1 for row in rows]
    for number, (axes, (title, keys)) in enumerate(zip(figure.subplots(2, 2).flat, curves.items(), strict=True)):
        for key in keys:
            points = [(e, row[key]) for e, row in zip(epochs, rows, strict=True) if math.isfinite(row[key])]
            if points:
                axes.plot(*zip(*points, strict=True), label=key, marker="." if len(points) < 40 else None)
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        if number == 0:
            axes.set_yscale("log")
        if number == 2:
            axes.set_ylim(0, 1)
        if axes.lines:
            axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)
