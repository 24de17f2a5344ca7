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

import contextlib
import datetime
import importlib.metadata
import json
import logging
import os
import platform
import shlex
import sys
from pathlib import Path

import keras

from ehrnet_tf import __version__
from ehrnet_tf.config import Config, load_config, save_config
from ehrnet_tf.data.coco import Records, load_records
from ehrnet_tf.data.pipeline import coco_dataset, input_size
from ehrnet_tf.errors import EhrnetError, UsageError
from ehrnet_tf.files import write_json
from ehrnet_tf.models.efficienthrnet import EfficientHRNet
from ehrnet_tf.training import callbacks
from ehrnet_tf.training.fused import fuse_batch_norm
from ehrnet_tf.training.losses import pose_losses, tag_metrics
from ehrnet_tf.training.muon import Muon
from ehrnet_tf.training.schedules import make_schedule

logger = logging.getLogger("ehrnet_tf.training")


def build_model(config: Config) -> keras.Model:
    """The model that ``config.model`` describes, with a square input."""
    m = config.model
    return EfficientHRNet(
        m.variant,
        input_size=input_size(config),
        keypoints=m.keypoints,
        activation=m.activation,
        squeeze_excite=m.squeeze_excite,
        width_divisor=m.width_divisor,
        tags_on_both_stages=m.tags_on_both_stages,
        drop_connect=m.drop_connect,
        weights=m.weights,
    )


def compile_model(model: keras.Model, config: Config, steps_per_epoch: int) -> None:
    """Gives ``model`` the optimizer, losses and metrics of ``config``."""
    gpu = keras.backend.backend() == "tensorflow" and _has_gpu()
    kinds = {"adam": keras.optimizers.Adam, "muon": Muon}
    optimizer = kinds[config.train.optimizer](make_schedule(config.train, steps_per_epoch))
    # A training graph that makes the optimizer's variables itself is traced twice.
    optimizer.build(model.trainable_variables)
    model.compile(
        optimizer,
        loss=pose_losses(config.loss, config.model.tags_on_both_stages),
        metrics=tag_metrics(),
        # XLA's CPU convolutions are slow; its GPU ones are not
        jit_compile=gpu or keras.backend.backend() == "jax",
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
    initial_epoch = _epochs_done(out, config) if resume else 0
    if not resume and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: exists already; choose a new --out, or go on with --resume")
    input_size(config)  # checked before anything is read or written
    if keras.backend.backend() == "tensorflow" and not _has_gpu():
        _tune_for_cpu()
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
    with open(out / "train.log", "a", encoding="utf-8") as file:
        file.writelines(
            f"skipped {name}: {reason}\n" for name, reason in (records.skipped | validation.skipped).items()
        )
    handler = logging.FileHandler(out / "train.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    package_logger = logging.getLogger("ehrnet_tf")
    package_logger.addHandler(handler)
    package_logger.setLevel(logging.INFO)
    try:
        return _train(model, config, data, out, records, validation, initial_epoch)
    finally:
        package_logger.removeHandler(handler)
        handler.close()


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

    if not model.compiled:  # a resumed one is
        compile_model(model, config, steps)
    if keras.backend.backend() == "tensorflow" and not _has_gpu():
        fuse_batch_norm(model)
    dataset = coco_dataset(
        data, config.data.train_split, config, seed=config.train.seed + initial_epoch, records=records
    ).repeat()

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
    logger.info("building the training graph (up to a minute before the first step) ...")
    validator = callbacks.ValidationAP(config, data, out, validation)
    try:
        model.fit(
            dataset,
            epochs=config.train.epochs,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps,
            shuffle=False,  # the pipeline shuffles
            verbose=1 if sys.stderr.isatty() else 2,
            callbacks=[
                callbacks.StopOnNaN(),
                callbacks.EpochFigures(),
                validator,
                keras.callbacks.TensorBoard(out / "tensorboard", write_graph=False),
                callbacks.Checkpoint(out / "last.keras"),
                callbacks.Log(out / "log.csv"),
            ],
        )
    except KeyboardInterrupt:
        raise EhrnetError(f"stopped by Ctrl-C; go on with: ehrnet train --data {data} --out {out} --resume") from None
    logger.info("best AP %.3f in epoch %d; run folder %s", validator.best_ap, validator.best_epoch, out)
    return {
        "best_ap": validator.best_ap,
        "best_epoch": validator.best_epoch,
        "epochs": config.train.epochs,
        "run": str(out),
    }


def _epochs_done(out: Path, config: Config) -> int:
    """How many epochs of the run in ``out`` are done, checked against what is wanted now."""
    if not (out / "last.keras").is_file():
        raise UsageError(f"{out}: nothing to resume here (no last.keras); start without --resume")
    if load_config(out / "config.yaml").model != config.model:
        raise UsageError(f"{out}: the model section differs from the one in its config.yaml; it must not change")
    done = len(callbacks.read_log(out / "log.csv"))
    if done >= config.train.epochs:
        raise UsageError(f"{out}: all {done} epochs are done; raise train.epochs to go on")
    return done


def _describe_run(out: Path, config: Config, data: Path, records: Records, validation: Records, steps: int) -> None:
    packages = ("keras", "tensorflow", "jax", "numpy", "opencv-python-headless", "pycocotools")
    versions = {"ehrnet-tf": __version__, "python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    starts = []
    if (out / "run.json").is_file():
        starts = json.loads((out / "run.json").read_text(encoding="utf-8"))["starts"]
    starts.append(
        {
            "command": shlex.join(sys.argv),
            "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "versions": versions,
            "backend": keras.backend.backend(),
            "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        }
    )
    description = {
        "starts": starts,
        "seed": config.train.seed,
        "steps_per_epoch": steps,
        "data": {
            "root": str(data.resolve()),
            "train": {"split": config.data.train_split, "pictures": len(records), "skipped": records.skipped},
            "validation": {
                "split": config.data.val_split,
                "pictures": len(validation),
                "skipped": validation.skipped,
            },
        },
    }
    write_json(out / "run.json", description)


def _tune_for_cpu() -> None:
    """Sets TensorFlow's options for short training steps without a GPU."""
    import tensorflow as tf

    # Its own work takes seconds, and the step is faster without it.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    if (os.cpu_count() or 1) <= 2 and "TF_NUM_INTRAOP_THREADS" not in os.environ:
        # The network's branches and the two halves of a convolution's gradient keep two cores busy by themselves.
        with contextlib.suppress(RuntimeError):  # TensorFlow has begun already
            tf.config.threading.set_intra_op_parallelism_threads(1)


def _has_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))
