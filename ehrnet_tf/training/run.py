"""What every training run does round `model.fit`: its folder, log, description and TensorFlow's options."""

from __future__ import annotations

import contextlib
import datetime
import errno
import importlib.metadata
import json
import logging
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import keras

from ehrnet_tf import __version__
from ehrnet_tf.config import Config, FitConfig, PretrainConfig, load_config
from ehrnet_tf.errors import EhrnetError, UsageError
from ehrnet_tf.files import TEMPORARY, write_json
from ehrnet_tf.training import callbacks, checkpoint, logs
from ehrnet_tf.training.devices import Devices

_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
_PACKAGES = ("keras", "tensorflow", "jax", "numpy", "opencv-python-headless", "pycocotools")


def check_new(out: Path) -> None:
    """Raises UsageError if ``out`` holds anything already."""
    if out.exists() and (not out.is_dir() or any(not _is_leftover(path) for path in out.iterdir())):
        raise UsageError(f"{out}: exists already; choose a new --out, or go on with --resume")


def stored_state(out: Path, config: Config | PretrainConfig) -> dict | None:
    """Where the run in ``out`` stands, checked against what is wanted now; None if it was stopped before it saved.

    Raises:
      UsageError: nothing to resume, all epochs done, another model section, or another value of what must not change.
    """
    if not (out / "config.yaml").is_file():
        raise UsageError(f"{out}: nothing to resume (no config.yaml); start without --resume")
    stored = load_config(out / "config.yaml", kind=type(config))
    if stored.model != config.model:
        raise UsageError(f"{out}: the model section differs from the one in its config.yaml; it must not change")
    for name in ("batch_size", "steps_per_epoch", "optimizer", "ema", "precision", "freeze_backbone_epochs", "sizes"):
        if getattr(stored.train, name, None) != getattr(config.train, name, None):
            raise UsageError(f"{out}: train.{name} differs from the one in its config.yaml; it must not change")
    path = out / checkpoint.NAME
    if not path.is_file():
        return None
    state = checkpoint.read_state(path)
    if state["step"] >= config.train.epochs * state["steps"]:
        raise UsageError(f"{out}: all {config.train.epochs} epochs are done; raise train.epochs to go on")
    return state


def clean(out: Path, step: int, steps: int) -> None:
    """Removes from a run folder what its state after ``step`` steps does not count.

    Args:
      out: the run folder.
      step: steps done.
      steps: an epoch.
    """
    clean_leftovers(out)
    rows = logs.read_log(out / "log.csv")
    if any(row["epoch"] >= step // steps for row in rows):
        logs.write_log(out / "log.csv", [row for row in rows if row["epoch"] < step // steps])


def clean_leftovers(out: Path) -> None:
    """Removes from a folder the half-written files of processes that were killed."""
    for path in out.iterdir():
        if _is_leftover(path):
            path.unlink(missing_ok=True)


def _is_leftover(path: Path) -> bool:
    """Whether a file is the half-written one of a process that was killed (see `files.atomic_path`)."""
    return path.is_file() and path.name.startswith(TEMPORARY)


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


def fit(
    model: keras.Model,
    batches: Callable[[int], Any],
    out: Path,
    config: FitConfig,
    steps: int,
    span: tuple[int, int],
    validator: keras.callbacks.Callback,
    curves: dict[str, list[str]],
    signals: checkpoint.Signals,
    state: dict | None,
    tensorboard: logs.TensorBoard | None,
    devices: Devices,
    validation_data=None,
) -> None:
    """`model.fit` with a run folder's files: log, curves, TensorBoard, last.keras.

    Args:
      model: compiled.
      batches: the first step → batches without end from that step on.
      out: the run folder.
      config: of the run.
      steps: an epoch.
      span: the first step, counted from 0, and the end.
      validator: adds its figures to the log, and keeps the best model.
      curves: see `logs.draw_curves`.
      signals: who asks to stop.
      state: of the checkpoint that the first step follows from.
      tensorboard: the callback.
      devices: of the run; its first process writes the run folder.
      validation_data: as of `model.fit`.

    Raises:
      Stopped: a signal asked to stop.
      DataError: the pictures vanished.
    """
    write = devices.processes.first
    writers = [tensorboard, logs.Log(out / "log.csv", curves, config.epochs)] if write else []
    shared = [
        callbacks.StopOnNaN(),
        callbacks.EpochFigures(config.batch_size, steps),
        validator,
        *(writer for writer in writers if writer is not None),
    ]
    begin, end = span
    # Keras knows whole epochs only: one that was begun is a fit of its own.
    middle = min(end, -(-begin // steps) * steps)
    for first, last in ((begin, middle), (middle, end)):
        if first == last:
            continue
        saver = checkpoint.Checkpoint(
            out / checkpoint.NAME,
            steps,
            first,
            config.checkpoint_minutes,
            signals,
            state if first % steps else None,
            devices,
            config.epochs * steps,
        )
        dataset = batches(first)
        try:
            model.fit(
                dataset,
                validation_data=validation_data,
                initial_epoch=first // steps,
                epochs=-(-last // steps),
                steps_per_epoch=steps - first % steps,
                shuffle=False,  # the pipeline shuffles
                verbose=1 if write and sys.stderr.isatty() else 0,
                callbacks=[*shared, saver],
            )
        except Exception as error:
            samples = getattr(dataset, "samples", None)
            if samples is not None and samples.error is not None:
                raise samples.error from error
            raise


@contextlib.contextmanager
def ending_well(command: Sequence[str], data: Path, out: Path) -> Iterator[checkpoint.Signals]:
    """Makes errors of what may end a training run: signals, a full disk.

    Args:
      command: of ``ehrnet``, as far as the options.
      data: the data folder.
      out: the run folder.

    Raises:
      EhrnetError: says what happened and how to go on.
    """
    signals = checkpoint.Signals()
    arguments = shlex.join(["ehrnet", *command, "--data", str(data), "--out", str(out), "--resume"])
    try:
        with signals.caught():
            yield signals
    except checkpoint.Stopped:
        name = signals.received.name if signals.received else "another process"
        raise EhrnetError(f"stopped by {name}, saved; go on with: {arguments}") from None
    except KeyboardInterrupt:
        raise EhrnetError(f"stopped at once; go on from the last saved step with: {arguments}") from None
    except OSError as error:
        what = error.strerror or error
        if error.errno not in _WRITING:
            raise EhrnetError(
                f"{error.filename or out}: {what}; when that is mended, go on with: {arguments}"
            ) from error
        raise EhrnetError(
            f"{out}: cannot be written ({what}); the last saved state is whole: make room and go on with: {arguments}"
        ) from error


def build_metrics(model: keras.Model, targets: Any, outputs: Any) -> None:
    """Makes the variables of a compiled model's metrics: a training graph that makes them itself is traced twice.

    Args:
      model: compiled.
      targets, outputs: an example of each, as the losses take them.
    """
    model.compute_loss(None, targets, outputs)
    model.compute_metrics(None, targets, outputs)
    model.reset_metrics()


def jit_compile() -> bool:
    """XLA's CPU convolutions under TensorFlow are slow; its GPU ones are not."""
    return not tensorflow_on_cpu()


def tensorflow_on_cpu() -> bool:
    """Whether Keras computes by TensorFlow and sees no GPU."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


def be_deterministic(seed: int, deterministic: bool) -> None:
    """Seeds all random numbers, and lets TensorFlow choose deterministic operations only."""
    keras.utils.set_random_seed(seed)
    if deterministic and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def tune() -> None:
    """OpenCV computes in the pipeline's threads, not in its own; without a GPU, TensorFlow's steps are made short."""
    cv2.setNumThreads(1)
    if not tensorflow_on_cpu():
        return
    import tensorflow as tf

    # Its own work takes seconds before the first step (docs/training.md).
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    if (os.cpu_count() or 1) <= 2 and "TF_NUM_INTRAOP_THREADS" not in os.environ:
        # The network's branches and the two halves of a convolution's gradient keep two cores busy by themselves.
        with contextlib.suppress(RuntimeError):  # TensorFlow has begun already
            tf.config.threading.set_intra_op_parallelism_threads(1)
