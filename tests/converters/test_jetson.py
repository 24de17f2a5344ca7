"""The device's scripts: prerequisites, engines of a stand-in for TensorRT, the report; pipelines, a made-up camera."""

import contextlib
import csv
import io
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import fake_tensorrt
from ehrnet_tf.benchmark import run as benchmark_module
from ehrnet_tf.benchmark.stages import Subject
from ehrnet_tf.converters.jetson import camera, deploy
from ehrnet_tf.errors import EhrnetError, UsageError
from ehrnet_tf.keypoints import load
from ehrnet_tf.poses import Poses
from ehrnet_tf.runtime.metadata import read_metadata
from ehrnet_tf.runtime.tensorrt_runner import read_engine
from fake_tensorrt import counter

METADATA = {"variant": "H-4", "keypoints": load("coco").to_dict(), "graph": "maps", "precision": "float32"}
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


class Worker(benchmark_module.Worker):
    """Times in this process, where the stand-in for TensorRT is."""

    def __init__(self, model, options):
        self._subject, self.facts, self.times, self.power = Subject(model, options), {}, [], {}
        self.facts = self._subject.facts

    def __exit__(self, *_):
        self._subject._estimator.runner.close()

    def _ask(self, what):
        if "rounds" in what:
            return {"times": [self._subject.round() for _ in range(what["rounds"])]}
        return self._subject.after()


@pytest.fixture
def board(use, cudart, monkeypatch):
    """An Orin with TensorRT 10.3; gives the module ``tensorrt``."""
    counter(cudart, "fake_integrated").value = 1
    monkeypatch.setattr(benchmark_module, "Worker", Worker)
    monkeypatch.setattr(deploy, "PAPER", {"rounds": 3, "warm_up": 1})
    monkeypatch.setattr(deploy, "USER", {"rounds": 2, "warm_up": 0})
    return use("10.3")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with m.onnx and pictures, to work in."""
    fake_tensorrt.write_onnx(tmp_path / "m.onnx", metadata=METADATA)
    (tmp_path / "pictures" / "deep").mkdir(parents=True)
    random = np.random.default_rng(0)
    for name in ("a.png", "b.jpg", "deep/c.png"):
        cv2.imwrite(str(tmp_path / "pictures" / name), random.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    (tmp_path / "pictures" / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def jetson(*arguments):
    return deploy.main(["m.onnx", "--calibration", "pictures", "--out", "engines", *arguments])


@needs_gcc
def test_from_onnx_to_a_table(board, here, capsys):
    assert jetson() == 0
    engines = here / "engines"
    names = {path.name for path in engines.iterdir()}
    assert {"m_float16.engine", "m_int8.engine", "m_int8.calibration", "timing.cache", "benchmark.csv"} < names
    assert not any(name.startswith(".unfinished") for name in names)
    report = json.loads((engines / "report.json").read_text())
    assert [engine["precision"] for engine in report["engines"]] == ["float16", "int8"] and report["failures"] == {}
    assert all(engine["built"] and engine["comparison"]["pictures"] == 3 for engine in report["engines"])
    assert report["forward"]["options"]["forward_only"] and report["forward"]["options"]["picture"] == "pictures"
    assert [file["precision"] for file in report["end_to_end"]["files"]] == ["float16", "int8"]
    with open(engines / "benchmark.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = ["network alone"] * 2 + ["pixels to poses"] * 2
    assert [row["measured"] for row in rows] == kinds and float(rows[3]["decode_ms_median"]) > 0
    assert rows[0]["decode_ms_median"] == "" and float(rows[0]["network_ms_median"]) > 0
    text = capsys.readouterr().out
    assert "tensorrt 10.3.0" in text and "building int8, calibrating first" in text
    assert (
        "on 3 pictures 31 people, 0 of them lost, keypoints 0.00 pixels away" in text
        and "engines/benchmark.csv" in text
    )


@needs_gcc
def test_engines_that_are_there_are_kept(board, here, capsys):
    assert jetson("--no-timing", "--precisions", "int8") == 0
    built, plan = len(board.builds), read_engine("engines/m_int8.engine")
    metadata = read_metadata("engines/m_int8.engine")
    assert metadata["built_from"]["tensorrt"] == "10.3.0" and metadata["calibration"]["folder"] == "pictures"

    def builds(*arguments):
        del board.builds[:]
        assert jetson("--no-timing", "--precisions", "int8", *arguments) == 0
        return len(board.builds)

    assert built == 2 and builds() == 0
    assert "m_int8.engine: is there, built from the same file" in capsys.readouterr().out
    (engine,) = json.loads(Path("engines/report.json").read_text())["engines"]
    assert not engine["built"] and engine["comparison"] == metadata["comparison"]
    assert read_engine("engines/m_int8.engine") == plan
    assert builds("--again") == 1, "with the calibration that is kept"
    assert builds("--seed", "5") == 2, "other pictures"
    assert builds("--workspace-megabytes", "64", "--seed", "5") == 1
    assert builds("--dla-core", "0") == 2 and Path("engines/m_int8_dla0.engine").is_file()
    assert builds() == 2, "the engine of seed 5 is not of seed 0"
    fake_tensorrt.write_onnx("m.onnx", metadata={**METADATA, "variant": "H-3"})
    assert builds() == 2, "another .onnx file"
    board.__version__ = "10.4.0"
    assert builds() == 2 and builds() == 0, "another TensorRT"


@needs_gcc
def test_what_fails_leaves_the_rest(board, here, monkeypatch, capsys):
    monkeypatch.setattr(board.Builder, "_calibrate", lambda *arguments: False)
    assert jetson() == 1
    report = json.loads(Path("engines/report.json").read_text())
    assert [engine["precision"] for engine in report["engines"]] == ["float16"]
    assert list(report["failures"]) == ["int8"] and "cannot calibrate" in report["failures"]["int8"]
    assert len(report["forward"]["files"]) == 1 and Path("engines/benchmark.csv").is_file()
    assert "int8: m.onnx: TensorRT cannot calibrate it" in capsys.readouterr().err


@needs_gcc
def test_stopped(board, here, monkeypatch, capsys):
    import ehrnet_tf.converters.export as module

    export = module.export

    def interrupted(onnx, path, kind, precision, **options):
        if precision == "int8":
            raise KeyboardInterrupt
        return export(onnx, path, kind, precision, **options)

    monkeypatch.setattr(module, "export", interrupted)
    assert jetson() == 130
    assert [engine["precision"] for engine in json.loads(Path("engines/report.json").read_text())["engines"]] == [
        "float16"
    ]
    assert "jetson: stopped; what is finished lies in engines" in capsys.readouterr().err


@needs_gcc
def test_problems_come_before_the_work(board, here, monkeypatch, capsys):
    args = deploy.parser().parse_args(["m.onnx", "--out", "engines", "--calibration", "pictures"])
    assert deploy.find_problems(args, ["float16", "int8"]) == []
    args.calibration = None
    assert [line[:12] for line in deploy.find_problems(args, ["float16"])] == ["no pictures:"]
    args.pictures = "pictures"
    assert deploy.find_problems(args, ["float16"]) == []
    assert deploy.find_problems(args, ["int8"])[0].startswith("int8 needs --calibration DIR")
    args.onnx, args.pictures = "other.onnx", "empty"
    Path("empty").mkdir()
    monkeypatch.setattr(deploy.shutil, "disk_usage", lambda path: SimpleNamespace(free=100 << 20))
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    lines = deploy.find_problems(args, ["float16"])
    assert [line.split(":")[0].split(" (")[0] for line in lines] == [
        "TensorRT cannot be imported",
        "other.onnx",
        "empty",
        "engines",
    ]
    assert "100 MB free, some 256 are needed" in lines[3]
    assert deploy.main(["other.onnx", "--out", "engines", "--pictures", "empty"]) == 1
    assert capsys.readouterr().err.count("\n") == 4 and not Path("engines").exists()


@pytest.mark.parametrize(("module", "remedy"), [("cv2", "system-site-packages"), ("onnxruntime", "pip install onnx")])
def test_missing_packages(here, monkeypatch, module, remedy):
    monkeypatch.setitem(sys.modules, module, None)
    args = deploy.parser().parse_args(["m.onnx", "--out", "engines", "--pictures", "pictures"])
    line = deploy.find_problems(args, ["float16"])[0]
    assert line.startswith(f"{module} cannot be imported") and remedy in line and "\n" not in line


def tree(root, **files):
    for path, content in files.items():
        file = root / path.replace("__", "/").replace("DOT", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return root


@pytest.fixture
def orin(tmp_path):
    """The files of an Orin NX in mode 3 of which this script speaks."""
    limits = {"cpu0": ("729600", "1984000"), "cpu4": ("1984000", "1984000")}
    for cpu, (low, high) in limits.items():
        folder = f"sys__devices__system__cpu__{cpu}__cpufreq__scaling_"
        tree(tmp_path, **{f"{folder}min_freq": low, f"{folder}max_freq": high, f"{folder}cur_freq": low})
    gpu = "sys__class__devfreq__17000000DOTgpu__"
    tree(tmp_path, **{f"{gpu}min_freq": "306000000", f"{gpu}max_freq": "918000000", f"{gpu}cur_freq": "408000000"})
    tree(
        tmp_path, **{"sys__class__devfreq__15340000DOTvic__min_freq": "1", "proc__meminfo": "MemAvailable: 1572864 kB"}
    )
    tree(
        tmp_path,
        etc__nv_tegra_release="# R36 (release), REVISION: 4.3, GCID: 1",
        var__lib__nvpmodel__status="pmode:0003",
    )
    tree(tmp_path, etc__nvpmodelDOTconf="< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=3 NAME=25W >\n")
    hwmon = "sys__class__hwmon__hwmon3__"
    tree(tmp_path, **{f"{hwmon}name": "ina3221", f"{hwmon}in1_label": "VDD_IN", f"{hwmon}in1_input": "5000"})
    return tree(tmp_path, **{f"{hwmon}curr1_input": "1200"})


def test_the_machine(orin):
    lines = dict(line.split(": ", 1) for line in deploy.describe_machine(orin))
    assert lines["system"].startswith("JetPack 6, L4T 36.4.3")
    assert lines["power mode"] == "25W (mode 3) (there are 0 MAXN, 3 25W)"
    assert lines["clocks"] == "gpu 408 MHz, cpu0 730 MHz, cpu4 1984 MHz (not pinned)"
    assert lines["power"] == "VDD_IN 6.00 W; the module 6.00 W"
    assert [line.split(":")[0].split(",")[0] for line in deploy.warnings(orin)] == [
        "clocks are not pinned",
        "1.5 GiB of memory free",
    ]


def test_pinned_clocks(orin, tmp_path):
    assert deploy.clocks_pinned(tmp_path / "nothing") is None
    tree(orin, sys__devices__system__cpu__cpu0__cpufreq__scaling_min_freq="1984000")
    assert deploy.clocks_pinned(orin) is False
    tree(orin, sys__class__devfreq__17000000DOTgpu__min_freq="918000000")
    assert deploy.clocks_pinned(orin) is True
    assert not any("pinned" in line for line in deploy.warnings(orin))


def test_setting_the_power_mode(orin, tmp_path):
    ran = []

    def sudo(command, **options):
        ran.append(" ".join(command))
        if command[1] == "nvpmodel":
            tree(orin, var__lib__nvpmodel__status=f"pmode:000{command[3]}")

    deploy.set_power_mode(3, orin, sudo)
    deploy.set_power_mode(0, orin, sudo)
    assert ran == ["sudo jetson_clocks", "sudo nvpmodel -m 0", "sudo jetson_clocks"]
    with pytest.raises(EhrnetError, match="power mode 3 needs a restart: say sudo nvpmodel -m 3 by hand"):
        deploy.set_power_mode(3, orin, lambda command, **options: None)
    with pytest.raises(UsageError, match="power mode 8: this board has 0 MAXN, 3 25W"):
        deploy.set_power_mode(8, orin, sudo)
    with pytest.raises(UsageError, match="this is no Jetson"):
        deploy.set_power_mode(0, tmp_path / "nothing", sudo)


def test_pictures_of_a_coco_folder(tmp_path):
    for name in ("annotations", "train2017", "val2017"):
        (tmp_path / name).mkdir()
    for split in ("train", "val"):
        cv2.imwrite(str(tmp_path / f"{split}2017" / f"{split}.png"), np.zeros((4, 4, 3), np.uint8))
    for split in ("train", "val"):
        assert [path.name for path in deploy.readable_pictures(tmp_path, split)] == [f"{split}.png"]


END = "videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
JETSON = "nvvidconv ! video/x-raw,format=BGRx"
CAPS = "width=1280,height=720,framerate=30/1"


@pytest.mark.parametrize(
    ("source", "codec", "hardware", "expected"),
    [
        ("csi:1", None, True, f"nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),{CAPS} ! {JETSON} ! {END}"),
        ("libcamera", None, False, f"libcamerasrc ! video/x-raw,{CAPS},format=NV12,interlace-mode=progressive ! {END}"),
        (
            "/dev/null",
            None,
            True,
            f'v4l2src device="/dev/null" ! image/jpeg,{CAPS} ! nvv4l2decoder mjpeg=1 ! {JETSON} ! {END}',
        ),
        ("/dev/null", "mjpeg", False, f'v4l2src device="/dev/null" ! image/jpeg,{CAPS} ! jpegdec ! {END}'),
        ("/dev/null", "raw", True, f'v4l2src device="/dev/null" ! video/x-raw,{CAPS} ! {END}'),
        (
            "rtsp://host/a?b=1",
            "h265",
            True,
            f'rtspsrc location="rtsp://host/a?b=1" latency=100 ! rtph265depay ! h265parse ! nvv4l2decoder ! {JETSON} ! '
            + END,
        ),
        ("rtsp://host/a", None, False, f'rtspsrc location="rtsp://host/a" latency=100 ! decodebin ! {END}'),
        ("videotestsrc ! tee", None, False, f"videotestsrc ! tee ! {END.replace(' sync=false', '')}"),
        ("videotestsrc ! appsink", None, False, "videotestsrc ! appsink"),
    ],
)
def test_pipelines(source, codec, hardware, expected):
    assert camera.pipeline(source, (1280, 720), 30, codec, hardware) == expected


def test_pipelines_of_files(tmp_path):
    path = tmp_path / 'a "b".mp4'
    path.touch()
    end = END.replace("false", "true")
    quoted = str(path).replace('"', '\\"')
    assert camera.pipeline(str(path), (1, 1), 1, None, False) == f'filesrc location="{quoted}" ! decodebin ! {end}'
    assert camera.pipeline(str(path), (1, 1), 1, "h265", True) == (
        f'filesrc location="{quoted}" ! qtdemux ! h265parse ! nvv4l2decoder ! {JETSON} ! {end}'
    )


@pytest.mark.parametrize(
    ("source", "codec", "message"),
    [
        ("/dev/null", "h264", "--codec h264: /dev/null can have mjpeg or raw"),
        ("rtsp://host", "raw", "can have h264 or h265"),
        ("csi:x", None, "csi:x: no such device or file; give csi"),
    ],
)
def test_unusable_sources(source, codec, message):
    with pytest.raises(UsageError, match=message):
        camera.pipeline(source, (640, 480), 30, codec, False)


def test_whether_opencv_has_gstreamer(monkeypatch):
    assert camera.has_gstreamer("  Video I/O:\n    FFMPEG:   YES\n    GStreamer:                   YES (1.22.0)\n")
    assert not camera.has_gstreamer("    FFMPEG:   YES\n    GStreamer:                   NO\n")
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "GStreamer: NO")
    with pytest.raises(EhrnetError, match=r"built without GStreamer, as pip's are: remove it .* python3-opencv"):
        camera.open_capture("videotestsrc ! appsink")


def test_missing_elements(monkeypatch):
    asked = []

    def inspect(command, **options):
        asked.append(command[2])
        return SimpleNamespace(returncode=int(command[2] == "nvvidconv"))

    monkeypatch.setattr(camera.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(camera.subprocess, "run", inspect)
    camera.check_elements(camera.libcamera((640, 480), 30))
    assert asked == ["libcamerasrc", "videoconvert", "appsink"]
    with pytest.raises(EhrnetError, match="no element 'nvvidconv': JetPack brings it"):
        camera.check_elements(camera.csi(0, (640, 480), 30))
    monkeypatch.setattr(camera.shutil, "which", lambda name: None)
    camera.check_elements(camera.csi(0, (640, 480), 30))


class Capture:
    """Gives pictures whose blue is their number; each comes after 0.4 s of a made-up clock."""

    def __init__(self, count):
        self.now, self._numbers, self.released = 0.0, iter(range(count)), False

    def clock(self):
        return self.now

    def read(self):
        number = next(self._numbers, None)
        self.now += 0.4
        return (False, None) if number is None else (True, np.full((4, 6, 3), (number, 0, 255), np.uint8))

    def release(self):
        self.released = True


class Estimator:
    """Finds one person for each blue of the picture, who has the score 0.5, and one of 0.1."""

    min_score = 0.2
    runner = SimpleNamespace(describe=lambda: "made up")

    def __init__(self, capture=None, seconds=0.0):
        self._capture, self._seconds = capture, seconds

    def prepare(self, image):
        assert image[0, 0, 0] == 255, "RGB"
        return image

    def run(self, prepared):
        if self._capture:
            self._capture.now += self._seconds
        return prepared

    def decode(self, output, prepared):
        scores = [0.5] * int(prepared[0, 0, 2]) + [0.1]
        return Poses(np.ones((len(scores), 17, 3)), np.array(scores), load("coco"), prepared.shape[:2])


def test_the_camera_loop():
    capture, lines, said = Capture(4), io.StringIO(), []
    estimator = Estimator(capture, 0.2)
    assert camera.run(capture, estimator, lines=lines, say=said.append, clock=capture.clock) == 4
    assert said == [
        "1.7 fps; ms: wait 400.0, prepare 0.0, network 200.0, decode 0.0, draw 0.0; 1 people",
        "1.7 fps; ms: wait 400.0, prepare 0.0, network 200.0, decode 0.0, draw 0.0; 3 people",
    ]
    written = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [entry["frame"] for entry in written] == [0, 1, 2, 3]
    assert [len(entry["people"]) for entry in written] == [0, 1, 2, 3]
    assert written[1]["time"] == 1.0 and written[1]["image_size"] == [4, 6]
    assert written[1]["people"][0]["keypoints"]["nose"] == [1.0, 1.0, 1.0]


def test_the_camera_loop_ends():
    shown = []
    assert camera.run(Capture(9), Estimator(), frames=3, say=lambda line: None) == 3
    assert (
        camera.run(Capture(9), Estimator(), show=lambda p: shown.append(p) or len(shown) < 2, say=lambda t: None) == 2
    )
    assert shown[0].shape == (4, 6, 3) and shown[0][3, 5].tolist() == [255, 0, 0], "RGB"


@contextlib.contextmanager
def pretend(monkeypatch, capture):
    import ehrnet_tf.runtime.estimator as module

    monkeypatch.setattr(module, "PoseEstimator", lambda *arguments, **options: Estimator())
    monkeypatch.setattr(camera, "open_capture", lambda wanted: capture)
    yield


def test_the_camera_command(tmp_path, monkeypatch, capsys):
    capture = Capture(2)
    with pretend(monkeypatch, capture):
        arguments = ["m.engine", "csi", "--json", str(tmp_path / "deep" / "poses.jsonl")]
        assert camera.main(arguments) == 0 and capture.released
        assert len((tmp_path / "deep" / "poses.jsonl").read_text().splitlines()) == 2
        assert capsys.readouterr().out.endswith("2 pictures\n")
    with pretend(monkeypatch, Capture(0)):
        assert camera.main(["m.engine", "csi"]) == 1
        assert "camera: no picture came" in capsys.readouterr().err


def test_the_camera_command_refuses(monkeypatch, capsys):
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    assert camera.main(["m.engine", "csi", "--size", "1280"]) == 2
    assert camera.main(["m.engine", "csi", "--pipeline"]) == 0
    output = capsys.readouterr()
    assert "--size 1280 --fps 30: give a size like 1280x720" in output.err
    assert output.out.startswith("nvarguscamerasrc sensor-id=0 ! ")
    with pretend(monkeypatch, Capture(2)):
        assert camera.main(["m.engine", "csi", "--show"]) == 1
    output = capsys.readouterr()
    assert "--show: there is no screen" in output.err
    assert "made up" not in output.out, "the model is opened before"
