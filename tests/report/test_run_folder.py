"""Runs of every kind, finished or not, whole or not."""

import json
import shutil

import pytest

from ehrnet_tf.config import PretrainConfig, load_config, save_config
from ehrnet_tf.errors import ModelFileError, UsageError
from ehrnet_tf.report.run_folder import FILE, PRETRAINING, QUANTISATION, TRAINING, read_run


def test_a_training_run(run):
    found = read_run(run)
    assert (found.kind, found.files, found.epochs, found.notes) == (TRAINING, (run / "best.keras",), (2, 3), ())
    assert found.changed == {"model.variant", "train.epochs"}
    assert found.config["model"]["variant"] == "H-6" and found.config["train"]["batch_size"] == 8
    assert found.best_epoch["epoch"] == 1 and found.best_epoch["AP"] == 0.25
    assert found.metadata["keypoints"]["name"] == "square"
    assert found.curves["Losses"][0] == "loss"


def test_a_run_before_its_first_epoch(run):
    for name in ("best.keras", "log.csv", "run.json"):
        (run / name).unlink()
    found = read_run(run)
    assert (found.kind, found.files, found.epochs, found.best_epoch) == (TRAINING, (), (0, 3), None)
    said = " ".join(found.notes)
    assert all(name in said for name in ("best.keras is not there", "log.csv holds nothing", "run.json is not there"))


def test_a_quantisation_run_shows_what_it_was_made_of(run, tmp_path):
    from ehrnet_tf.runtime.metadata import append_metadata, read_metadata

    made = tmp_path / "int8"
    made.mkdir()
    shutil.copy(run / "best.keras", made / "int8.tflite")
    append_metadata(made / "int8.tflite", {**read_metadata(made / "int8.tflite"), "source": str(run)})
    shutil.copy(run / "config.yaml", made)
    shutil.copy(run / "log.csv", made)
    found = read_run(made)
    assert (found.kind, found.epochs) == (QUANTISATION, (2, 3)), "quantize.epochs, not train.epochs, are planned"
    assert found.files == (made / "int8.tflite", run / "best.keras")
    (run / "best.keras").unlink()
    assert read_run(made).files == (made / "int8.tflite",)
    (made / "int8.tflite").unlink()
    assert read_run(made).kind == TRAINING, "nothing tells it from one"
    (made / "run.json").write_text(json.dumps({"data": {"root": "d", "pictures": 8}}))
    found = read_run(made)
    assert found.kind == QUANTISATION and "int8.tflite is not there" in found.notes[0]


def test_a_classifier_s_run(tmp_path):
    save_config(tmp_path / "config.yaml", load_config(None, ["train.epochs=7"], PretrainConfig))
    (tmp_path / "log.csv").write_text("epoch,loss,accuracy\n0,0.5,0.25\n")
    found = read_run(tmp_path)
    assert (found.kind, found.epochs, found.best_epoch) == (PRETRAINING, (1, 7), None)
    assert found.curves["Accuracy"] == ["accuracy", "val_accuracy"]


def test_a_file_by_itself(best):
    found = read_run(best)
    assert (found.kind, found.files, found.log, found.config) == (FILE, (best,), [], {})
    assert found.metadata["precision"] == "float32"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.yaml", "model: [", "cannot be read as YAML"),
        ("config.yaml", "model:\n  colour: red\n", "the configuration is shown as it stands there"),
        ("run.json", "[]", "cannot be read as JSON"),
        ("log.csv", "epoch,loss\n0,x\n", "the curves are left out"),
        ("log.csv", "epoch,loss\n0,1,2\n", "the curves are left out"),
        ("log.csv", "loss\n1\n", "the curves are left out"),
        ("best.keras", "PK\x03\x04", ""),
    ],
)
def test_what_is_damaged_is_left_out_and_said(run, name, content, words):
    (run / name).write_text(content)
    found = read_run(run)
    assert words in " ".join(found.notes)
    assert bool(found.log) == (name != "log.csv")
    assert found.config.get("model") == {"colour": "red"} or "colour" not in content


def test_no_run(tmp_path):
    with pytest.raises(UsageError, match=r"none: no such folder; give that of `ehrnet train`"):
        read_run(tmp_path / "none")
    with pytest.raises(UsageError, match="holds no run"):
        read_run(tmp_path)
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(ModelFileError, match=r"x\.txt: not a kind of model"):
        read_run(tmp_path / "x.txt")
