"""One training of a classifier, from a configuration and a folder of class folders to a run folder.

RUN/config.yaml, run.json, log.csv, curves.png, train.log, tensorboard/, last.keras    as of `training.train`
RUN/best.keras     the epoch with the highest validation accuracy, with the classes' names: for ``backbone_weights``
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from pathlib import Path

import keras

from ehrnet_tf.config import PretrainConfig, save_config
from ehrnet_tf.data.class_folders import ClassPictures, class_dataset, read_class_folders
from ehrnet_tf.errors import DataError, UsageError
from ehrnet_tf.models.efficientnet import CompactEfficientNet
from ehrnet_tf.models.scaling import classifier_scale
from ehrnet_tf.runtime.metadata import classifier_metadata, save_keras
from ehrnet_tf.training import checkpoint, logs, run
from ehrnet_tf.training.devices import Devices
from ehrnet_tf.training.fused import fuse_batch_norm
from ehrnet_tf.training.optimizers import make_optimizer

CURVES = {
    "Losses": ["loss", "val_loss"],
    "Seconds": ["seconds"],
    "Accuracy": ["accuracy", "val_accuracy"],
    "Learning rate": ["learning_rate"],
}

logger = logging.getLogger("ehrnet_tf.training")


def pretrain(config: PretrainConfig, data: str | os.PathLike, out: str | os.PathLike, resume: bool = False) -> dict:
    """Trains a `CompactEfficientNet`, validates and writes the run folder described above.

    Without a GPU, TensorFlow's options change for the whole process, as in `training.train`.

    Args:
      config: the experiment.
      data: a folder of class folders, see `data.class_folders`.
      out: the run folder; must be new or empty unless ``resume``.
      resume: go on from ``out/last.keras``, with pictures in a new order.

    Returns:
      {"best_accuracy", "best_epoch", "epochs", "classes", "run"}.

    Raises:
      UsageError: ``out`` holds files already, or nothing to resume; too few pictures for one batch.
      DataError: the data cannot be used.
      ModelFileError: ``config.model.weights`` is missing or does not fit.
      EhrnetError: the loss became NaN or infinite; the last good epoch stays in last.keras.
    """
    out = Path(out)
    state = run.stored_state(out, config) if resume else None
    if not resume:
        run.check_new(out)
    size = config.model.input_size or classifier_scale(config.model.variant).input_size
    run.tune()
    pictures = read_class_folders(data, config.data, config.train.seed)
    if len(pictures.train) < config.train.batch_size:
        raise UsageError(
            f"{data}: {len(pictures.train)} usable training pictures are fewer than train.batch_size "
            f"{config.train.batch_size}; lower it"
        )
    if state:
        known = json.loads((out / "run.json").read_text(encoding="utf-8"))["data"]["classes"]
        if known != list(pictures.classes):
            raise DataError(f"{data}: its classes are not those of {out} ({', '.join(known)}); start a new run")
    run.be_deterministic(config.train.seed, config.train.deterministic)
    if state:
        model = keras.saving.load_model(out / checkpoint.NAME)
        checkpoint.restore_random_states(model, state)
    else:
        arguments = {**dataclasses.asdict(config.model), "input_size": size, "classes": len(pictures.classes)}
        model = CompactEfficientNet(**arguments)
    steps = state["steps"] if state else config.train.steps_per_epoch or len(pictures.train) // config.train.batch_size
    out.mkdir(parents=True, exist_ok=True)
    run.clean(out, state["step"] if state else 0, steps)
    save_config(out / "config.yaml", config)
    with run.log_file(out / "train.log", pictures.skipped):
        return _pretrain(model, config, Path(data), out, pictures, size, steps, state)


def _pretrain(
    model: keras.Model,
    config: PretrainConfig,
    data: Path,
    out: Path,
    pictures: ClassPictures,
    size: int,
    steps: int,
    state: dict | None,
) -> dict:
    begin = state["step"] if state else 0
    run.describe(
        out / "run.json",
        config.train.seed,
        steps,
        {
            "root": str(data.resolve()),
            "classes": list(pictures.classes),
            "train": len(pictures.train),
            "validation": len(pictures.validation),
            "skipped": pictures.skipped,
        },
    )
    if run.tensorflow_on_cpu():
        fuse_batch_norm(model)
    model.compile(
        make_optimizer(config.train, steps, model, resumed=begin > 0),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=run.jit_compile(),
    )
    run.build_metrics(model, keras.ops.zeros((1,)), keras.ops.zeros((1, len(pictures.classes))))
    logger.info(
        "%s at %d pixels, %.2f M parameters; %d classes, %d training and %d validation pictures, epochs %d to %d",
        config.model.variant,
        size,
        model.count_params() / 1e6,
        len(pictures.classes),
        len(pictures.train),
        len(pictures.validation),
        begin // steps + 1,
        config.train.epochs,
    )
    batch = config.train.batch_size

    def batches(step: int):
        return class_dataset(pictures.train, size, batch, config.data, config.train.seed + step // steps).repeat()

    held_out = class_dataset(pictures.validation, size, batch)
    best = BestAccuracy(out, classifier_metadata(model, pictures.classes))
    span = (begin, config.train.epochs * steps)
    board = logs.TensorBoard(out / "tensorboard")
    with run.ending_well(["pretrain"], data, out) as signals:
        run.fit(
            model,
            batches,
            out,
            config.train,
            steps,
            span,
            best,
            CURVES,
            signals,
            state,
            board,
            Devices(),
            validation_data=held_out,
        )
    logger.info("best accuracy %.3f in epoch %d; run folder %s", best.accuracy, best.epoch, out)
    return {
        "best_accuracy": best.accuracy,
        "best_epoch": best.epoch,
        "epochs": config.train.epochs,
        "classes": list(pictures.classes),
        "run": str(out),
    }


class BestAccuracy(keras.callbacks.Callback):
    """Keeps the model with the highest validation accuracy as ``best.keras``.

    Args:
      out: the run folder. A best accuracy already in its log.csv is not fallen below.
      metadata: of the model.
    """

    def __init__(self, out: Path, metadata: dict):
        super().__init__()
        self._out, self._metadata = out, metadata
        self.accuracy, self.epoch = -1.0, 0
        for row in logs.read_log(out / "log.csv"):
            if row["val_accuracy"] > self.accuracy:
                self.accuracy, self.epoch = row["val_accuracy"], int(row["epoch"]) + 1

    def on_epoch_end(self, epoch, logs=None):
        if logs["val_accuracy"] > self.accuracy:
            self.accuracy, self.epoch = logs["val_accuracy"], epoch + 1
            metadata = {**self._metadata, "accuracy": {"top1": self.accuracy, "split": "validation"}}
            save_keras(self.model, self._out / "best.keras", metadata)
