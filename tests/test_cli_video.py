"""`ehrnet predict` and `ehrnet draw` on videos, as a user types them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from streams import jpeg_camera

import painted
from ehrnet_tf import cli
from ehrnet_tf.cli_predict import _ended_once
from ehrnet_tf.pose_files import read_poses
from ehrnet_tf.video import open_source
from ehrnet_tf.video.writer import VideoWriter

MODEL = str(Path(__file__).parent / "golden" / "android" / "painted_int8.tflite")
pytest.importorskip("av")


@pytest.fixture
def walk(tmp_path):
    """Two painted people, as wide as the network's input, who sway."""
    path = tmp_path / "walk.mp4"
    with VideoWriter(path, 10) as writer:
        for i in range(12):
            writer.write(painted.picture((round(4 * np.sin(i / 3)), 0)), i / 10)
    return path


def frames(path):
    with open_source(path) as source:
        return [frame.image for frame in source]


def test_a_video_with_all_outputs(walk, tmp_path, capsys):
    out, lines, coco = tmp_path / "out", tmp_path / "a.jsonl", tmp_path / "r.json"
    arguments = ["predict", MODEL, str(walk), "--out", str(out), "--json", str(lines), "--coco", str(coco), "--boxes"]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr()
    assert printed.out == f"24 people in 12 pictures; drawings in {out}\n"
    assert "walk.mp4: 100%" in printed.err and "12/12" in printed.err
    entries = list(read_poses(lines))
    assert [entry.poses.ids.tolist() for entry in entries] == [[0, 1]] * 12
    assert len(json.loads(coco.read_text())) == 24
    assert len(frames(out / "walk.mp4")) == 12

    assert cli.main(["draw", str(lines), "--out", str(tmp_path / "later"), "--boxes"]) == 0
    assert capsys.readouterr().out == f"12 pictures drawn in {tmp_path / 'later'}\n"
    for now, later in zip(frames(out / "walk.mp4"), frames(tmp_path / "later" / "walk.mp4"), strict=True):
        assert np.abs(now.astype(int) - later).mean() < 2


def test_each_frame_is_named_where_nothing_is_written(walk, capsys):
    assert cli.main(["predict", MODEL, str(walk), "--frames", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{walk}, frame 0: 2 people", f"{walk}, frame 1: 2 people", "4 people in 2 pictures"]


def test_ids_can_be_left_out(walk, tmp_path):
    assert cli.main(["predict", MODEL, str(walk), "--no-track", "--json", str(tmp_path / "a.json")]) == 0
    assert all(entry.poses.ids is None for entry in read_poses(tmp_path / "a.json"))


def test_a_folder_drawn_later_from_elsewhere(tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), painted.picture()[:, :, ::-1])
    assert cli.main(["predict", MODEL, str(folder), "--json", str(tmp_path / "a.csv")]) == 0
    moved = folder.rename(tmp_path / "moved")
    draw = ["draw", str(tmp_path / "a.csv"), "--out", str(tmp_path / "out")]
    capsys.readouterr()
    assert cli.main(draw) == 1
    assert capsys.readouterr().err.startswith(f"ehrnet: {folder / 'a.png'}: ")
    assert cli.main([*draw, "--source", str(moved), "--no-skeletons"]) == 0
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "out" / "a.png")), cv2.imread(str(moved / "a.png")))


def test_ctrl_c_finishes_the_files(tmp_path):
    lines, coco = tmp_path / "a.jsonl", tmp_path / "r.json"
    with jpeg_camera(lambda _: painted.picture()) as address:
        options = [address, "--out", str(tmp_path), "--json", str(lines), "--coco", str(coco)]
        command = [sys.executable, "-m", "ehrnet_tf.cli", "predict", MODEL, *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            for _ in range(600):
                if lines.exists() and lines.read_text().count("\n") > 5:
                    break
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            time.sleep(0.02)
            process.send_signal(signal.SIGINT)  # the impatient
            out, err = process.communicate(timeout=30)
    count = len(list(read_poses(lines)))
    assert process.returncode == 130 and count > 5
    assert err.splitlines()[-1] == "ehrnet: stopped" and "Traceback" not in err
    assert out.startswith(f"{2 * count} people in {count} pictures")
    assert len(json.loads(coco.read_text())) == 2 * count and len(frames(tmp_path / "stream.mp4")) == count


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGHUP])
def test_other_ends_are_as_ctrl_c(first):
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        with pytest.raises(KeyboardInterrupt), _ended_once():
            signal.raise_signal(first)
        assert {number: signal.getsignal(number) for number in before} == before
        with pytest.raises(KeyboardInterrupt), _ended_once():
            try:
                signal.raise_signal(first)
            finally:
                signal.raise_signal(signal.SIGTERM)  # nothing comes of a second one
                ignored = True
        assert ignored
        with pytest.raises(KeyboardInterrupt), _ended_once(is_process=True):
            signal.raise_signal(first)
        assert {signal.getsignal(number) for number in before} == {signal.SIG_IGN}
        for number, handler in before.items():
            signal.signal(number, handler)
        with _ended_once():
            pass
        assert {number: signal.getsignal(number) for number in before} == before
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["gone.mp4"], 2, "gone.mp4: no such file"),
        (["97"], 1, "camera 97: cannot be opened"),
        (["rtsp://127.0.0.1:9/x"], 1, "rtsp://127.0.0.1:9/x: cannot be opened"),
        (["videotestsrc ! videoconvert"], 1, "GStreamer"),
        (["walk.mp4", "--json", "poses.txt"], 2, "poses.txt: poses are written as .json, .jsonl"),
        (["walk.mp4", "--coco", "poses.csv"], 2, "poses.csv: COCO results are a .json file"),
        (["walk.mp4", "--out", "."], 2, "--out .: would write over walk.mp4"),
        (["walk.mp4", "--out", "walk.mp4"], 2, "--out walk.mp4: is no folder"),
        (["walk.mp4", "--show"], 1, "--show: there is no screen"),
        (["walk.mp4", "--anonymise", "blur"], 2, "square"),
        (["walk.mp4", "--frames", "0"], 2, "frames 0"),
    ],
)
def test_errors_are_one_line(walk, arguments, status, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    before = walk.read_bytes()
    assert cli.main(["predict", MODEL, *arguments]) == status
    printed = capsys.readouterr()
    said = [line for line in printed.err.splitlines() if line.startswith("ehrnet: ")]
    assert len(said) == 1 and message in said[0] and printed.out == ""
    assert walk.read_bytes() == before


def test_a_model_that_cannot_be_opened_leaves_no_folder(walk, tmp_path, capsys):
    folder = tmp_path / "deep" / "out"
    assert cli.main(["predict", str(tmp_path / "no.tflite"), str(walk), "--out", str(folder)]) != 0
    assert "no.tflite" in capsys.readouterr().err and not folder.parent.exists()
    assert cli.main(["predict", MODEL, str(walk), "--out", str(walk / "out")]) == 1
    assert f"{walk / 'out'}: " in capsys.readouterr().err


@pytest.mark.parametrize("name", ["reader", "opener"])
def test_a_thread_that_hangs_does_not_abort_the_process(name, walk, monkeypatch):
    ended, go = [], threading.Event()
    monkeypatch.setattr(os, "_exit", ended.append)
    arguments = ["predict", MODEL, str(walk), "--frames", "1"]
    monkeypatch.setattr(sys, "argv", ["ehrnet", *arguments])
    assert cli.main() == 0 and ended == []
    thread = threading.Thread(target=go.wait, args=[10], name=name)
    thread.start()
    assert cli.main(arguments) == 0 and ended == []  # a process of others
    cli.main()
    go.set()
    thread.join()
    assert ended == [0]
