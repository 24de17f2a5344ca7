import csv
import json
import os
import shutil
import signal
import sys

import numpy as np
import pytest

from ehrnet_tf import cli
from ehrnet_tf.config import load_config, save_config
from ehrnet_tf.data.synthetic import make_dataset
from ehrnet_tf.errors import DataError, EhrnetError, MissingExtraError, UsageError
from ehrnet_tf.evaluation import evaluate
from ehrnet_tf.quantization import finetune
from ehrnet_tf.quantization.clone import clone
from ehrnet_tf.quantization.finetune import calibration_samples, quantize_run
from ehrnet_tf.quantization.rounding import quantize
from ehrnet_tf.runtime.metadata import model_metadata, read_metadata, save_keras
from ehrnet_tf.runtime.operators import float_ops
from ehrnet_tf.runtime.runners import OUTPUTS, KerasRunner, TFLiteRunner

QUICK = ["quantize.epochs=2", "quantize.steps_per_epoch=2", "quantize.calibration=4", "train.batch_size=2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "data"
    make_dataset(folder, train=8, val=4, size=64, max_people=2, upright=True)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory, build_mini):
    """A run folder with what `ehrnet quantize` reads of it."""
    folder = tmp_path_factory.mktemp("trained")
    overrides = ["model.variant=E-10", "model.input_size=64", "train.deterministic=true", "loss.heatmap_focus=2"]
    config = load_config(None, overrides)
    save_config(folder / "config.yaml", config)
    model = build_mini(swish=False)
    for name in OUTPUTS:
        layer = model.get_layer(f"head_{name}")
        layer.set_weights([0.02 * weights for weights in layer.get_weights()])
    save_keras(model, folder / "best.keras", model_metadata(model, config, licence="CC-BY-4.0", accuracy={"AP": 0.5}))
    return folder


@pytest.fixture(scope="module")
def quantized(trained, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "quantized"
    return out, quantize_run(trained, data, out, QUICK)


def test_folder_and_figures(quantized, data):
    out, result = quantized
    names = {path.name for path in out.iterdir()}
    assert names == {
        "config.yaml", "run.json", "log.csv", "curves.png", "train.log", "int8.tflite", "float.keras"
    }  # fmt: skip
    rows = list(csv.DictReader((out / "log.csv").open()))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert float(rows[1]["learning_rate"]) < float(rows[0]["learning_rate"]) <= 3e-4
    assert all(float(row[f"{name}_loss"]) > 0 for row in rows for name in OUTPUTS)
    assert all(float(row["tags_pull"]) >= 0 for row in rows)
    assert set(result) >= {"float", "calibrated", "int8", "best_epoch", "kept_float"}
    found = evaluate(out / "int8.tflite", data, progress=False)
    assert result["int8"]["AP"] == found["AP"]


def test_the_file_is_all_integer_and_knows_where_it_comes_from(quantized, trained, data):
    out, result = quantized
    path = out / "int8.tflite"
    assert float_ops(path) == {} == result["report"]["float_ops"]
    metadata = read_metadata(path)
    assert metadata["precision"] == "int8" and metadata["licence"] == "CC-BY-4.0"
    assert metadata["source"] == str(trained)
    assert metadata["calibration"] == {"data": str(data), "split": "train2017", "pictures": 4, "seed": 0}
    assert metadata["quantization"]["kept_float"] == []
    assert metadata["accuracy"]["AP"] == result["int8"]["AP"] and metadata["accuracy"]["pictures"] == 4
    assert metadata["source_accuracy"] == {"AP": 0.5}
    assert "tensorflow-model-optimization" in metadata["versions"]


def test_float_model_has_the_weights_of_the_file(quantized):
    out, _ = quantized
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    expected, found = KerasRunner(out / "float.keras")(pixels), TFLiteRunner(out / "int8.tflite")(pixels)
    for name in OUTPUTS:
        assert np.abs(found[name] - expected[name]).mean() < 0.03 * np.ptp(expected[name])
    assert read_metadata(out / "float.keras")["precision"] == "float32"


def test_fine_tuning_changes_the_weights(trained, data, tmp_path, monkeypatch):
    """Also: an epoch that is worse than what calibration gave is not kept."""
    kept = {}
    monkeypatch.setattr(finetune, "convert", lambda model: kept.update(weights=model.get_weights()) or b"")
    monkeypatch.setattr(finetune, "write_tflite", stop)
    for name, better in (("better", True), ("worse", False)):
        aps = iter([0.5, 0.5, 0.6, 0.7] if better else [0.5, 0.5, 0.4, 0.3])

        def fake(*arguments, aps=aps, **options):
            return {name: next(aps) if name == "AP" else 0.1 for name in finetune._SAID}

        monkeypatch.setattr(finetune, "evaluate", fake)
        with pytest.raises(Ended):
            quantize_run(trained, data, tmp_path / name, QUICK)
        kept[name] = kept.pop("weights")
        with np.load(tmp_path / name / "last.npz") as state:
            assert int(state["step"]) == 4 and int(state["best_epoch"]) == (2 if better else 0)
    assert any(np.abs(a - b).max() > 1e-5 for a, b in zip(kept["better"], kept["worse"], strict=True))


class Ended(Exception):
    pass


def stop(*arguments, **options):
    raise Ended


def test_stopped_it_goes_on_as_if_nothing_had_happened(trained, data, tmp_path, monkeypatch):
    train_on_batch = []

    def interrupt(step_to_stop_at):
        import tf_keras

        own = tf_keras.Model.train_on_batch

        def train(self, *arguments, **options):
            train_on_batch.append(1)
            if len(train_on_batch) == step_to_stop_at:
                os.kill(os.getpid(), signal.SIGINT)
            return own(self, *arguments, **options)

        monkeypatch.setattr(tf_keras.Model, "train_on_batch", train)

    weights = {}
    own_convert = finetune.convert
    monkeypatch.setattr(finetune, "convert", lambda model: weights.update(last=model.get_weights()) or stop())
    with pytest.raises(Ended):
        quantize_run(trained, data, tmp_path / "whole", QUICK)
    expected = weights.pop("last")
    interrupt(3)
    out = tmp_path / "stopped"
    with pytest.raises(EhrnetError, match=f"stopped by SIGINT, saved; go on with: ehrnet quantize {trained} --data"):
        quantize_run(trained, data, out, QUICK)
    assert not (out / "int8.tflite").exists() and (out / "last.npz").is_file()
    with pytest.raises(UsageError, match="configuration differs"):
        quantize_run(trained, data, out, ["quantize.learning_rate=1"], resume=True)
    with pytest.raises(Ended):
        quantize_run(trained, data, out, resume=True)
    assert len(train_on_batch) == 4, "the third step was saved"
    for a, b in zip(weights["last"], expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [row["epoch"] for row in csv.DictReader((out / "log.csv").open())] == ["0", "1"]
    # What failed after the last step needs no more steps.
    monkeypatch.setattr(finetune, "convert", own_convert)
    assert quantize_run(trained, data, out, resume=True)["report"]["float_ops"] == {}
    assert len(train_on_batch) == 4 and not (out / "last.npz").exists()
    with pytest.raises(UsageError, match="nothing to resume"):
        quantize_run(trained, data, out, QUICK, resume=True)


def test_the_normalisation_is_not_trained(build_mini):
    """Weights come back without it."""
    trained = [tuple(variable.shape) for variable in quantize(clone(build_mini())).trainable_variables]
    assert (3, 3, 3, 8) in trained, "the stem"
    assert (1, 1, 3, 1) not in trained, "the normalisation"


def test_a_head_that_stays_float(trained, data, tmp_path, monkeypatch):
    order = [{"layer": "head_tags", "error": 1.0}]
    monkeypatch.setattr("ehrnet_tf.quantization.layers.layer_errors", lambda *arguments, **options: order)
    result = quantize_run(trained, data, tmp_path / "out", [*QUICK, "quantize.keep_float=1", "quantize.epochs=1"])
    assert result["kept_float"] == ["head_tags"]
    (row,) = csv.DictReader((tmp_path / "out" / "log.csv").open())
    assert float(row["tags_loss"]) > 0 and float(row["heatmaps_2_loss"]) > 0


def test_layers_in_float(trained, data, tmp_path):
    out = tmp_path / "kept"
    quick = ["quantize.epochs=0", "quantize.calibration=4", "quantize.keep_float=1"]
    result = quantize_run(trained, data, out, quick)
    rows = list(csv.DictReader((out / "layers.csv").open()))
    assert result["kept_float"] == [rows[0]["layer"]]
    assert 1 <= sum(result["report"]["float_ops"].values()) <= 4
    assert read_metadata(out / "int8.tflite")["quantization"]["kept_float"] == result["kept_float"]
    assert result["best_epoch"] == 0 and not (out / "log.csv").exists()


def test_unusable_input(trained, quantized, data, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="is quantised already"):
        quantize_run(quantized[0], data, out)
    with pytest.raises(UsageError, match="is quantised already"):
        quantize_run(quantized[0] / "int8.tflite", data, out)
    with pytest.raises(UsageError, match=r"holds no config\.yaml"):
        quantize_run(tmp_path, data, out)
    with pytest.raises(UsageError, match="must not change"):
        quantize_run(trained, data, out, ["model.variant=H-4"])
    with pytest.raises(UsageError, match=r"8 usable training pictures are fewer than train\.batch_size 9"):
        quantize_run(trained, data, out, ["train.batch_size=9"])
    with pytest.raises(UsageError, match=r"train\.epochs: does not count here"):
        quantize_run(trained, data, out, ["train.epochs=2"])
    with pytest.raises(UsageError, match="epochs must not be negative"):
        quantize_run(trained, data, out, ["quantize.epochs=-1"])
    with pytest.raises(DataError, match="no such folder"):
        quantize_run(trained, tmp_path / "nowhere", out)
    with pytest.raises(UsageError, match="nothing to resume"):
        quantize_run(trained, data, out, resume=True)
    assert not out.exists()
    with pytest.raises(UsageError, match="is a training run"):
        quantize_run(trained, data, trained, resume=True)
    out.mkdir()
    shutil.copy(trained / "config.yaml", out)
    (out / "last.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(UsageError, match="is not a state to go on from"):
        quantize_run(trained, data, out, resume=True)
    np.savez(out / "last.npz", step=1, kept_float=np.array([], str), source="elsewhere", steps=1)
    with pytest.raises(UsageError, match="was begun from elsewhere"):
        quantize_run(trained, data, out, resume=True)
    shutil.rmtree(out)
    with pytest.raises(UsageError, match="exists already"):
        quantize_run(trained, data, quantized[0])


def test_data_of_another_keypoint_set(trained, tmp_path):
    folder = tmp_path / "data"
    make_dataset(folder, train=2, val=1, size=64, max_people=1)
    for path in (folder / "annotations").iterdir():
        content = json.loads(path.read_text())
        content["categories"][0]["keypoints"] = content["categories"][0]["keypoints"][:5]
        path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="names 5 keypoints, the set 'coco' 17"):
        quantize_run(trained, folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_calibration_pictures(data, tmp_path):
    from ehrnet_tf.data.coco import read_records

    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    records = read_records(folder, "train2017")
    assert len(calibration_samples(records, (64, 96), 3, 0)) == 3
    assert calibration_samples(records, (64, 96), 99, 0)[0].shape == (64, 96, 3)
    shutil.rmtree(folder / "train2017")
    with pytest.raises(DataError, match="no picture to calibrate with"):
        calibration_samples(records, (64, 64), 3, 0)


def test_a_loss_that_is_nan_ends_it(trained, data, tmp_path, monkeypatch):
    import tf_keras

    monkeypatch.setattr(tf_keras.Model, "train_on_batch", lambda *arguments, **options: {"loss": float("nan")})
    with pytest.raises(EhrnetError, match=r"step 1: the loss is nan; start again with a lower quantize\.learning_rate"):
        quantize_run(trained, data, tmp_path / "out", QUICK)
    assert not (tmp_path / "out" / "int8.tflite").exists()


def test_command_line(trained, data, tmp_path, capsys):
    """`quantize`, a file with the decoder inside, `eval --store`, `info`."""
    out, figures = tmp_path / "out", tmp_path / "figures.json"
    arguments = ["quantize", trained, "--data", data, "--out", out, "--json", figures]
    quick = ["quantize.graph=poses", "quantize.epochs=0", "quantize.calibration=2"]
    assert cli.main([*map(str, arguments), *quick]) == 0
    printed = capsys.readouterr().out
    assert "as trained" in printed and "int8 file, epoch 0" in printed and f"{out / 'int8.tflite'}: " in printed
    assert json.loads(figures.read_text())["best_epoch"] == 0
    path = str(out / "int8.tflite")
    assert TFLiteRunner(path).graph == "poses"
    assert cli.main(["eval", path, "--data", str(data), "--limit", "2", "--store"]) == 0
    assert read_metadata(path)["accuracy"]["pictures"] == 2
    capsys.readouterr()
    assert cli.main(["info", path]) == 0
    printed = capsys.readouterr().out
    assert "CC-BY-4.0" in printed and "pictures 2" in printed and "poses" in printed
    assert cli.main(["quantize", path, "--data", str(data), "--out", str(tmp_path / "again")]) == 2
    assert "is quantised already; give the training run" in capsys.readouterr().err
    assert cli.main(["eval", str(tmp_path), "--data", str(data), "--store"]) == 2
    assert "--store writes into .keras and .tflite files only" in capsys.readouterr().err


def test_without_tf_keras(trained, data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf_keras", None)
    with pytest.raises(MissingExtraError, match=r"tf_keras is not installed: pip install 'ehrnet-tf\[qat\]'"):
        quantize_run(trained, data, tmp_path / "out", QUICK)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_nothing_half_written(trained, data, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(finetune, "write_tflite", full)
    out = tmp_path / "out"
    with pytest.raises(EhrnetError, match=r"No space left on device.*go on with: ehrnet quantize"):
        quantize_run(trained, data, out, ["quantize.epochs=0", "quantize.calibration=2"])
    assert not (out / "int8.tflite").exists() and not list(out.glob(".unfinished-*"))
    assert (out / "last.npz").is_file()
