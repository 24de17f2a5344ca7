"""One training run, from a configuration and a COCO folder to a run folder that explains itself.

RUN/config.yaml    every value of the configuration
RUN/run.json       command, versions, machine, seed, data (counts, skipped pictures)
RUN/log.csv        one line an epoch (counted from 0): rate, losses, tag terms, AP, seconds
RUN/curves.png     the same as a picture
RUN/train.log      what was said, with every skipped picture by name
RUN/tensorboard/   the same for TensorBoard
RUN/last.keras     the newest epoch, optimizer included: what --resume continues from
RUN/best.keras     the epoch with the highest validation AP
"""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path
from typing import Any

import keras

from ehrnet_tf.config import Config, save_config
from ehrnet_tf.data.coco import Records, load_records
from ehrnet_tf.data.pipeline import coco_dataset, input_size
from ehrnet_tf.errors import UsageError
from ehrnet_tf.models.efficienthrnet import EfficientHRNet
from ehrnet_tf.models.weights import backbone_layers
from ehrnet_tf.training import callbacks, run
from ehrnet_tf.training.fused import fuse_batch_norm
from ehrnet_tf.training.losses import pose_losses, tag_metrics

logger = logging.getLogger("ehrnet_tf.training")


def build_model(config: Config) -> keras.Model:
    """The model that ``config.model`` describes, with a square input."""
    return EfficientHRNet(**{**dataclasses.asdict(config.model), "input_size": input_size(config)})


def compile_model(model: keras.Model, config: Config, optimizer: keras.optimizers.Optimizer) -> None:
    """Gives ``model`` the losses and metrics of ``config``."""
    model.compile(
        optimizer,
        loss=pose_losses(config.loss, config.model.tags_on_both_stages),
        metrics=tag_metrics(),
        jit_compile=run.jit_compile(),
    )


def train(config: Config, data: str | os.PathLike, out: str | os.PathLike, resume: bool = False) -> dict:
    """Trains, validates by AP and writes the run folder described above.

    Without a GPU, TensorFlow's options change for the whole process: no graph optimizer, and on one or two cores one
    thread an operation (unless TF_NUM_INTRAOP_THREADS is set or TensorFlow has begun).

    Args:
      config: the experiment.
      data: a folder in COCO's layout, with the splits ``config.data`` names.
      out: the run folder; must be new or empty unless ``resume``.
      resume: go on from ``out/last.keras`` with the configuration stored there.

    Returns:
      {"best_ap", "best_epoch", "epochs", "run"}.

    Raises:
      UsageError: ``out`` holds files already, or nothing to resume; too few pictures for one batch.
      DataError: the data cannot be used.
      ModelFileError: ``config.model.weights`` is missing or does not fit.
      EhrnetError: the loss became NaN or infinite; the last good epoch stays in last.keras.
    """
    out, data = Path(out), Path(data)
    initial_epoch = run.epochs_done(out, config) if resume else 0
    if not resume:
        run.check_new(out)
    input_size(config)  # checked before anything is read or written
    run.tune_for_cpu()
    records = load_records(data, config.data.train_split, config, training=True)
    validation = load_records(data, config.data.val_split, config, training=False)
    if len(records) < config.train.batch_size:
        raise UsageError(
            f"{data}: {len(records)} usable training pictures are fewer than train.batch_size "
            f"{config.train.batch_size}; lower it"
        )
    keras.utils.set_random_seed(config.train.seed)
    model = keras.saving.load_model(out / "last.keras") if resume else build_model(config)
    # From here on, what goes wrong leaves a run folder.
    out.mkdir(parents=True, exist_ok=True)
    save_config(out / "config.yaml", config)
    with run.log_file(out / "train.log", records.skipped | validation.skipped):
        return _train(model, config, data, out, records, validation, initial_epoch)


def _train(
    model: keras.Model,
    config: Config,
    data: Path,
    out: Path,
    records: Records,
    validation: Records,
    initial_epoch: int,
) -> dict:
    steps = config.train.steps_per_epoch or len(records) // config.train.batch_size
    _describe_run(out, config, data, records, validation, steps)
    if run.tensorflow_on_cpu():
        fuse_batch_norm(model)

    logger.info(
        "%s at %d pixels, %.2f M parameters; %d training pictures, %d steps an epoch, epochs %d to %d",
        config.model.variant,
        input_size(config),
        model.count_params() / 1e6,
        len(records),
        steps,
        initial_epoch + 1,
        config.train.epochs,
    )
    if config.train.freeze_backbone_epochs and not (config.model.backbone_weights or config.model.weights):
        logger.warning("train.freeze_backbone_epochs keeps a backbone still that has no trained weights")
    logger.info("building the training graph (up to a minute before the first step) ...")
    validator = callbacks.ValidationAP(config, data, out, validation)
    try:
        for start, begin, end, frozen in _phases(config, initial_epoch):
            if frozen:
                logger.info("the backbone stands still up to epoch %d", end)
            for layer in backbone_layers(model):
                layer.trainable = not frozen
            # Each phase has an optimizer of its own: one that had counted on would overrate a thawed weight's moments.
            compile_model(model, config, run.make_optimizer(config.train, steps, model, start, begin > start))
            dataset = coco_dataset(
                data, config.data.train_split, config, seed=config.train.seed + begin, records=records
            )
            run.fit(model, dataset.repeat(), out, steps, (begin, end), validator, callbacks.POSE_CURVES)
    except KeyboardInterrupt:
        raise run.stopped("train", data, out) from None
    logger.info("best AP %.3f in epoch %d; run folder %s", validator.best_ap, validator.best_epoch, out)
    return {
        "best_ap": validator.best_ap,
        "best_epoch": validator.best_epoch,
        "epochs": config.train.epochs,
        "run": str(out),
    }


def _phases(config: Config, initial_epoch: int) -> list[tuple[int, int, int, bool]]:
    """(first epoch, first epoch that is left, end, whether the backbone is frozen) of what is left to train."""
    thaw = min(config.train.freeze_backbone_epochs, config.train.epochs)
    phases = ((0, thaw, True), (thaw, config.train.epochs, False))
    left = [(start, max(start, initial_epoch), end, frozen) for start, end, frozen in phases]
    return [phase for phase in left if phase[1] < phase[2]]


def _describe_run(out: Path, config: Config, data: Path, records: Records, validation: Records, steps: int) -> None:
    splits = {"train": (config.data.train_split, records), "validation": (config.data.val_split, validation)}
    described: dict[str, Any] = {
        name: {"split": split, "pictures": len(found), "skipped": found.skipped}
        for name, (split, found) in splits.items()
    }
    run.describe(out / "run.json", config.train.seed, steps, {"root": str(data.resolve()), **described})
