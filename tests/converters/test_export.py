"""The one export behind the command: what goes together, what is refused before the work, and that nothing half-written
stays."""

import json
import subprocess
import sys

import cv2
import pytest

from ehrnet_tf import cli
from ehrnet_tf.converters.export import FORMATS, export
from ehrnet_tf.errors import ModelFileError, UsageError
from ehrnet_tf.runtime.metadata import read_metadata
from ehrnet_tf.runtime.runners import open_runner
from painted import SET, picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two pictures with the painted people."""
    path = tmp_path_factory.mktemp("pictures")
    for number, shift in enumerate(((0, 0), (2, 3))):
        cv2.imwrite(str(path / f"{number}.png"), cv2.cvtColor(picture(shift), cv2.COLOR_RGB2BGR))
    return path


@pytest.mark.parametrize(
    ("format", "precision", "name"),
    [
        ("tflite", "int8", "a.tflite"),
        ("tflite", "float16", "a.tflite"),
        ("onnx", "float32", "a.onnx"),
        ("saved_model", "float32", "a"),
        ("openvino", "int8", "a.xml"),
    ],
)
def test_formats(keras_file, folder, tmp_path, format, precision, name):
    if format in ("onnx", "openvino"):
        pytest.importorskip(format)
    out = tmp_path / "ü b" / name
    options = {"calibration": folder} if precision == "int8" else {"pictures": folder}
    report = export(keras_file, out, format, precision, licence="CC0", **options)
    assert report["pictures"] == 2 and report["graph"] == "maps" and report["path"] == str(out)
    assert report["poses"]["people"] == 4 and report["poses"]["lost"] == 0
    assert report["differences"]["tags"]["error"] < 0.1
    metadata = read_metadata(out)
    assert metadata["source"] == str(keras_file) and metadata["licence"] == "CC0" and metadata["precision"] == precision
    if precision == "int8":
        assert metadata["calibration"] == {"folder": str(folder), "pictures": 2, "seed": 0}
    runner = open_runner(out)
    assert runner.keypoints == SET and runner.precision == precision


def test_people_where_no_pictures_are_given(keras_file, tmp_path):
    report = export(keras_file, tmp_path / "a.tflite")
    assert report["pictures"] == 4


def test_weights_for_pytorch(tmp_path, capsys):
    from ehrnet_tf.models.efficienthrnet import EfficientHRNet
    from ehrnet_tf.runtime import save_keras

    save_keras(EfficientHRNet("H-8", input_size=64), tmp_path / "a.keras")
    command = ["export", str(tmp_path / "a.keras"), "--format", "pytorch", "--out"]
    assert cli.main([*command, str(tmp_path / "a.npz"), "--json", str(tmp_path / "a.json")]) == 0
    assert "entries, read back equal" in capsys.readouterr().out
    assert json.loads((tmp_path / "a.json").read_text())["entries"] > 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "coreml"}, "format 'coreml': expected one of tflite, onnx, saved_model, openvino, tensorrt"),
        ({"format": "onnx", "precision": "float16", "out": "a.onnx"}, "--format onnx has float32, not float16"),
        ({"precision": "bfloat16"}, "--format tflite has float32, .* not bfloat16: take one, or leave out --precision"),
        ({"precision": "int8"}, "--precision int8 needs --calibration DIR"),
        ({"out": "a.lite"}, r"a\.lite: the name of a file of --format tflite must end in \.tflite"),
        ({"format": "openvino", "out": "a.bin"}, r"must end in \.xml"),
        (
            {"format": "tensorrt", "precision": "dynamic", "out": "a.plan"},
            "--format tensorrt has float32, float16, int8",
        ),
        ({"dla_core": 0}, "--dla-core: not for --format tflite"),
        ({"workspace_megabytes": 5, "format": "saved_model", "out": "a"}, "--workspace-megabytes: not for"),
        ({"model": "x.onnx"}, r"x\.onnx: only \.keras files are converted to tflite"),
        ({"model": "x.tflite", "format": "openvino", "out": "a.xml"}, r"only \.keras and \.onnx files are converted"),
    ],
)
def test_what_does_not_go_together(keras_file, tmp_path, arguments, message):
    options = {"model": keras_file, **arguments, "out": tmp_path / arguments.get("out", "a.tflite")}
    with pytest.raises(UsageError, match=message):
        export(**options)
    assert list(tmp_path.iterdir()) == []


def test_every_format_is_in_the_command():
    from ehrnet_tf.cli_parser import build_parser

    parser = build_parser(cli.COMMANDS)
    for format, known in FORMATS.items():
        for precision in known.precisions:
            command = ["export", "a.keras", "--format", format, "--precision", precision, "--out", "b"]
            assert parser.parse_args(command).precision == precision


def test_a_model_that_is_not_there_or_knows_no_keypoints(build_tiny, tmp_path):
    with pytest.raises(ModelFileError, match=r"none\.keras: no such model file"):
        export(tmp_path / "none.keras", tmp_path / "a.tflite")
    build_tiny(keypoints=4).save(tmp_path / "bare.keras")
    with pytest.raises(UsageError, match="give keypoints="):
        export(tmp_path / "bare.keras", tmp_path / "a.tflite")
    with pytest.raises(UsageError, match="has 4 keypoint channels, the set 'coco' 17"):
        export(tmp_path / "bare.keras", tmp_path / "a.tflite", keypoints="coco")
    export(tmp_path / "bare.keras", tmp_path / "a.tflite", keypoints="corners")
    assert open_runner(tmp_path / "a.tflite").keypoints.name == "corners"


@pytest.mark.parametrize(("format", "name"), [("tflite", "a.tflite"), ("onnx", "a.onnx"), ("openvino", "a.xml")])
def test_a_folder_that_cannot_be_written_is_said_before_the_work(keras_file, tmp_path, capsys, format, name):
    (tmp_path / "file").write_text("x")
    out = tmp_path / "file" / name
    assert cli.main(["export", str(keras_file), "--format", format, "--out", str(out)]) == 1
    (line,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("ehrnet: ")]
    assert line.startswith(f"ehrnet: {out}: ")


FULL = """
import resource, signal, sys
from ehrnet_tf import cli
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import ehrnet_tf.converters.{module} as module
whole = module.{function}
def limited(*arguments, **options):
    resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))
    return whole(*arguments, **options)
module.{function} = limited
sys.exit(cli.main({command!r}))
"""


@pytest.mark.parametrize(
    ("format", "name", "module", "function"),
    [("tflite", "a.tflite", "tflite", "write_tflite"), ("openvino", "a.xml", "openvino", "_save")],
)
def test_a_full_disk_leaves_nothing(keras_file, tmp_path, format, name, module, function):
    if format == "openvino":
        pytest.importorskip("openvino")
    out = tmp_path / name
    command = ["export", str(keras_file), "--format", format, "--out", str(out)]
    code = FULL.format(module=module, function=function, size=2000, command=command)
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, check=False)
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("ehrnet: ")]
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert line.startswith(f"ehrnet: {out}: ")
    assert "File too large" in line or "is the disk full" in line
    assert list(tmp_path.iterdir()) == []


def test_the_graph_of_an_onnx_file_is_its_own(keras_file, tmp_path):
    pytest.importorskip("openvino")
    export(keras_file, tmp_path / "a.onnx", "onnx")
    with pytest.raises(UsageError, match=r"a\.onnx: gives maps; export the \.onnx file itself with --graph poses"):
        export(tmp_path / "a.onnx", tmp_path / "a.xml", "openvino", graph="poses")
    export(keras_file, tmp_path / "p.onnx", "onnx", graph="poses", people=3)
    report = export(tmp_path / "p.onnx", tmp_path / "p.xml", "openvino")
    assert report["graph"] == "poses" and read_metadata(tmp_path / "p.xml")["people"] == 3
    with pytest.raises(UsageError, match="would round the decoder's coordinates"):
        export(tmp_path / "p.onnx", tmp_path / "q.xml", "openvino", "bfloat16")
    assert not (tmp_path / "q.xml").exists()
