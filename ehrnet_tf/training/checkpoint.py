"""The state of a run in one file, written whole or not at all, from which it goes on as if it had never stopped.

``last.keras`` holds the model and its optimizer (moments, count, moving average), and in one more zip member the step,
the sums of the epoch's figures and the random states of dropout layers. The order and the augmentation of the data
follow from the step (`data.samples`), the learning rate from the optimizer's count.
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import keras
import numpy as np

from ehrnet_tf.errors import EhrnetError, UsageError
from ehrnet_tf.files import atomic_path

NAME = "last.keras"
_MEMBER = "ehrnet_state.json"
_CHECK_EVERY = 100  # steps between looks at the loss


class Stopped(Exception):
    """A signal asked the run to stop, and its state is saved."""


def save_state(model: keras.Model, path: Path, step: int, steps: int) -> None:
    """Writes ``model``, its optimizer and where the run stands.

    Args:
      model: compiled.
      path: the file.
      step: training steps done since the run began.
      steps: an epoch.
    """
    state = {
        "step": step,
        "steps": steps,
        "metrics": _values(model.metrics_variables),
        "random": _values(_random_states(model)),
    }
    with atomic_path(path) as temporary:
        model.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(_MEMBER, json.dumps(state))


def read_state(path: Path) -> dict:
    """What `save_state` wrote beside the model: "step", "steps", "metrics", "random".

    Raises:
      UsageError: the file is not a checkpoint of a run.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(_MEMBER))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: is not a checkpoint to go on from ({error}); start a new run") from error


def restore_random_states(model: keras.Model, state: dict) -> None:
    """Sets the random states of ``model``'s dropout layers as they were saved."""
    for variable, value in zip(_random_states(model), state["random"], strict=True):
        variable.assign(np.array(value, variable.dtype))


def add_metrics(model: keras.Model, state: dict) -> None:
    """Adds the sums of an epoch's beginning to those of ``model``'s metrics, which all are means."""
    for variable, value in zip(model.metrics_variables, state["metrics"], strict=True):
        variable.assign(np.array(value, variable.dtype) + keras.ops.convert_to_numpy(variable))


def _random_states(model: keras.Model) -> list:
    return [v for layer in model.layers for v in layer.variables if v.path.endswith("seed_generator_state")]


def _values(variables) -> list:
    return [keras.ops.convert_to_numpy(variable).tolist() for variable in variables]


class Signals:
    """Ctrl-C and SIGTERM, which ask a run to stop after its step; a second Ctrl-C stops it at once."""

    def __init__(self):
        self.received: signal.Signals | None = None

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Catches the signals for the block, where Python allows it: in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        earlier = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)

    def _receive(self, number, frame):
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
        print(f"{self.received.name}: the run is saved after this step; again: it stops at once", flush=True)


class Checkpoint(keras.callbacks.Callback):
    """Keeps ``last.keras``: after every epoch, every so many minutes within one, and when a signal asks to stop.

    A state whose loss is NaN or infinite ends the run and is not saved. Stands last among the callbacks, so that an
    epoch's other files are there before the state that counts it as done.

    Args:
      path: the file.
      steps: an epoch.
      step: steps done when the fit begins.
      minutes: between states within an epoch.
      signals: who asks to stop.
      state: what `read_state` gave, if the fit begins within an epoch: its sums are added to the figures.
      apart: a context in which this process computes by itself.
      write: whether this process keeps the file.
    """

    def __init__(
        self,
        path: Path,
        steps: int,
        step: int,
        minutes: float,
        signals: Signals,
        state: dict | None = None,
        apart: Callable[[], AbstractContextManager] = contextlib.nullcontext,
        write: bool = True,
    ):
        super().__init__()
        self._path, self._steps, self._step, self._seconds = path, steps, step, 60 * minutes
        self._signals, self._state, self._apart, self._write = signals, state, apart, write
        self._saved_at = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self._step += 1
        if self._state is not None:
            add_metrics(self.model, self._state)
            self._state = None
        if self._step % self._steps == 0:
            return  # the epoch's end saves
        due = self._signals.received is not None or time.monotonic() > self._saved_at + self._seconds
        if due or self._step % _CHECK_EVERY == 0:
            check_loss(logs["loss"], self._step // self._steps)
        if due:
            self._save()

    def on_epoch_end(self, epoch, logs=None):
        self._save()

    def _save(self):
        if self._write:
            with self._apart():
                save_state(self.model, self._path, self._step, self._steps)
        self._saved_at = time.monotonic()
        if self._signals.received is not None:
            raise Stopped


def check_loss(loss: float, epoch: int) -> None:
    """Raises EhrnetError if a loss is NaN or infinite.

    Args:
      loss: the epoch's mean so far.
      epoch: counted from 0.
    """
    if not math.isfinite(loss):
        raise EhrnetError(
            f"epoch {epoch + 1}: the loss is {loss}; {NAME} keeps the last good state; go on with --resume and a lower "
            "train.learning_rate, train.clip_norm or a longer train.warmup_epochs"
        )
