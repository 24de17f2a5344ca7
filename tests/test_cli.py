"""Every command as a user types it."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from ehrnet_tf import cli
from ehrnet_tf.data.synthetic import make_dataset

COMMANDS = ["models", "make-data", "train", "pretrain", "eval", "export", "import-pytorch", "predict", "demo"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    make_dataset(root, train=4, val=2, size=96)
    return root


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A run of two steps with the real network, by the command."""
    out = tmp_path_factory.mktemp("runs") / "run"
    arguments = ["train", "--data", str(data), "--out", str(out), "--json", str(out.parent / "train.json")]
    overrides = ["model.input_size=64", "train.batch_size=2", "train.epochs=1", "train.steps_per_epoch=2"]
    assert cli.main([*arguments, *overrides]) == 0
    return out


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    assert "usage: ehrnet " + command in capsys.readouterr().out


def test_starting_is_light():
    """--version must not load TensorFlow or Keras."""
    code = "import sys; from ehrnet_tf import cli\ntry: cli.main(['--version'])\nexcept SystemExit: pass\n"
    code += "assert not {'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_models(tmp_path, capsys):
    assert cli.main(["models", "H-4", "H-4.5", "--json", str(tmp_path / "models.json")]) == 0
    published, between = json.loads((tmp_path / "models.json").read_text())
    assert published["parameters"] == 2_764_706 and published["published"]["parameters"] == 3_700_000
    assert between["parameters"] < published["parameters"] and "published" not in between
    assert "2,764,706    1.807  3.7 M, 2.1 G   14 27 54 107" in capsys.readouterr().out
    assert cli.main(["models", "B-4"]) == 0
    assert "2,056,282    0.046" in capsys.readouterr().out
    assert cli.main(["models", "big"]) == 2


def test_make_data(tmp_path, capsys):
    assert cli.main(["make-data", str(tmp_path / "d"), "--train", "2", "--val", "1", "--size", "96"]) == 0
    assert len(list((tmp_path / "d" / "train2017").iterdir())) == 2
    assert "2 training and 1 validation pictures" in capsys.readouterr().out


def test_train_eval_export_predict(run, data, tmp_path, capsys):
    best = str(run / "best.keras")
    assert json.loads((run.parent / "train.json").read_text())["epochs"] == 1

    assert cli.main(["eval", best, "--data", str(data), "--json", str(tmp_path / "keras.json")]) == 0
    figures = json.loads((tmp_path / "keras.json").read_text())
    assert figures["images"] == 2
    assert "letterbox to 64x64" in capsys.readouterr().out

    int8 = tmp_path / "model.tflite"
    export = ["export", best, "--precision", "int8", "--calibration", str(data), "--calibration-size", "3"]
    assert cli.main([*export, "--out", str(int8), "--json", str(tmp_path / "export.json")]) == 0
    report = json.loads((tmp_path / "export.json").read_text())
    assert report["pictures"] == 3
    assert sum(report["float_ops"].values()) == 0
    assert "RESIZE_NEAREST_NEIGHBOR" in report["ops"] and "TILE" not in report["ops"]
    out = capsys.readouterr().out
    assert all(name in out for name in ("heatmaps_4", "tags", "heatmaps_2", "worst"))

    assert cli.main(["eval", str(int8), "--data", str(data)]) == 0
    assert "int8" in capsys.readouterr().out

    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), np.random.default_rng(0).integers(0, 256, (70, 90), np.uint8))
    drawings, poses = tmp_path / "drawings", tmp_path / "poses.json"
    inputs = [str(photo), str(data / "val2017")]
    assert cli.main(["predict", str(int8), *inputs, "--out", str(drawings), "--json", str(poses)]) == 0
    entries = json.loads(poses.read_text())
    assert len(entries) == 3
    assert entries[0]["file"] == str(photo)
    assert cv2.imread(str(drawings / "photo.png")).shape == (70, 90, 3)
    assert len(list(drawings.iterdir())) == 3


def test_pretrain_then_train(data, tmp_path, capsys):
    for name, value in (("dark", 20), ("light", 220)):
        (tmp_path / "classes" / name).mkdir(parents=True)
        for i in range(4):
            cv2.imwrite(str(tmp_path / "classes" / name / f"{i}.png"), np.full((32, 32, 3), value, np.uint8))
    small = ["train.epochs=1", "train.batch_size=2"]
    run = [
        "pretrain",
        "--data",
        str(tmp_path / "classes"),
        "--out",
        str(tmp_path / "b"),
        "--json",
        str(tmp_path / "b.json"),
    ]
    assert cli.main([*run, "model.variant=B-10", "model.input_size=32", *small]) == 0
    assert json.loads((tmp_path / "b.json").read_text())["classes"] == ["dark", "light"]
    assert "best accuracy" in capsys.readouterr().out
    best = tmp_path / "b" / "best.keras"
    run = ["train", "--data", str(data), "--out", str(tmp_path / "h"), "model.input_size=64", "train.steps_per_epoch=1"]
    more = [f"model.backbone_weights={best}", "train.freeze_backbone_epochs=1"]
    assert cli.main([*run, *small, *more, "model.variant=H-10"]) == 0
    assert cli.main([*run, *small, *more, "model.variant=H-11", "--out", str(tmp_path / "x")]) == 1
    assert "does not fit H-11" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    assert cli.main(["predict", str(best), str(data / "val2017")]) == 1
    assert "without the outputs" in capsys.readouterr().err


def test_export_to_pytorch_and_back(run, tmp_path, capsys):
    weights, again = tmp_path / "w.npz", tmp_path / "again.keras"
    assert cli.main(["export", str(run / "best.keras"), "--format", "pytorch", "--out", str(weights)]) == 0
    assert "797 entries, read back equal" in capsys.readouterr().out
    assert cli.main(["import-pytorch", str(weights), "--out", str(again), "--input-size", "64"]) == 0
    assert "H-4, 797 entries: the whole network" in capsys.readouterr().out
    assert cli.main(["import-pytorch", str(weights), "--model", "H-4", "--out", str(again)]) == 0
    assert cli.main(["import-pytorch", str(weights), "--model", "H-2", "--out", str(again)]) == 1
    assert "w.npz: does not fit H-2: it holds H-4" in capsys.readouterr().err


def test_predict_goes_on_past_a_bad_picture(run, tmp_path, capsys):
    good, bad = tmp_path / "good.png", tmp_path / "bad.jpg"
    cv2.imwrite(str(good), np.zeros((40, 40, 3), np.uint8))
    bad.write_bytes(b"not a picture")
    poses = tmp_path / "poses.json"
    assert cli.main(["predict", str(run / "best.keras"), str(bad), str(good), "--json", str(poses)]) == 1
    assert [entry["file"] for entry in json.loads(poses.read_text())] == [str(good)]
    error = capsys.readouterr().err
    assert "bad.jpg" in error
    assert "1 of 2 inputs" in error


def test_two_inputs_of_one_name_do_not_overwrite_each_other(run, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "x.png"), np.zeros((40, 40, 3), np.uint8))
    out = tmp_path / "out"
    assert (
        cli.main(["predict", str(run / "best.keras"), str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(out)]) == 0
    )
    assert len(list(out.iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["train", "--data", "nowhere", "--out", "{tmp}/r"], 1, "nowhere"),
        (["train", "--config", "nope", "--data", "{data}", "--out", "{tmp}/r"], 2, "nope"),
        (["train", "--data", "{data}", "--out", "{tmp}/r", "train.epoch=3"], 2, "did you mean 'train.epochs'"),
        (["train", "--data", "{data}", "--out", "{tmp}/r", "model.input_size=100"], 2, "multiple"),
        (["train", "--data", "{data}", "--out", "{tmp}/r", "data.train_split=train2014"], 1, "train2014"),
        (["train", "--data", "{data}", "--out", "{data}"], 2, "exists already"),
        (["eval", "none.keras", "--data", "{data}"], 1, "none.keras"),
        (["eval", "{tmp}/text.tflite", "--data", "{data}"], 1, "text.tflite"),
        (["predict", "{tmp}/text.tflite", "nothing.jpg"], 2, "nothing.jpg"),
        (["predict", "{tmp}/text.keras", "{data}/val2017"], 1, "text.keras"),
        (["export", "{tmp}/text.tflite", "--out", "{tmp}/x.tflite"], 2, "only .keras"),
        (["export", "x.keras", "--precision", "int8", "--out", "{tmp}/x.tflite"], 2, "--calibration"),
        (["make-data", "{tmp}/d", "--train", "0"], 2, "train"),
        (["demo", "--out", "{data}"], 2, "exists already"),
    ],
)
def test_errors_are_one_line(arguments, status, message, data, tmp_path, capsys):
    for suffix in ("tflite", "keras"):
        (tmp_path / f"text.{suffix}").write_text("this is no model")
    assert cli.main([a.format(tmp=tmp_path, data=data) for a in arguments]) == status
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("ehrnet: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "x.tflite").exists()


def test_argparse_errors_exit_with_2():
    with pytest.raises(SystemExit) as stop:
        cli.main(["eval"])
    assert stop.value.code == 2
