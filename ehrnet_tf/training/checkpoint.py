"""The state of a run in one file, written whole or not at all, from which it goes on as if it had never stopped.

``last.keras`` holds the model and its optimizer (moments, count, moving average), and in one more zip member the step,
the sums of the epoch's figures and the random states of dropout layers. The order and the augmentation of the data
follow from the step (`data.samples`), the learning rate from the optimizer's count. In a classifier's training the
order of the pictures begins anew (`training.pretrain`).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from ehrnet_tf.errors import EhrnetError, UsageError
from ehrnet_tf.files import atomic_path
from ehrnet_tf.training.devices import Devices

NAME = "last.keras"
_MEMBER = "ehrnet_state.json"
_CHECK_EVERY = 100  # steps between looks at the loss
_AGREE_EVERY = 20  # steps after which several processes ask each other whether to stop


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
    with atomic_path(path) as temporary, _unsynchronised(model):
        model.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(_MEMBER, json.dumps(state))


@contextlib.contextmanager
def _unsynchronised(model: keras.Model) -> Iterator[None]:
    """Batch norms as any backend opens them: synchronised ones are TensorFlow's alone."""
    layers = [layer for layer in model.layers if getattr(layer, "synchronized", False)]
    for layer in layers:
        layer.synchronized = False
    try:
        yield
    finally:
        for layer in layers:
            layer.synchronized = True


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
    """Ctrl-C and SIGTERM, which ask a run to stop after its step; Ctrl-C after either stops it at once."""

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
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        self.received = signal.Signals(number)
        # Not print: the handler may interrupt one.
        text = f"{self.received.name}: saved after this step, or this validation; Ctrl-C now stops the run at once\n"
        with contextlib.suppress(OSError):
            os.write(2, text.encode())


class Checkpoint(keras.callbacks.Callback):
    """Keeps ``last.keras``: after every epoch, every so many minutes within one, and when a signal asks to stop.

    A state whose loss or weights are NaN or infinite ends the run and is not saved. Stands last among the callbacks, so
    that an epoch's other files are there before the state that counts it as done.

    Args:
      path: the file.
      steps: an epoch.
      step: steps done when the fit begins.
      minutes: between states within an epoch.
      signals: who asks to stop.
      state: what `read_state` gave, if the fit begins within an epoch: its sums are added to the figures.
      devices: of the run; its first process keeps the file, and all stop at the same step.
      last: the step that ends the run.
    """

    def __init__(
        self,
        path: Path,
        steps: int,
        step: int,
        minutes: float,
        signals: Signals,
        state: dict | None,
        devices: Devices,
        last: int,
    ):
        super().__init__()
        self._path, self._steps, self._step, self._seconds = path, steps, step, 60 * minutes
        self._signals, self._state, self._devices, self._last = signals, state, devices, last
        self._saved_at = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self._step += 1
        if self._state is not None:
            add_metrics(self.model, self._state)
            self._state = None
        if self._step % self._steps == 0:
            return  # the epoch's end saves
        if self._devices.processes.count > 1 and self._step % _AGREE_EVERY:
            return  # what follows, all processes must do at the same step
        stop = self._devices.any(self._signals.received is not None)
        due = self._devices.any(time.monotonic() > self._saved_at + self._seconds)
        if stop or due or self._step % _CHECK_EVERY == 0:
            check_loss(logs["loss"], self._step // self._steps)
        if stop or due:
            self._save()
        if stop:
            raise Stopped

    def on_epoch_end(self, epoch, logs=None):
        self._save()
        if self._devices.any(self._signals.received is not None) and self._step < self._last:
            raise Stopped

    def _save(self):
        if not all(np.isfinite(weights).all() for weights in self.model.get_weights()):
            check_loss(math.nan, (self._step - 1) // self._steps)  # the loss of the next step
        if self._devices.processes.first:
            with self._devices.apart():
                save_state(self.model, self._path, self._step, self._steps)
        self._saved_at = time.monotonic()


def check_loss(loss: float, epoch: int) -> None:
    """Raises EhrnetError if a loss is NaN or infinite.

    Args:
      loss: the epoch's mean so far.
      epoch: counted from 0.
    """
    if not math.isfinite(loss):
        raise EhrnetError(
            f"epoch {epoch + 1}: the loss is {loss}; {NAME}, if there, keeps the last good state; go on with --resume "
            "and a lower train.learning_rate, train.clip_norm or a longer train.warmup_epochs"
        )
