"""Every command as a user types it."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from ehrnet_tf import cli
from ehrnet_tf.data.synthetic import make_dataset

COMMANDS = [
    "models",
    "make-data",
    "make-shards",
    "check-data",
    "train",
    "pretrain",
    "eval",
    "export",
    "info",
    "import-pytorch",
    "predict",
    "draw",
    "report",
    "demo",
]


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


@pytest.fixture(scope="module")
def tiny(build_tiny, tmp_path_factory):
    """The file of a network of a few layers, for 64x64 pictures; it sees people in noise."""
    from ehrnet_tf.runtime import save_keras

    path, model = tmp_path_factory.mktemp("models") / "tiny.keras", build_tiny()
    for name in ("head_heatmaps_4", "head_heatmaps_2", "head_tags"):
        layer = model.get_layer(name)
        layer.set_weights([80 * w for w in layer.get_weights()])
    save_keras(model, path)
    return str(path)


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
    assert "DEPTH_TO_SPACE" in report["ops"] and "TILE" not in report["ops"]
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


@pytest.mark.parametrize(
    ("options", "protocol"),
    [
        ([], "letterbox to 64x64, no flip, single scale, exact decoder"),
        (["--fast"], "letterbox to 64x64, no flip, single scale, live decoder"),
        (["--fast", "--sizes", "reference"], "short side 64, multiples of 64, no flip, single scale, live decoder"),
        (["--flip", "--scales", "0.5,1"], "letterbox to 32x32, 64x64, flip, scales 0.5, 1, exact decoder"),
        (
            ["--sizes", "reference", "--scales", "1,0.5", "--batch-size", "2"],
            "reference sizes, short side 64, multiples of 64, no flip, scales 1, 0.5, exact decoder",
        ),
        (
            ["--fast", "--limb-length", "4", "--min-joints", "2", "--duplicate-oks", "0.8"],
            "live decoder, limbs up to 4 times the median, at least 2 joints, duplicates above OKS 0.8 left out",
        ),
    ],
)
def test_eval_says_what_it_did(options, protocol, tiny, data, tmp_path, capsys):
    figures = tmp_path / "figures.json"
    assert cli.main(["eval", tiny, "--data", str(data), "--json", str(figures), *options]) == 0
    assert json.loads(figures.read_text())["protocol"].endswith(protocol)
    out = capsys.readouterr().out
    assert out.splitlines()[0].endswith(protocol)
    assert "AP_M" in out and "wall" in out and "right_wrist" not in out


def test_eval_details_worst_misses_and_results(tiny, data, tmp_path, capsys):
    files = {name: tmp_path / name for name in ("figures.json", "results.json", "worst")}
    options = ["--details", "--worst", "2", str(files["worst"]), "--results", str(files["results.json"]), "--fast"]
    assert cli.main(["eval", tiny, "--data", str(data), "--json", str(files["figures.json"]), *options]) == 0
    figures = json.loads(files["figures.json"].read_text())
    assert figures["keypoints"]["right_wrist"]["labelled"] > 0
    assert list(figures["sizes"]) == ["32-64 px", "64-96 px", "96-192 px", "over 192 px"]
    names = sorted(path.name for path in files["worst"].iterdir())
    assert [name.split("_")[0] for name in names] == ["01", "02", "overview.jpg"]
    assert {r["image_id"] for r in json.loads(files["results.json"].read_text())} == {1, 2}
    assert not list(tmp_path.glob("*.part"))
    out = capsys.readouterr().out
    assert "right_wrist" in out and "over 192 px" in out
    assert f"worst misses: {files['worst'] / 'overview.jpg'}" in out


def test_eval_goes_on_after_it_was_stopped(tiny, data, tmp_path, capsys, monkeypatch):
    from ehrnet_tf.runtime.runners import KerasRunner

    run, results = KerasRunner._run, tmp_path / "results.json"
    command = ["eval", tiny, "--data", str(data), "--fast", "--results", str(results)]
    calls = []

    def stop(self, images):
        calls.append(len(images))
        if len(calls) == 3:  # warming up, a picture, another
            raise KeyboardInterrupt
        return run(self, images)

    monkeypatch.setattr(KerasRunner, "_run", stop)
    assert cli.main(command) == 130
    assert "ehrnet: stopped" in capsys.readouterr().err
    assert not results.exists()
    assert results.with_name("results.json.part").exists()
    assert cli.main(command) == 0
    assert "2 pictures" in capsys.readouterr().out
    assert results.exists()
    assert not results.with_name("results.json.part").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scales", "half"], "--scales half: give numbers between commas"),
        (["--scales", "0.5,,1"], "--scales 0.5,,1: give numbers"),
        (["--scales", ""], "--scales : give numbers"),
        (["--scales", "0.5,2"], "1 must be among them"),
        (["--scales", "1,-1"], "positive"),
        (["--scales", "nan"], "positive"),
        (["--fast", "--flip"], "the live decoder takes neither"),
        (["--fast", "--scales", "0.5,1"], "the live decoder takes neither"),
        (["--worst", "0", "{tmp}/worst"], "--worst 0: give a whole number of at least 1"),
        (["--worst", "two", "{tmp}/worst"], "--worst two"),
        (["--worst", "-1", "{tmp}/worst"], "--worst -1"),
        (["--limit", "0"], "limit 0"),
        (["--batch-size", "0"], "batch_size 0"),
        (["--limb-length", "1"], "limb_length 1"),
        (["--min-joints", "-1"], "min_joints -1"),
        (["--duplicate-oks", "2"], "duplicate_oks 2"),
    ],
)
def test_eval_options_that_cannot_be(options, message, tiny, data, tmp_path, capsys):
    status = cli.main(["eval", tiny, "--data", str(data), *(option.format(tmp=tmp_path) for option in options)])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ehrnet: ")]
    assert status == 2
    assert len(lines) == 1 and message in lines[0]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["--sizes", "square"], ["--worst", "2"], ["--min-joints", "few"]])
def test_eval_options_that_argparse_refuses(arguments, data):
    with pytest.raises(SystemExit) as stop:
        cli.main(["eval", "none.keras", "--data", str(data), *arguments])
    assert stop.value.code == 2


def test_predict_with_the_exact_decoder_and_filters(tiny, data, tmp_path, capsys):
    def people(*options):
        path = tmp_path / "poses.json"
        arguments = [tiny, str(data / "val2017"), "--json", str(path), "--min-score", "0", *options]
        assert cli.main(["predict", *arguments]) == 0
        return [entry["people"] for entry in json.loads(path.read_text())]

    live, exact = people(), people("--exact")
    assert live != exact
    assert sum(map(len, live)) > 2

    def joints(person):
        return sum(score > 0 for _, _, score in person["keypoints"].values())

    most = max(joints(person) for each in live for person in each)
    few = people("--min-joints", str(most))
    assert [[p for p in each if joints(p) >= most] for each in live] == few
    assert people("--min-joints", "18", "--exact") == [[], []]
    alone = people("--duplicate-oks", "0", "--limb-length", "1.5")
    assert sum(map(len, alone)) < sum(map(len, live))
    assert cli.main(["predict", tiny, str(data / "val2017"), "--duplicate-oks", "7"]) == 2
    assert "duplicate_oks 7" in capsys.readouterr().err


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


def test_values_stand_anywhere_but_options_must_exist(capsys):
    args = cli.parse(["quantize", "RUN", "a.b=1", "--data", "D", "--out", "O", "c.d=2", "--resume", "e.f=3"])
    assert args.run == "RUN" and args.resume and sorted(args.overrides) == ["a.b=1", "c.d=2", "e.f=3"]
    for wrong in (["train", "--data", "D", "--out", "O", "--nothing"], ["models", "--json", "F", "H0", "--x"]):
        with pytest.raises(SystemExit) as stopped:
            cli.parse(wrong)
        assert stopped.value.code == 2
        assert "unrecognized arguments: --" in capsys.readouterr().err


def test_a_file_without_metadata_asks_for_its_keypoints(build_tiny, tmp_path, capsys):
    bare, picture = tmp_path / "bare.keras", tmp_path / "a.png"
    build_tiny((None, None), keypoints=4).save(bare)
    cv2.imwrite(str(picture), np.full((40, 60, 3), 80, np.uint8))
    command = ["predict", str(bare), str(picture), "--json", str(tmp_path / "p.json"), "--min-score", "0"]
    assert cli.main(command) == 2
    assert "has 4 keypoint channels but does not say which; give keypoints=" in capsys.readouterr().err
    assert cli.main([*command, "--keypoints", "crowdpose"]) == 2
    assert "the set 'crowdpose' 14 keypoints" in capsys.readouterr().err
    assert cli.main([*command, "--keypoints", "corners", "--input-size", "100"]) == 2
    assert "input size 100x100: both must be multiples of 32" in capsys.readouterr().err
    assert cli.main([*command, "--keypoints", "corners", "--input-size", "96"]) == 0
    assert json.loads((tmp_path / "p.json").read_text())[0]["file"] == str(picture)
    assert cli.main([*command, "--keypoints", "corners", "--device", "gpu"]) == 2
    assert "which has no such choice" in capsys.readouterr().err
