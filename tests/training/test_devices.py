"""Several devices and several processes learn what one device learns from the same batches."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ehrnet_tf.data.synthetic import make_dataset
from ehrnet_tf.errors import UsageError
from ehrnet_tf.training.devices import Devices, Processes
from ehrnet_tf.training.logs import read_log

SCRIPT = Path(__file__).with_name("killed_run.py")
# Dropout draws differently on every device of TensorFlow's strategy.
SETTINGS = ["train.epochs=2", "train.steps_per_epoch=4", "train.checkpoint_minutes=60", "model.drop_connect=0"]
DATA_PARALLEL = "train.distribution=data_parallel"
LOSSES = ("loss", "heatmaps_4_loss", "heatmaps_2_loss", "tags_loss", "tags_pull", "tags_push")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    make_dataset(root, train=9, val=2, size=96)
    return root


def begin(data, out, *arguments, backend="tensorflow"):
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(SCRIPT), str(data), str(out), *SETTINGS, *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output[-3000:]
    return output


def check_same_losses(run, other):
    one, two = read_log(run / "log.csv"), read_log(other / "log.csv")
    assert len(one) == len(two) == 2
    for a, b in zip(one, two, strict=True):
        for name in LOSSES:
            assert a[name] == pytest.approx(b[name], rel=1e-5, abs=1e-8), name
        assert a["AP_true_heatmaps"] == pytest.approx(b["AP_true_heatmaps"], abs=1e-3, nan_ok=True)


def test_two_devices_of_one_machine(data, tmp_path):
    """`MirroredStrategy`, two logical CPUs, batch norms synchronised; each goes on on the other, and under JAX."""
    end(begin(data, tmp_path / "one"))
    output = end(begin(data, tmp_path / "two", DATA_PARALLEL, "--devices", "2"))
    assert "2 devices" in output
    check_same_losses(tmp_path / "one", tmp_path / "two")
    assert (tmp_path / "two" / "best.keras").is_file()
    end(begin(data, tmp_path / "two", "train.epochs=3", "--resume"))
    end(begin(data, tmp_path / "one", DATA_PARALLEL, "train.epochs=3", "--resume", "--devices", "2"))
    one, two = (read_log(tmp_path / name / "log.csv")[2]["loss"] for name in ("one", "two"))
    assert one == pytest.approx(two, rel=1e-5)
    end(begin(data, tmp_path / "one", "train.epochs=4", "--resume", backend="jax"))
    assert [row["epoch"] for row in read_log(tmp_path / "one" / "log.csv")] == [0, 1, 2, 3]


def test_two_processes_on_loopback(data, tmp_path):
    """JAX' distributed runtime; each process reads its half of every batch, and the first writes the run folder."""
    pytest.importorskip("jax")
    end(begin(data, tmp_path / "one", backend="jax"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    processes = [
        begin(data, tmp_path / "two", DATA_PARALLEL, "--process", f"{i}/2", "--address", address, backend="jax")
        for i in (0, 1)
    ]
    try:
        for process in processes:
            end(process)
    finally:
        for process in processes:
            process.kill()
    check_same_losses(tmp_path / "one", tmp_path / "two")
    assert (tmp_path / "two" / "best.keras").is_file()


def test_models_and_losses_need_no_tensorflow():
    """Under the JAX backend it is not even imported."""
    pytest.importorskip("jax")
    code = """
import sys
import numpy as np
import ehrnet_tf.training.muon
from ehrnet_tf.models.efficienthrnet import EfficientHRNet
from ehrnet_tf.training.losses import pose_losses, tag_metrics
losses = pose_losses()
tag_metrics()
maps = np.full((2, 8, 8, 17), 0.5, np.float32)
joints = np.zeros((2, 1, 17, 2), np.int32)
joints[..., 1] = 1
assert np.isclose(float(losses["heatmaps_4"](0 * maps, maps)), 0.25)
assert np.isclose(float(losses["tags"](joints, maps)), 0)
assert "tensorflow" not in sys.modules
"""
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


def test_processes_are_named_on_the_command_line():
    assert Processes.parse(None, None) == Processes(0, 1, None)
    processes = Processes.parse("1/4", "10.0.0.1:1234")
    assert (processes.index, processes.count, processes.address) == (1, 4, "10.0.0.1:1234")
    assert processes.share == (1, 4) and not processes.first
    for text in ("1", "a/2", "2/2", "-1/2", "1/2/3", "/"):
        with pytest.raises(UsageError, match=r"INDEX/COUNT"):
            Processes.parse(text, "host:1")
    with pytest.raises(UsageError, match=r"needs --address HOST:PORT"):
        Processes.parse("0/2", None)


def test_what_cannot_be_distributed():
    several = Processes(0, 2, "localhost:1")
    with pytest.raises(UsageError, match=r"set train\.distribution=data_parallel"):
        Devices("none", several)
    with pytest.raises(UsageError, match=r"KERAS_BACKEND=jax"):
        Devices("data_parallel", several)
