"""One training run, from a configuration and a COCO folder to a run folder that explains itself.

RUN/config.yaml    every value of the configuration
RUN/run.json       command, versions, machine, seed, data (counts, skipped pictures)
RUN/log.csv        one line an epoch (counted from 0): rate, losses, tag terms, AP, seconds
RUN/curves.png     the same as a picture
RUN/train.log      what was said, with every skipped picture by name
RUN/tensorboard/   the same for TensorBoard
RUN/last.keras     the newest state, optimizer included: what --resume goes on from (`training.checkpoint`)
RUN/best.keras     the epoch with the highest validation AP
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from ehrnet_tf.config import Config, save_config
from ehrnet_tf.data.coco import Records, load_records
from ehrnet_tf.data.pipeline import coco_dataset, input_size
from ehrnet_tf.errors import UsageError
from ehrnet_tf.models.efficienthrnet import EfficientHRNet
from ehrnet_tf.models.weights import backbone_layers, with_free_size
from ehrnet_tf.training import checkpoint, logs, run
from ehrnet_tf.training.callbacks import ValidationAP
from ehrnet_tf.training.devices import Devices, Processes
from ehrnet_tf.training.fused import fuse_batch_norm
from ehrnet_tf.training.losses import pose_losses, tag_metrics
from ehrnet_tf.training.optimizers import make_optimizer

logger = logging.getLogger("ehrnet_tf.training")


def build_model(config: Config) -> keras.Model:
    """The model that ``config.model`` describes, with a square input."""
    return EfficientHRNet(**{**dataclasses.asdict(config.model), "input_size": input_size(config)})


def trained_model(config: Config) -> keras.Model:
    """The model as it is trained: of ``train.precision``, and of free input size if ``train.sizes`` has several."""
    keras.config.set_dtype_policy(config.train.precision)
    try:
        model = build_model(config)
    finally:
        keras.config.set_dtype_policy("float32")
    return with_free_size(model) if config.train.sizes else model


def kept_model(config: Config) -> keras.Model:
    """A model for the weights of a trained one: float32, of the configuration's size."""
    model = dataclasses.replace(config.model, weights=None, backbone_weights=None)
    return build_model(dataclasses.replace(config, model=model))


def compile_model(
    model: keras.Model, config: Config, optimizer: keras.optimizers.Optimizer, jit_compile: bool | None = None
) -> None:
    """Gives ``model`` the losses and metrics of ``config``; ``jit_compile`` None: what suits one device."""
    model.compile(
        optimizer,
        loss=pose_losses(config.loss, config.model.tags_on_both_stages),
        metrics=tag_metrics(),
        jit_compile=run.jit_compile() if jit_compile is None else jit_compile,
    )
    if config.train.distribution == "none":  # else Keras does it
        maps = {name: keras.ops.zeros((1, 8, 8, output.shape[-1])) for name, output in model.output.items()}
        joints = {name: keras.ops.zeros((1, 1, 1, 2)) for name in maps if name.startswith("tags")}
        run.build_metrics(model, {**maps, **joints}, maps)


def train(
    config: Config,
    data: str | os.PathLike,
    out: str | os.PathLike,
    resume: bool = False,
    processes: Processes | None = None,
) -> dict:
    """Trains, validates by AP and writes the run folder described above.

    Without a GPU, TensorFlow's options change for the whole process: no graph optimizer, and on one or two cores one
    thread an operation (unless TF_NUM_INTRAOP_THREADS is set or TensorFlow has begun).

    Args:
      config: the experiment.
      data: a folder in COCO's layout, with the splits ``config.data`` names, or one that `make_shards` wrote.
      out: the run folder; must be new or empty unless ``resume``.
      resume: go on from ``out/last.keras``, or from the beginning if the run was stopped before it saved.
      processes: this process among those that train together; all see the same ``data`` and ``out``.

    Returns:
      {"best_ap", "best_epoch", "epochs", "run"}.

    Raises:
      UsageError: ``out`` holds files already, or nothing to resume; too few pictures for one batch; devices that
        cannot share a batch.
      DataError: the data cannot be used, or vanished.
      ModelFileError: ``config.model.weights`` is missing or does not fit.
      EhrnetError: the loss became NaN or infinite, the disk is full, Ctrl-C or SIGTERM: last.keras holds the last good
        state.
    """
    out, data = Path(out), Path(data)
    state = run.stored_state(out, config) if resume else None
    if not resume and (processes is None or processes.first):
        run.check_new(out)
    devices = Devices(config.train.distribution, processes)
    input_size(config)  # checked before anything is read or written
    if config.train.batch_size % devices.count:
        raise UsageError(
            f"train.batch_size {config.train.batch_size}: must be a multiple of the {devices.count} devices"
        )
    run.tune()
    records = load_records(data, config.data.train_split, config, training=True)
    validation = load_records(data, config.data.val_split, config, training=False)
    if len(records) < config.train.batch_size:
        raise UsageError(
            f"{data}: {len(records)} usable training pictures are fewer than train.batch_size "
            f"{config.train.batch_size}; lower it"
        )
    run.be_deterministic(config.train.seed, config.train.deterministic)
    with devices.scope():
        model = keras.saving.load_model(out / checkpoint.NAME) if state else trained_model(config)
    if state:
        checkpoint.restore_random_states(model, state)
    steps = state["steps"] if state else config.train.steps_per_epoch or len(records) // config.train.batch_size
    plan = _Run(config, data, out, devices, records, validation, steps, state)
    if not devices.processes.first:
        return plan.fit(model)
    # From here on, what goes wrong leaves a run folder.
    out.mkdir(parents=True, exist_ok=True)
    run.clean(out, state["step"] if state else 0, steps)
    save_config(out / "config.yaml", config)
    with run.log_file(out / "train.log", records.skipped | validation.skipped):
        _describe_run(out, config, data, records, validation, steps)
        return plan.fit(model)


@dataclasses.dataclass(frozen=True)
class _Run:
    """What `train` has found out, for its fits."""

    config: Config
    data: Path
    out: Path
    devices: Devices
    records: Records
    validation: Records
    steps: int  # an epoch
    state: dict | None  # of the checkpoint to go on from

    def fit(self, model: keras.Model) -> dict:
        config, steps = self.config, self.steps
        begin = self.state["step"] if self.state else 0
        if run.tensorflow_on_cpu() and not self.devices.distributed:
            fuse_batch_norm(model)
        self.devices.synchronise(model)
        self._announce(model, begin)
        write = self.devices.processes.first
        copied = self.devices.distributed or config.train.precision != "float32" or config.train.sizes
        validator = ValidationAP(
            config,
            self.data,
            self.out,
            self.validation,
            self.devices.apart,
            (lambda: kept_model(config)) if copied else None,
            write,
        )
        board = logs.TensorBoard(self.out / "tensorboard", validator, self.validation) if write else None
        with self.devices, run.ending_well(["train"], self.data, self.out) as signals:
            for phase in phases(config, steps, begin):
                with self.devices.scope():
                    self._compile(model, phase)
                run.fit(
                    model,
                    self._batches(phase),
                    self.out,
                    config.train,
                    steps,
                    (phase.begin, phase.end),
                    validator,
                    logs.POSE_CURVES,
                    signals,
                    self.state if phase.begin == begin else None,
                    board,
                    self.devices,
                )
        if write:
            logger.info("best AP %.3f in epoch %d; run folder %s", validator.best_ap, validator.best_epoch, self.out)
        return {
            "best_ap": validator.best_ap,
            "best_epoch": validator.best_epoch,
            "epochs": config.train.epochs,
            "run": str(self.out),
        }

    def _announce(self, model: keras.Model, begin: int) -> None:
        config = self.config
        logger.info(
            "%s at %d pixels, %.2f M parameters; %d training pictures, %d steps an epoch, epochs %d to %d, %d device%s",
            config.model.variant,
            input_size(config),
            model.count_params() / 1e6,
            len(self.records),
            self.steps,
            begin // self.steps + 1,
            config.train.epochs,
            self.devices.count,
            "s" * (self.devices.count > 1),
        )
        if config.train.freeze_backbone_epochs and not (config.model.backbone_weights or config.model.weights):
            logger.warning("train.freeze_backbone_epochs keeps a backbone still that has no trained weights")
        logger.info("building the training graph (half a minute before the first step of a large network) ...")

    def _compile(self, model: keras.Model, phase: Phase) -> None:
        if phase.frozen:
            logger.info("the backbone stands still up to epoch %d", phase.end // self.steps)
        for layer in backbone_layers(model):
            layer.trainable = not phase.frozen
        # A thawed backbone gets a new optimizer: one that had counted on would overrate its weights' moments.
        resumed = phase.begin > phase.optimizer_begin
        first_epoch = phase.optimizer_begin // self.steps
        optimizer = make_optimizer(self.config.train, self.steps, model, first_epoch, resumed)
        compile_model(model, self.config, optimizer, run.jit_compile() and not self.devices.mirrored)

    def _batches(self, phase: Phase) -> Callable[[int], Any]:
        config = self.config
        if phase.size is not None:
            config = dataclasses.replace(config, model=dataclasses.replace(config.model, input_size=phase.size))

        def batches(step: int):
            return coco_dataset(
                self.data,
                config.data.train_split,
                config,
                records=self.records,
                first_step=step,
                share=self.devices.processes.share,
            )

        return batches


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of a run, in steps."""

    begin: int
    end: int
    frozen: bool  # whether the backbone stands still
    optimizer_begin: int  # the step in which its optimizer begins, or began
    size: int | None  # of the input, pixels; None: the model's


def phases(config: Config, steps: int, begin: int) -> list[Phase]:
    """What is left of a run after ``begin`` steps.

    Args:
      config: of the run.
      steps: an epoch.
      begin: steps done.
    """
    epochs = config.train.epochs
    thaw = min(config.train.freeze_backbone_epochs, epochs)
    sizes = [(0, input_size(config)), *config.train.sizes] if config.train.sizes else []
    borders = sorted({0, thaw, epochs} | {epoch for epoch, _ in sizes if epoch < epochs})
    found = []
    for first, last in itertools.pairwise(borders):
        size = next((side for epoch, side in reversed(sizes) if epoch <= first), None)
        start = max(begin, first * steps)
        if start < last * steps:
            found.append(Phase(start, last * steps, first < thaw, 0 if first < thaw else thaw * steps, size))
    return found


def _describe_run(out: Path, config: Config, data: Path, records: Records, validation: Records, steps: int) -> None:
    splits = {"train": (config.data.train_split, records), "validation": (config.data.val_split, validation)}
    described: dict[str, Any] = {
        name: {"split": split, "pictures": len(found), "skipped": found.skipped}
        for name, (split, found) in splits.items()
    }
    run.describe(out / "run.json", config.train.seed, steps, {"root": str(data.resolve()), **described})
