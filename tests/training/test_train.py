"""The training run on a network of a few layers: what a run folder holds, resuming, and bad input."""

import json
import math

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from ehrnet_tf import EfficientHRNet
from ehrnet_tf.config import load_config
from ehrnet_tf.data.synthetic import make_dataset
from ehrnet_tf.errors import DataError, EhrnetError, ModelFileError, UsageError
from ehrnet_tf.runtime.metadata import read_metadata
from ehrnet_tf.training import train as training
from ehrnet_tf.training.logs import read_log

REAL_BUILD_MODEL = training.build_model
SETTINGS = ["model.input_size=64", "train.batch_size=4", "train.epochs=2", "data.val_limit=3"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    make_dataset(root, train=9, val=3, size=96)
    return root


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch, build_tiny):
    monkeypatch.setattr(training, "build_model", lambda config: build_tiny())


def test_run_folder_explains_itself_and_resumes(data, tmp_path, monkeypatch):
    broken = data / "train2017" / "000000000003.jpg"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    run = tmp_path / "run"
    try:
        result = training.train(load_config(None, SETTINGS), data, run)
    finally:
        broken.write_bytes(whole)
    assert result["epochs"] == 2
    assert {p.name for p in run.iterdir()} == {
        "config.yaml",
        "run.json",
        "log.csv",
        "curves.png",
        "train.log",
        "tensorboard",
        "last.keras",
        "best.keras",
    }
    assert load_config(run / "config.yaml") == load_config(None, SETTINGS)
    described = json.loads((run / "run.json").read_text())
    assert described["seed"] == 0
    assert {"ehrnet-tf", "keras", "tensorflow"} <= set(described["starts"][0]["versions"])
    skipped = described["data"]["train"]["skipped"]
    assert list(skipped) == [str(broken)], "one bad picture is named, and training lives"
    assert broken.name in (run / "train.log").read_text()
    assert described["data"]["train"]["pictures"] == 8
    log = read_log(run / "log.csv")
    assert [row["epoch"] for row in log] == [0, 1]
    assert all(math.isfinite(row[k]) for row in log for k in ("loss", "tags_pull", "tags_push", "AP", "learning_rate"))
    assert cv2.imread(str(run / "curves.png")).shape[0] > 300
    assert list((run / "tensorboard").rglob("events*"))
    metadata = read_metadata(run / "best.keras")
    assert metadata["variant"] == "H-4"
    assert metadata["accuracy"]["split"] == "val2017"

    with pytest.raises(UsageError, match="all 2 epochs are done"):
        training.train(load_config(None, SETTINGS), data, run, resume=True)
    with pytest.raises(UsageError, match="model section differs"):
        training.train(load_config(None, [*SETTINGS, "model.variant=H0"]), data, run, resume=True)

    before = keras.saving.load_model(run / "last.keras")
    monkeypatch.setattr(training, "build_model", None)  # resuming must not build anew
    training.train(load_config(None, [*SETTINGS, "train.epochs=3"]), data, run, resume=True)
    after = keras.saving.load_model(run / "last.keras")
    assert int(before.optimizer.iterations) == 4
    assert int(after.optimizer.iterations) == 6
    assert [row["epoch"] for row in read_log(run / "log.csv")] == [0, 1, 2]
    assert len(json.loads((run / "run.json").read_text())["starts"]) == 2


@pytest.mark.parametrize(
    "more", [[], ["train.optimizer=muon", "train.learning_rate=1e-2", "data.subpixel=true", "data.tag_radius=1"]]
)
def test_loss_falls_on_few_pictures(data, tmp_path, more):
    few = ["train.epochs=3", "train.steps_per_epoch=20", "data.limit=4", "augment.enabled=false"]
    config = load_config(None, [*SETTINGS, *few, *more])
    training.train(config, data, tmp_path / "run")
    losses = [row["loss"] for row in read_log(tmp_path / "run" / "log.csv")]
    assert losses[-1] < 0.8 * losses[0]


def test_the_training_graph_is_traced_once(data, tmp_path, monkeypatch):
    """Tracing a large network takes seconds; variables that a graph makes itself cost a second tracing."""
    traced = []
    original = training.pose_losses()["tags"].__class__.call

    def call(self, y_true, y_pred):
        traced.append(isinstance(y_pred, tf.Tensor) and not tf.executing_eagerly())
        return original(self, y_true, y_pred)

    monkeypatch.setattr("ehrnet_tf.training.losses.TagLoss.call", call)
    training.train(load_config(None, SETTINGS), data, tmp_path / "run")
    assert sum(traced) == 1


def test_nan_loss_ends_the_run_and_keeps_what_was_good(data, tmp_path):
    config = load_config(None, [*SETTINGS, "train.learning_rate=1e30", "train.steps_per_epoch=6"])
    with pytest.raises(EhrnetError, match=r"the loss is (nan|inf).*last good state.*train.learning_rate"):
        training.train(config, data, tmp_path / "run")
    assert not (tmp_path / "run" / "last.keras").exists()


def test_more_epochs_than_first_planned_lengthen_the_schedule(data, tmp_path):
    settings = [*SETTINGS, "train.schedule=cosine", "train.steps_per_epoch=2"]
    training.train(load_config(None, settings), data, tmp_path / "run")
    training.train(load_config(None, [*settings, "train.epochs=4"]), data, tmp_path / "run", resume=True)
    rates = [row["learning_rate"] for row in read_log(tmp_path / "run" / "log.csv")]
    assert rates == pytest.approx([5e-4, 0, 1e-3 * (1 - 0.5**0.5) / 2, 0], abs=1e-9)
    assert int(keras.saving.load_model(tmp_path / "run" / "last.keras").optimizer.iterations) == 8


def test_folder_that_is_not_empty(data, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        training.train(load_config(None, SETTINGS), data, tmp_path)
    with pytest.raises(UsageError, match=r"nothing to resume \(no config.yaml\)"):
        training.train(load_config(None, SETTINGS), data, tmp_path / "none", resume=True)


def test_batch_larger_than_data(data, tmp_path):
    with pytest.raises(UsageError, match=r"train\.batch_size"):
        training.train(load_config(None, [*SETTINGS, "train.batch_size=10"]), data, tmp_path / "run")


def test_bad_data_leaves_no_run_folder_behind(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        training.train(load_config(None, SETTINGS), tmp_path / "nowhere", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_real_builder_follows_the_configuration(tmp_path):
    model = REAL_BUILD_MODEL(
        load_config(None, ["model.input_size=96", "model.activation=relu6", "model.squeeze_excite=false"])
    )
    assert model.input_shape == (None, 96, 96, 3)
    assert np.isclose(model.get_layer("backbone_stem_activation").max_value, 6)
    model.save_weights(tmp_path / "start.weights.h5")
    settings = ["model.input_size=64", "model.activation=relu6", "model.squeeze_excite=false"]
    again = REAL_BUILD_MODEL(load_config(None, [*settings, f"model.weights={tmp_path / 'start.weights.h5'}"]))
    np.testing.assert_array_equal(again.weights[0], model.weights[0])
    with pytest.raises(ModelFileError, match="no such weights file"):
        REAL_BUILD_MODEL(load_config(None, [*settings, "model.weights=none.keras"]))


def test_missing_start_weights_leave_no_run_folder(data, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "build_model", REAL_BUILD_MODEL)
    config = load_config(None, [*SETTINGS, "model.weights=none.keras", "model.variant=H-8"])
    with pytest.raises(ModelFileError, match="no such weights file"):
        training.train(config, data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_frozen_backbone_stands_still_and_then_moves(data, tmp_path, monkeypatch):
    def build(config):
        keras.utils.set_random_seed(0)
        return EfficientHRNet("H-10", input_size=64)

    monkeypatch.setattr(training, "build_model", build)
    frozen = [*SETTINGS, "train.freeze_backbone_epochs=2", "data.limit=4", "train.milestones=[3]"]
    start = {w.path: np.array(w) for w in build(None).weights}

    def moved(run):
        """Whether any backbone weight or statistic changed, and whether any other did."""
        model = keras.saving.load_model(run / "last.keras")
        changed = {w.path: not np.array_equal(w, start[w.path]) for w in model.weights if "seed" not in w.path}
        backbone = [change for path, change in changed.items() if path.startswith("backbone_")]
        others = [change for path, change in changed.items() if not path.startswith("backbone_")]
        return any(backbone), any(others), all(layer.trainable for layer in model.layers), model.optimizer

    run = tmp_path / "run"
    training.train(load_config(None, [*frozen, "train.epochs=1"]), data, run)
    in_backbone, in_others, trainable, optimizer = moved(run)
    assert in_others and not in_backbone and not trainable
    assert int(optimizer.iterations) == 1
    assert all(layer.trainable for layer in keras.saving.load_model(run / "best.keras").layers)
    training.train(load_config(None, [*frozen, "train.epochs=3"]), data, run, resume=True)
    in_backbone, in_others, trainable, optimizer = moved(run)
    assert in_backbone and in_others and trainable
    assert int(optimizer.iterations) == 1  # the thawed phase has an optimizer of its own, and the schedule goes on
    rows = read_log(run / "log.csv")
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert [row["learning_rate"] for row in rows] == pytest.approx([1e-3, 1e-3, 1e-4])
