"""What every training run does round `model.fit`: its folder, log, description, optimizer and TensorFlow's options."""

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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from ehrnet_tf import __version__
from ehrnet_tf.config import Config, FitConfig, PretrainConfig, load_config
from ehrnet_tf.errors import EhrnetError, UsageError
from ehrnet_tf.files import write_json
from ehrnet_tf.training import callbacks
from ehrnet_tf.training.muon import Muon
from ehrnet_tf.training.schedules import make_schedule

_PACKAGES = ("keras", "tensorflow", "jax", "numpy", "opencv-python-headless", "pycocotools")


def check_new(out: Path) -> None:
    """Raises UsageError if ``out`` holds anything already."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: exists already; choose a new --out, or go on with --resume")


def epochs_done(out: Path, config: Config | PretrainConfig) -> int:
    """How many epochs of the run in ``out`` are done, checked against what is wanted now."""
    if not (out / "last.keras").is_file():
        raise UsageError(f"{out}: nothing to resume here (no last.keras); start without --resume")
    if load_config(out / "config.yaml", kind=type(config)).model != config.model:
        raise UsageError(f"{out}: the model section differs from the one in its config.yaml; it must not change")
    done = len(callbacks.read_log(out / "log.csv"))
    if done >= config.train.epochs:
        raise UsageError(f"{out}: all {done} epochs are done; raise train.epochs to go on")
    return done


@contextlib.contextmanager
def log_file(path: Path, skipped: dict[str, str]) -> Iterator[None]:
    """Adds what the package logs to a file, after a line for every skipped picture."""
    with open(path, "a", encoding="utf-8") as file:
        file.writelines(f"skipped {name}: {reason}\n" for name, reason in skipped.items())
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("ehrnet_tf")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


def describe(path: Path, seed: int, steps: int, data: dict[str, Any]) -> None:
    """Writes run.json: every start of the run with command, versions and machine; seed, steps an epoch, data."""
    versions = {"ehrnet-tf": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    starts = json.loads(path.read_text(encoding="utf-8"))["starts"] if path.is_file() else []
    starts.append(
        {
            "command": shlex.join(sys.argv),
            "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "versions": versions,
            "backend": keras.backend.backend(),
            "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        }
    )
    write_json(path, {"starts": starts, "seed": seed, "steps_per_epoch": steps, "data": data})


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
    mine = getattr(model, "optimizer", None)
    if resumed and mine is not None and len(mine._trainable_variables) == len(model.trainable_variables):
        mine.learning_rate = schedule
        return mine
    kinds = {"adam": keras.optimizers.Adam, "muon": Muon}
    optimizer = kinds[config.optimizer](schedule)
    # A training graph that makes the optimizer's variables itself is traced twice.
    optimizer.build(model.trainable_variables)
    return optimizer


def fit(
    model: keras.Model,
    dataset,
    out: Path,
    steps: int,
    epochs: tuple[int, int],
    validator: keras.callbacks.Callback,
    curves: dict[str, list[str]],
    validation_data=None,
) -> None:
    """`model.fit` with a run folder's files: log, curves, TensorBoard, last.keras.

    Args:
      model: compiled.
      dataset: batches without end, shuffled.
      out: the run folder.
      steps: an epoch.
      epochs: the first, counted from 0, and the end.
      validator: adds its figures to the log, and keeps the best model.
      curves: see `callbacks.draw_curves`.
      validation_data: as of `model.fit`.
    """
    model.fit(
        dataset,
        validation_data=validation_data,
        initial_epoch=epochs[0],
        epochs=epochs[1],
        steps_per_epoch=steps,
        shuffle=False,  # the pipeline shuffles
        verbose=1 if sys.stderr.isatty() else 2,
        callbacks=[
            callbacks.StopOnNaN(),
            callbacks.EpochFigures(),
            validator,
            keras.callbacks.TensorBoard(out / "tensorboard", write_graph=False),
            callbacks.Checkpoint(out / "last.keras"),
            callbacks.Log(out / "log.csv", curves),
        ],
    )


def stopped(command: str, data: Path, out: Path) -> EhrnetError:
    """What Ctrl-C ends in."""
    if not (out / "last.keras").is_file():
        return EhrnetError(f"stopped by Ctrl-C before the first epoch was done; remove {out} and start again")
    arguments = shlex.join(["ehrnet", command, "--data", str(data), "--out", str(out), "--resume"])
    return EhrnetError(f"stopped by Ctrl-C; go on with: {arguments}")


def jit_compile() -> bool:
    """XLA's CPU convolutions under TensorFlow are slow; its GPU ones are not."""
    return not tensorflow_on_cpu()


def tensorflow_on_cpu() -> bool:
    """Whether Keras computes by TensorFlow and sees no GPU."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


def tune_for_cpu() -> None:
    """Sets TensorFlow's options for short training steps where there is no GPU; does nothing elsewhere."""
    if not tensorflow_on_cpu():
        return
    import tensorflow as tf

    # Its own work takes seconds, and the step is faster without it.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    if (os.cpu_count() or 1) <= 2 and "TF_NUM_INTRAOP_THREADS" not in os.environ:
        # The network's branches and the two halves of a convolution's gradient keep two cores busy by themselves.
        with contextlib.suppress(RuntimeError):  # TensorFlow has begun already
            tf.config.threading.set_intra_op_parallelism_threads(1)
