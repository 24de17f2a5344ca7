"""Runs that are interrupted, killed, starved of disk or data: what they leave, and that they go on exactly."""

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from ehrnet_tf.config import load_config, save_config
from ehrnet_tf.data.synthetic import make_dataset
from ehrnet_tf.errors import DataError, EhrnetError, UsageError
from ehrnet_tf.training import callbacks, checkpoint, logs
from ehrnet_tf.training import train as training
from ehrnet_tf.training.optimizers import make_optimizer

SCRIPT = Path(__file__).with_name("killed_run.py")
SPEC = importlib.util.spec_from_file_location("killed_run", SCRIPT)
killed_run = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(killed_run)
SHORT = ["train.epochs=3", "train.steps_per_epoch=5", "train.checkpoint_minutes=60"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    make_dataset(root, train=9, val=2, size=96)
    return root


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(training, "build_model", killed_run.tiny)


def process(*arguments):
    """A run in a process of its own; its exit status and output."""
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    return done.returncode, done.stdout


def rows(run):
    """The lines of log.csv but for what the clock decides."""
    with open(Path(run) / "log.csv", newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def values(run):
    """Every number in last.keras: weights, random states, moments, moving average."""
    model = keras.saving.load_model(Path(run) / "last.keras")
    state = checkpoint.read_state(Path(run) / "last.keras")
    return [*model.get_weights(), *(np.array(v) for v in model.optimizer.variables)], state


def check_equal(run, other):
    (one, state), (two, other_state) = values(run), values(other)
    assert state == other_state
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    assert rows(run) == rows(other)


def test_killed_at_random_it_ends_with_the_same_weights(data, tmp_path):
    """Eight times; more by ``python tests/training/killed_run.py DATA OUT --kills 20``."""
    status, _ = process(data, tmp_path / "whole")
    assert status == 0
    status, output = process(data, tmp_path / "killed", "--kills", 8)
    assert status == 0
    left = json.loads(output.splitlines()[0])
    assert len(left) >= 5 and len(set(left)) >= 3, "it was killed at many places"
    check_equal(tmp_path / "whole", tmp_path / "killed")
    assert not [p for p in (tmp_path / "killed").iterdir() if p.name.startswith(".")], "nothing half-written stays"


def signal_in_step(monkeypatch, step, number):
    """Sends this process a signal in a step of the first epoch."""
    original = callbacks.EpochFigures.on_train_batch_end

    def on_train_batch_end(self, batch, logs=None):
        original(self, batch, logs)
        if self._epoch == 0 and self._done == step:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(callbacks.EpochFigures, "on_train_batch_end", on_train_batch_end)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(data, tmp_path, monkeypatch, tiny, number):
    config = load_config(None, killed_run.SETTINGS + SHORT)
    training.train(config, data, tmp_path / "whole")
    before = signal.getsignal(number)
    run = tmp_path / "my run"
    with monkeypatch.context() as context:
        signal_in_step(context, 3, number)
        name = number.name
        with pytest.raises(
            EhrnetError, match=rf"stopped by {name}, saved; go on with: ehrnet train --data .* '.*my run' --resume"
        ):
            training.train(config, data, run)
    assert signal.getsignal(number) is before
    assert checkpoint.read_state(run / "last.keras")["step"] == 3
    training.train(config, data, run, resume=True)
    check_equal(tmp_path / "whole", run)


def test_a_signal_in_the_last_step_changes_nothing(data, tmp_path, monkeypatch, tiny):
    signal_in_step(monkeypatch, 5, signal.SIGTERM)
    result = training.train(load_config(None, [*killed_run.SETTINGS, *SHORT, "train.epochs=1"]), data, tmp_path / "run")
    assert result["epochs"] == 1


def test_what_a_resumed_optimizer_does_is_what_the_configuration_says(data, tmp_path, tiny):
    run = tmp_path / "run"
    training.train(load_config(None, [*killed_run.SETTINGS, *SHORT, "train.epochs=1"]), data, run)
    model = keras.saving.load_model(run / "last.keras")
    config = load_config(None, [*killed_run.SETTINGS, "train.clip_norm=0.25", "train.weight_decay=0.5"])
    optimizer = make_optimizer(config.train, 5, model, resumed=True)
    assert optimizer is model.optimizer and int(optimizer.iterations) == 5
    assert (optimizer.global_clipnorm, optimizer.weight_decay) == (0.25, 0.5)
    decayed = {v.path.split("/")[-1] for v in model.trainable_variables if optimizer._use_weight_decay(v)}
    assert decayed == {"kernel"}


def test_a_second_ctrl_c_stops_at_once_and_the_last_state_stays(data, tmp_path, monkeypatch, tiny):
    original = training.ValidationAP.on_epoch_end

    def interrupted(self, epoch, logs=None):
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        original(self, epoch, logs)

    monkeypatch.setattr(training.ValidationAP, "on_epoch_end", interrupted)
    with pytest.raises(EhrnetError, match="stopped at once; go on from the last saved step with: ehrnet train"):
        training.train(load_config(None, killed_run.SETTINGS + SHORT), data, tmp_path / "run")
    assert checkpoint.read_state(tmp_path / "run" / "last.keras")["step"] == 5


def test_stopped_before_anything_was_saved_it_begins_anew(data, tmp_path, tiny):
    config = load_config(None, killed_run.SETTINGS + SHORT)
    training.train(config, data, tmp_path / "whole")
    save_config(tmp_path / "run" / "config.yaml", config)
    training.train(config, data, tmp_path / "run", resume=True)
    check_equal(tmp_path / "whole", tmp_path / "run")


def test_a_full_disk_ends_in_one_line_and_keeps_the_last_state(data, tmp_path):
    run = tmp_path / "run"
    status, _ = process(data, run, *SHORT, "train.epochs=1")
    assert status == 0
    before = (run / "last.keras").read_bytes()
    status, output = process(data, run, *SHORT, "--resume", "--file-size", 100_000)
    assert status == 1
    assert f"error: {run}: cannot be written (File too large); the last saved state is whole" in output
    assert "--resume" in output
    assert (run / "last.keras").read_bytes() == before
    status, _ = process(data, run, *SHORT, "--resume")
    assert status == 0 and len(rows(run)) == 3


def test_data_that_vanish_end_the_run_and_keep_the_last_state(data, tmp_path, monkeypatch, tiny):
    root = tmp_path / "data"
    make_dataset(root, train=5, val=2, size=96)
    original = callbacks.EpochFigures.on_epoch_begin

    def vanish(self, epoch, logs=None):
        original(self, epoch, logs)
        if epoch == 1:
            for path in (root / "train2017").iterdir():
                path.unlink()

    monkeypatch.setattr(callbacks.EpochFigures, "on_epoch_begin", vanish)
    config = load_config(None, [*killed_run.SETTINGS, *SHORT, "train.steps_per_epoch=40"])
    with pytest.raises(DataError, match=r"No such file.*pictures in a row could not be read"):
        training.train(config, root, tmp_path / "run")
    assert checkpoint.read_state(tmp_path / "run" / "last.keras")["step"] == 40
    assert "counts nothing in training" in (tmp_path / "run" / "train.log").read_text()


def test_a_loss_that_breaks_within_an_epoch_is_not_saved(data, tmp_path, monkeypatch, tiny):
    settings = [*killed_run.SETTINGS, "train.learning_rate=1e30", "train.clip_norm=null", "train.epochs=1"]
    with pytest.raises(EhrnetError, match=r"epoch 1: the loss is (nan|inf)"):
        training.train(load_config(None, settings), data, tmp_path / "run")
    path = tmp_path / "run" / "last.keras"
    assert not path.exists() or all(np.isfinite(w).all() for w in keras.saving.load_model(path).get_weights())
    assert not (tmp_path / "run" / "best.keras").exists()


def test_what_a_state_does_not_count_is_removed(data, tmp_path, tiny):
    """Killed between log.csv and last.keras, a run has a line too many."""
    config = load_config(None, killed_run.SETTINGS + SHORT)
    run = tmp_path / "run"
    training.train(load_config(None, [*killed_run.SETTINGS, *SHORT, "train.epochs=1"]), data, run)
    lines = logs.read_log(run / "log.csv")
    logs.write_log(run / "log.csv", [*lines, {**lines[0], "epoch": 1.0}])
    (run / ".unfinished-last-abc.keras").write_bytes(b"half")
    training.train(config, data, run, resume=True)
    assert [row["epoch"] for row in rows(run)] == ["0", "1", "2"]
    assert not (run / ".unfinished-last-abc.keras").exists()


@pytest.mark.parametrize(
    "change", ["train.batch_size=3", "train.optimizer=sgd", "train.ema=null", "train.sizes=[[0, 32]]"]
)
def test_what_must_not_change(data, tmp_path, tiny, change):
    run = tmp_path / "run"
    training.train(load_config(None, [*killed_run.SETTINGS, *SHORT, "train.epochs=1"]), data, run)
    with pytest.raises(UsageError, match=change.split("=")[0].replace(".", r"\.") + " differs"):
        training.train(load_config(None, [*killed_run.SETTINGS, *SHORT, change]), data, run, resume=True)
    (run / "last.keras").write_bytes(b"torn")
    with pytest.raises(UsageError, match="is not a checkpoint to go on from"):
        training.train(load_config(None, killed_run.SETTINGS + SHORT), data, run, resume=True)
