"""What the configuration can change in a training: sizes, precision, optimizers, the moving average."""

import itertools
import re

import keras
import numpy as np
import pytest

from ehrnet_tf.config import load_config
from ehrnet_tf.data.synthetic import make_dataset
from ehrnet_tf.errors import UsageError
from ehrnet_tf.training import callbacks
from ehrnet_tf.training import train as training
from ehrnet_tf.training.checkpoint import read_state
from ehrnet_tf.training.logs import duration, epoch_line, read_log
from ehrnet_tf.training.optimizers import averaged, averaged_weights, inner, make_optimizer
from ehrnet_tf.training.train import Phase, phases

SETTINGS = [
    "model.input_size=64",
    "train.batch_size=4",
    "train.epochs=2",
    "train.steps_per_epoch=3",
    "data.val_limit=2",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    make_dataset(root, train=9, val=2, size=96)
    return root


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch, build_tiny):
    monkeypatch.setattr(training, "build_model", lambda config: build_tiny())


def test_small_pictures_first(data, tmp_path, monkeypatch):
    """One model, one optimizer, three sizes; what is kept is of the configuration's size."""
    seen = []
    original = training.coco_dataset

    def recorded(root, split, config, **options):
        seen.append((options["first_step"], config.model.input_size))
        return original(root, split, config, **options)

    monkeypatch.setattr(training, "coco_dataset", recorded)
    sizes = ["train.epochs=4", "train.sizes=[[0, 32], [1, 96], [3, 64]]"]
    training.train(load_config(None, [*SETTINGS, *sizes]), data, tmp_path / "run")
    assert seen == [(0, 32), (3, 96), (9, 64)]
    assert keras.saving.load_model(tmp_path / "run" / "best.keras").input_shape == (None, 64, 64, 3)
    last = keras.saving.load_model(tmp_path / "run" / "last.keras")
    assert last.input_shape == (None, None, None, 3)
    assert int(last.optimizer.iterations) == 12
    seen.clear()
    training.train(load_config(None, [*SETTINGS, *sizes, "train.epochs=5"]), data, tmp_path / "run", resume=True)
    assert seen == [(12, 64)]


def test_phases_of_a_run():
    config = load_config(None, [*SETTINGS, "train.epochs=6", "train.freeze_backbone_epochs=2", "train.sizes=[[3, 96]]"])
    assert phases(config, 10, 0) == [
        Phase(0, 20, True, 0, 64),
        Phase(20, 30, False, 20, 64),
        Phase(30, 60, False, 20, 96),
    ]
    assert phases(config, 10, 25) == [Phase(25, 30, False, 20, 64), Phase(30, 60, False, 20, 96)]
    assert phases(config, 10, 30) == [Phase(30, 60, False, 20, 96)]
    assert phases(load_config(None, SETTINGS), 10, 0) == [Phase(0, 20, False, 0, None)]


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(data, tmp_path, monkeypatch, precision):
    """Arithmetic in 16 bits, weights and what is kept in 32; a run goes on, loss scaling included."""
    built = []
    original = training.trained_model
    monkeypatch.setattr(training, "trained_model", lambda config: built.append(original(config)) or built[-1])
    few = ["train.steps_per_epoch=20", "train.learning_rate=3e-3", "data.limit=4", "augment.enabled=false"]
    settings = [*SETTINGS, f"train.precision={precision}", *few]
    training.train(load_config(None, settings), data, tmp_path / "run")
    convolution = next(layer for layer in built[0].layers if isinstance(layer, keras.layers.Conv2D))
    assert convolution.compute_dtype == precision.removeprefix("mixed_") and convolution.kernel.dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"
    best = keras.saving.load_model(tmp_path / "run" / "best.keras")
    assert {layer.compute_dtype for layer in best.layers} == {"float32"}
    training.train(load_config(None, [*settings, "train.epochs=4"]), data, tmp_path / "run", resume=True)
    rows = read_log(tmp_path / "run" / "log.csv")
    assert len(rows) == 4 and rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    last = keras.saving.load_model(tmp_path / "run" / "last.keras")
    assert int(inner(last.optimizer).iterations) == 80
    assert isinstance(last.optimizer, keras.optimizers.LossScaleOptimizer) == (precision == "mixed_float16")


@pytest.mark.parametrize(
    "options",
    [
        ["train.optimizer=adamw", "train.weight_decay=0.01"],
        ["train.optimizer=sgd", "train.learning_rate=0.1", "train.clip_norm=1"],
        ["train.optimizer=muon", "train.learning_rate=1e-2", "train.clip_norm=1", "train.ema=0.5"],
    ],
)
def test_optimizers_learn(data, tmp_path, options):
    few = ["train.epochs=3", "train.steps_per_epoch=20", "data.limit=4", "augment.enabled=false"]
    training.train(load_config(None, [*SETTINGS, *few, *options]), data, tmp_path / "run")
    losses = [row["loss"] for row in read_log(tmp_path / "run" / "log.csv")]
    assert losses[-1] < 0.9 * losses[0]


def test_weight_decay_leaves_biases_and_batch_norms_alone(build_tiny):
    model = build_tiny()
    config = load_config(None, ["train.optimizer=sgd", "train.weight_decay=0.5", "train.learning_rate=0.1"]).train
    optimizer = make_optimizer(config, 1, model)
    for variable in model.trainable_variables:
        variable.assign(keras.ops.ones_like(variable))
    optimizer.apply([keras.ops.zeros_like(v) for v in model.trainable_variables])
    for variable in model.trainable_variables:
        expected = 0.95 if variable.path.endswith("kernel") else 1
        np.testing.assert_allclose(variable, np.full(variable.shape, expected), rtol=1e-6, err_msg=variable.path)


def test_the_norm_of_all_gradients_is_cut(build_tiny):
    model = build_tiny()
    config = load_config(None, ["train.optimizer=sgd", "train.learning_rate=1", "train.clip_norm=0.5"]).train
    optimizer = make_optimizer(config, 1, model)
    before = model.get_weights()
    optimizer.apply([keras.ops.ones_like(v) for v in model.trainable_variables])
    moved = sum(((a - b) ** 2).sum() for a, b in zip(before, model.get_weights(), strict=True)) ** 0.5
    assert moved == pytest.approx(0.5 * 1.9, rel=1e-3)  # Nesterov's first step: 1 + momentum


def test_what_is_kept_is_the_moving_average(data, tmp_path, monkeypatch):
    config = load_config(None, [*SETTINGS, "train.ema=0.5", "train.learning_rate=1e-2", "train.epochs=1"])
    training.train(config, data, tmp_path / "run")
    last = keras.saving.load_model(tmp_path / "run" / "last.keras")
    best = keras.saving.load_model(tmp_path / "run" / "best.keras")
    own, averages = last.get_weights(), averaged_weights(last)
    assert any(not np.array_equal(a, b) for a, b in zip(own, averages, strict=True))
    for a, b in zip(averages, best.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with averaged(last):
        for a, b in zip(averages, last.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(own, last.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_average_is_of_every_step(data, tmp_path, monkeypatch):
    """The moving average by hand from the weights after each step."""
    steps = []
    original = callbacks.EpochFigures.on_train_batch_end

    def noted(self, batch, logs=None):
        original(self, batch, logs)
        steps.append([np.array(v) for v in self.model.trainable_variables])

    monkeypatch.setattr(callbacks.EpochFigures, "on_train_batch_end", noted)
    training.train(load_config(None, [*SETTINGS, "train.ema=0.8"]), data, tmp_path / "run")
    expected = steps[0]
    for step in steps[1:]:
        expected = [0.8 * e + 0.2 * s for e, s in zip(expected, step, strict=True)]
    last = keras.saving.load_model(tmp_path / "run" / "last.keras")
    for average, value in zip(last.optimizer._model_variables_moving_average, expected, strict=True):
        np.testing.assert_allclose(average, value, rtol=1e-4, atol=1e-6)


def test_long_epochs_say_how_far_they_are(data, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(callbacks.EpochFigures.__init__, "__defaults__", (0.0,))
    with caplog.at_level("INFO"):
        training.train(load_config(None, SETTINGS), data, tmp_path / "run")
    lines = [record.getMessage() for record in caplog.records if "step 2 of 3" in record.getMessage()]
    assert len(lines) == 2
    assert re.fullmatch(
        r"epoch 1, step 2 of 3: loss 0\.\d+, [\d.]+ pictures a second, \d+ s left of the epoch", lines[0]
    )


def test_a_state_counts_the_steps(data, tmp_path):
    training.train(load_config(None, SETTINGS), data, tmp_path / "run")
    state = read_state(tmp_path / "run" / "last.keras")
    assert (state["step"], state["steps"]) == (6, 3)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.optimizer=lion", "optimizer must be one of adam, adamw, sgd, muon"),
        ("train.clip_norm=0", "clip_norm must be positive"),
        ("train.weight_decay=-1", "weight_decay must not be negative"),
        ("train.ema=1", "ema must lie between 0 and 1"),
        ("train.precision=float16", "precision must be one of float32, mixed_float16, mixed_bfloat16"),
        ("train.sizes=[[1, 64], [0, 32]]", "sizes must be in the order of epochs"),
        ("train.sizes=[[0, 50]]", "sizes must be multiples of 32"),
        ("train.sizes=[0, 64]", "'train.sizes' must be a list of values, each a list of 2 values, each an integer"),
        ("train.distribution=horovod", "distribution must be 'none' or 'data_parallel'"),
        ("train.checkpoint_minutes=0", "checkpoint_minutes must be positive"),
    ],
)
def test_options_that_cannot_be(override, message):
    with pytest.raises(UsageError, match=message.replace("[", r"\[")):
        load_config(None, [override])


def test_a_batch_must_suit_the_devices(data, tmp_path, monkeypatch):
    monkeypatch.setattr(training.Devices, "count", property(lambda self: 3))
    with pytest.raises(UsageError, match=r"train\.batch_size 4: must be a multiple of the 3 devices"):
        training.train(load_config(None, SETTINGS), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_epoch_in_words():
    row = {"loss": 0.5, "tags_loss": 0.1, "AP": 0.3, "AP_true_groups": 0.35, "AP_true_heatmaps": 0.9}
    assert epoch_line(row) == (
        "loss 0.5 (tags 0.1), AP 0.300 (with true grouping 0.350, with true heat-maps 0.900: "
        "the heat-maps hold it back)"
    )
    assert "the tags hold it back" in epoch_line({**row, "AP_true_groups": 0.95})
    assert epoch_line({"loss": 0.5, "AP": float("nan")}) == "loss 0.5"
    words = [duration(seconds) for seconds in (-1, 12, 59 * 60, 3 * 3600 + 20 * 60)]
    assert words == ["0 s", "12 s", "59 min", "3 h 20 min"]
    assert all(a != b for a, b in itertools.pairwise(words))
