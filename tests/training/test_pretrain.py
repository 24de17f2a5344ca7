"""The training of a classifier: its run folder, resuming, bad input, and its way into the pose model."""

import json
import shutil

import cv2
import keras
import numpy as np
import pytest

from ehrnet_tf import EfficientHRNet
from ehrnet_tf.config import PretrainConfig, load_config
from ehrnet_tf.errors import DataError, UsageError
from ehrnet_tf.runtime.metadata import read_metadata
from ehrnet_tf.training.logs import read_log
from ehrnet_tf.training.pretrain import pretrain

SETTINGS = [
    "model.variant=B-10",
    "model.input_size=32",
    "data.validation=0.2",
    "train.epochs=3",
    "train.batch_size=8",
    "train.learning_rate=3e-3",
    "train.warmup_epochs=0",
]


def config(*more):
    return load_config(None, [*SETTINGS, *more], PretrainConfig)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two classes that color alone tells apart."""
    root = tmp_path_factory.mktemp("classes")
    rng = np.random.default_rng(0)
    for name, channel in (("blue", 0), ("red", 2)):
        (root / name).mkdir()
        for i in range(20):
            picture = rng.integers(0, 120, (32, 32, 3)).astype(np.uint8)
            picture[..., channel] += 130
            cv2.imwrite(str(root / name / f"{i}.png"), picture)
    return root


def test_run_folder_resuming_and_the_way_into_the_pose_model(data, tmp_path):
    run = tmp_path / "run"
    result = pretrain(config(), data, run)
    assert result["classes"] == ["blue", "red"]
    assert result["best_accuracy"] == max(row["val_accuracy"] for row in read_log(run / "log.csv"))
    files = {"config.yaml", "run.json", "log.csv", "curves.png", "train.log", "tensorboard", "last.keras", "best.keras"}
    assert {p.name for p in run.iterdir()} == files
    metadata = read_metadata(run / "best.keras")
    assert (metadata["task"], metadata["variant"], metadata["classes"]) == ("classification", "B-10", ["blue", "red"])
    described = json.loads((run / "run.json").read_text())
    assert (described["data"]["train"], described["data"]["validation"]) == (32, 8)

    EfficientHRNet("H-10", input_size=32, backbone_weights=run / "best.keras")

    with pytest.raises(UsageError, match="all 3 epochs are done"):
        pretrain(config(), data, run, resume=True)
    pretrain(config("train.epochs=5"), data, run, resume=True)
    rows = read_log(run / "log.csv")
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 4]
    assert int(keras.saving.load_model(run / "last.keras").optimizer.iterations) == 20
    assert rows[-1]["accuracy"] > 0.9, "what two colors can tell is learnt"
    assert rows[3]["learning_rate"] > 1e-4, "the schedule is that of five epochs now"

    (data / "zebra").mkdir()
    shutil.copy(data / "red" / "0.png", data / "zebra" / "0.png")
    shutil.copy(data / "red" / "1.png", data / "zebra" / "1.png")
    try:
        with pytest.raises(DataError, match=r"its classes are not those of .*run \(blue, red\)"):
            pretrain(config("train.epochs=6"), data, run, resume=True)
    finally:
        shutil.rmtree(data / "zebra")


def test_bad_arguments(data, tmp_path):
    with pytest.raises(UsageError, match="exists already"):
        pretrain(config(), data, data)
    with pytest.raises(UsageError, match=r"train\.batch_size 64"):
        pretrain(config("train.batch_size=64"), data, tmp_path / "run")
    with pytest.raises(UsageError, match="B0"):
        pretrain(config("model.variant=H-4"), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()
