"""What a run tells of itself: log.csv, curves.png, a line an epoch, TensorBoard."""

from __future__ import annotations

import csv
import io
import logging
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from ehrnet_tf.errors import DataError
from ehrnet_tf.files import atomic_path, write_text

if TYPE_CHECKING:
    from ehrnet_tf.training.callbacks import ValidationAP

logger = logging.getLogger("ehrnet_tf.training")

POSE_CURVES = {
    "Losses": ["loss", "heatmaps_4_loss", "heatmaps_2_loss", "tags_loss"],
    "Tag terms": ["tags_pull", "tags_push"],
    "Validation": ["AP", "AP50", "AP_true_groups", "AP_true_heatmaps"],
    "Learning rate": ["learning_rate"],
}


class Log(keras.callbacks.Callback):
    """Adds every epoch's figures to a CSV file as one line, draws them all as ``curves.png`` beside it, and says them.

    Args:
      path: the CSV file.
      curves: see `draw_curves`.
      epochs: of the whole run.
    """

    def __init__(self, path: str | os.PathLike, curves: dict[str, list[str]], epochs: int):
        super().__init__()
        self._path, self._curves, self._epochs = Path(path), curves, epochs
        self._begin: tuple[int, float] | None = None

    def on_epoch_begin(self, epoch, logs=None):
        if self._begin is None:
            self._begin = (epoch, time.perf_counter())

    def on_epoch_end(self, epoch, logs=None):
        rows = read_log(self._path)
        rows.append({"epoch": epoch, **{key: float(logs[key]) for key in sorted(logs)}})
        write_log(self._path, rows)
        draw_curves(rows, self._path.with_name("curves.png"), self._curves)
        first, begin = self._begin
        left = (time.perf_counter() - begin) / (epoch + 1 - first) * (self._epochs - epoch - 1)
        logger.info("epoch %d of %d: %s; %s", epoch + 1, self._epochs, epoch_line(rows[-1]), f"{duration(left)} left")


def epoch_line(row: dict[str, float]) -> str:
    """An epoch's figures in words: losses, AP, and whether heat-maps or tags hold it back.

    Args:
      row: a line of log.csv.
    """
    terms = [f"{name.removesuffix('_loss')} {row[name]:.3g}" for name in row if name.endswith("_loss")]
    text = f"loss {row['loss']:.4g}" + (f" ({', '.join(terms)})" if terms else "")
    if "val_accuracy" in row:
        text += f", validation accuracy {row['val_accuracy']:.3f}"
    if math.isfinite(row.get("AP", math.nan)):
        groups, heatmaps = row["AP_true_groups"], row["AP_true_heatmaps"]
        culprit = "heat-maps hold" if heatmaps >= groups else "tags hold"
        text += (
            f", AP {row['AP']:.3f} (with true grouping {groups:.3f}, with true heat-maps {heatmaps:.3f}: "
            f"the {culprit} it back)"
        )
    return text


def duration(seconds: float) -> str:
    """About how long, in words: "3 h 20 min"."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{max(0, round(seconds))} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class TensorBoard(keras.callbacks.Callback):
    """Writes every epoch's figures for TensorBoard, and pictures with the poses that the network finds.

    Args:
      folder: the log folder.
      validator: whose runner finds the poses; None: no pictures.
      records: the first `PICTURES` of them are drawn.
    """

    PICTURES = 4
    SIDE = 512  # pixels

    def __init__(self, folder: str | os.PathLike, validator: ValidationAP | None = None, records: Sequence = ()):
        super().__init__()
        self._folder, self._validator, self._records = str(folder), validator, records[: self.PICTURES]
        self._writer: Any = None
        self._failed = False

    def on_epoch_end(self, epoch, logs=None):
        import tensorflow as tf

        if self._failed:
            return
        try:
            self._writer = self._writer or tf.summary.create_file_writer(self._folder)
            with self._writer.as_default(step=epoch + 1):
                self._write(logs)
            self._writer.flush()
        except tf.errors.OpError as error:
            self._failed = True
            logger.warning("%s: not written any more (%s)", self._folder, error.message.splitlines()[0])

    def _write(self, logs):
        import tensorflow as tf

        for name, value in logs.items():
            if math.isfinite(value):
                tf.summary.scalar(_tensorboard_name(name), value)
        if math.isfinite(logs.get("AP", math.nan)):
            for number, picture in enumerate(self._pictures()):
                tf.summary.image(f"validation/{number}", picture[None])

    def _pictures(self):
        from ehrnet_tf.images import decode_image
        from ehrnet_tf.runtime.estimator import PoseEstimator
        from ehrnet_tf.runtime.letterbox import letterbox

        estimator = PoseEstimator(self._validator.runner)
        for record in self._records:
            try:
                picture = letterbox(decode_image(record.read(), record.path), (self.SIDE, self.SIDE))[0]
            except DataError:
                continue
            with self._validator.apart():
                poses = estimator(picture)
            yield poses.draw(picture)


def _tensorboard_name(name: str) -> str:
    """Figures of a kind share a heading."""
    if name.endswith("loss"):
        return f"loss/{name}"
    if name.startswith(("AP", "val_")):
        return f"validation/{name}"
    return f"training/{name}"


def read_log(path: Path) -> list[dict[str, float]]:
    """The lines of a log.csv as numbers; none if there is no such file."""
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def write_log(path: Path, rows: list[dict[str, float]]) -> None:
    """Writes the lines of a log.csv, all of them or nothing."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys() if rows else ["epoch"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "epoch": int(row["epoch"])} for row in rows)
    write_text(path, text.getvalue())


def draw_curves(rows: list[dict[str, float]], path: str | os.PathLike, curves: dict[str, list[str]]) -> None:
    """Draws columns of a log over the epochs, as a PNG.

    Args:
      rows: the log's lines.
      path: the file.
      curves: title of each of four panels → its columns. The first has a logarithmic axis, the third reaches from 0
        to 1.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7))
    figure.subplots_adjust(0.06, 0.08, 0.98, 0.95, wspace=0.14, hspace=0.32)  # a third of the time of a layout engine
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
