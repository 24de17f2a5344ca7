"""Timing: every file in a process of its own; what is reported, and what happens to files that cannot be run."""

import csv
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from ehrnet_tf import cli
from ehrnet_tf.benchmark import run as module
from ehrnet_tf.benchmark.run import benchmark, rows, text, write_csv
from ehrnet_tf.benchmark.sensors import Reading
from ehrnet_tf.benchmark.stages import Options, Subject, made_up_maps, spread
from ehrnet_tf.decoding import decode_live
from ehrnet_tf.errors import EhrnetError, ModelFileError, UsageError
from ehrnet_tf.runtime import save_keras


@pytest.fixture(scope="module")
def files(build_tiny, tmp_path_factory):
    """The same tiny network twice, as .keras and .tflite."""
    from ehrnet_tf.converters.tflite import export_tflite

    folder, model = tmp_path_factory.mktemp("models"), build_tiny()
    save_keras(model, folder / "a.keras")
    export_tflite(model, folder / "b.tflite")
    return folder / "b.tflite", folder / "a.keras"


@pytest.fixture(scope="module")
def result(files):
    return benchmark([files[0], files[0]], Options(threads=1, people=3), rounds=9, warm_up=1)


def test_what_is_told_of_a_file(result, files):
    first, second = result["files"]
    assert (first["model"], first["runtime"], first["precision"]) == (str(files[0]), "TFLite", "float32")
    assert (first["variant"], first["graph"], first["input"], first["threads"]) == ("H-4", "maps", "64x64", 1)
    assert first["people"] == 3 and first["device"] == "default"
    assert first["megabytes"] == round(files[0].stat().st_size / 2**20, 2)
    assert "ai-edge-litert" in first["versions"] and len(first["versions"]) == 1
    assert second["model"] == str(files[0])
    assert 20 < first["memory_mib"] <= first["peak_memory_mib"] < 150, "TensorFlow is not in that process"


def test_times_belong_together(result):
    for file in result["files"]:
        times = file["times"]
        assert list(times) == ["read", "prepare", "network", "decode", "total"]
        for found in times.values():
            assert 0 < found["min"] <= found["median"] <= found["p95"]
        least = times["prepare"]["min"] + times["network"]["min"] + times["decode"]["min"]
        assert times["total"]["min"] >= least - 0.01, "rounded"
        assert file["pictures_per_second"] == pytest.approx(1000 / times["total"]["median"], rel=0.01)
        assert 0 < file["around"] < 1
        assert 0 < file["load_s"] < 60 and 0 < file["first_s"] < 60


def test_figures_of_known_times():
    worker = module.Worker.__new__(module.Worker)
    worker.facts, worker.power = {"runtime": "ONNX Runtime"}, {}
    worker.times = [[0.5, 0.001, 0.006, 0.003], [0.5, 0.002, 0.014, 0.004]]
    worker._ask = lambda what: {"people": 1}
    report = worker.report(forward_only=False)
    assert report["times"]["total"] == {"min": 10.0, "median": 15.0, "p95": 19.5}
    assert report["times"]["read"]["median"] == 500.0
    assert report["around"] == pytest.approx(1 / 3, abs=1e-4)
    assert report["pictures_per_second"] == 66.67
    assert worker.report(forward_only=True)["times"].keys() == {"network", "total"}
    assert spread([0.003, 0.001, 0.002]) == {"min": 1.0, "median": 2.0, "p95": 2.9}


def test_table_and_csv(result, tmp_path):
    lines = text(result).splitlines()
    assert lines[0].split()[:3] == ["file", "runtime", "read"] and lines[1].startswith("b.tflite  TFLite float32")
    assert result["machine"]["cpu"] in lines[-1]
    write_csv(tmp_path / "a.csv", rows(result))
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        first, _ = csv.DictReader(file)
    assert first["runtime"] == "TFLite" and first["cores"] == str(result["machine"]["cores"])
    assert float(first["total_ms_median"]) == result["files"][0]["times"]["total"]["median"]
    assert first["versions"].startswith("ai-edge-litert ")


def test_the_network_alone(files):
    file = benchmark(files[:1], Options(forward_only=True), rounds=2, warm_up=0)["files"][0]
    assert list(file["times"]) == ["network", "total"] and file["around"] == 0
    assert file["times"]["network"] == file["times"]["total"]


class Rails:
    """Sensors of a machine that draws 5 W, in a zone of 50 degrees."""

    def read(self):
        return Reading(power={"VDD_IN": 5.0}, clocks={}, temperatures={"cpu": 50.0}, gpu_load=None, throttled=())


def test_power_where_there_are_rails(files, monkeypatch):
    monkeypatch.setattr(module, "Sensors", Rails)
    result = benchmark(files[:1], rounds=20, warm_up=0)
    (file,) = result["files"]
    assert file["sensors"]["total"]["mean"] == pytest.approx(5)
    assert file["joules_per_picture"] == pytest.approx(5 * file["sensors"]["seconds"] / 20)
    assert result["conditions"]["temperatures"] == {"cpu": 50.0}
    shown = text(result)
    assert "5.00 W, " in shown and "hottest zone 50 °C; throttled: no" in shown
    assert rows(result)[0]["watts"] == pytest.approx(5)


@pytest.mark.parametrize("people", [0, 1, 3, 7])
def test_made_up_people_are_found_again(people):
    maps = made_up_maps(people, 17, (384, 384))
    assert maps["heatmaps_2"].shape == (192, 192, 17) and maps["tags"].shape == (96, 96, 17)
    found, scores = decode_live(maps["heatmaps_2"], maps["tags"])
    assert len(found) == people
    assert (scores > 0.9).all() and (found[:, :, 2] > 0).all()


def test_pictures_of_ones_own(files, tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((30 + number, 40, 3), 99, np.uint8))
    subject = Subject(str(files[0]), Options(picture=str(tmp_path)))
    assert all(len(subject.round()) == 4 for _ in range(4))
    with pytest.raises(UsageError, match="no such file or folder"):
        Subject(str(files[0]), Options(picture=str(tmp_path / "none")))


def test_files_that_cannot_be_run(files, tmp_path):
    (tmp_path / "cut.tflite").write_bytes(files[0].read_bytes()[:500])
    for path, options, message, status in (
        (tmp_path / "cut.tflite", Options(), "not a whole TFLite file", 1),
        (tmp_path / "none.tflite", Options(), "no such model file", 1),
        (files[0], Options(device="npu"), "device 'npu'", 2),
        (files[0], Options(people=2, exact=True), "made up for the live decoder", 2),
    ):
        with pytest.raises(EhrnetError, match=message) as error:
            benchmark([files[0], path], options, rounds=1)
        assert error.value.exit_status == status
    with pytest.raises(UsageError, match="nothing to time"):
        benchmark([])
    with pytest.raises(UsageError, match="0 rounds after 10"):
        benchmark(files, rounds=0)


def test_a_process_that_dies_is_told(files, monkeypatch):
    code = "import sys; print('Illegal instruction', file=sys.stderr); sys.exit(3)"
    monkeypatch.setattr(module, "COMMAND", [sys.executable, "-c", code])
    with pytest.raises(EhrnetError, match=r"b\.tflite: the process that times it ended \(exit status 3: Illegal instr"):
        benchmark(files[:1])


def test_the_command(files, tmp_path, capsys):
    table, figures = tmp_path / "t.csv", tmp_path / "f.json"
    command = ["benchmark", *map(str, files), "--rounds", "3", "--warm-up", "1", "--threads", "1"]
    assert cli.main([*command, "--csv", str(table), "--json", str(figures)]) == 0
    out = capsys.readouterr().out
    assert "TFLite float32" in out and "Keras float32" in out
    stored = json.loads(figures.read_text())
    assert stored["rounds"] == 3 and len(stored["files"]) == 2 and stored["options"]["threads"] == 1
    assert stored["files"][1]["versions"].keys() == {"tensorflow", "keras"}
    assert len(table.read_text().splitlines()) == 3
    assert cli.main(["benchmark", str(tmp_path / "none.tflite")]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("ehrnet: ")


def test_a_worker_answers_in_json_alone(files):
    lines = [{"model": str(files[0]), "options": {}}, {"rounds": 2}, {"done": True}, {"rounds": 1}]
    done = subprocess.run(
        [sys.executable, "-m", "ehrnet_tf.benchmark.worker"],
        input="".join(json.dumps(line) + "\n" for line in lines),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    facts, times, after, again = map(json.loads, done.stdout.splitlines())
    assert facts["runtime"] == "TFLite" and np.shape(times["times"]) == (2, 4)
    assert after["people"] >= 0 and np.shape(again["times"]) == (1, 4)


def test_unknown_files_are_named(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"x")
    with pytest.raises(ModelFileError, match=r"a\.pt: not a kind of model"):
        Subject(str(tmp_path / "a.pt"), Options())


def test_a_process_that_is_killed_between_turns_is_told(files):
    worker = module.Worker(str(files[0]), Options())
    worker._process.kill()
    worker._process.wait()
    with pytest.raises(EhrnetError, match=r"killed by SIGKILL, perhaps for want of memory"), worker:
        worker.run(1)
    assert worker._process.stdout.closed


def test_what_cannot_be_written_is_said_before_the_work(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(module, "benchmark", lambda *_, **__: pytest.fail("too late"))
    (tmp_path / "file").write_text("x")
    assert cli.main(["benchmark", str(files[0]), "--csv", str(tmp_path / "file" / "t.csv")]) == 1
    assert f"ehrnet: {tmp_path / 'file' / 't.csv'}: " in capsys.readouterr().err


def test_a_picture_that_is_none_is_named(files, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(EhrnetError, match=r"a\.jpg: is not a picture"):
        Subject(str(files[0]), Options(picture=str(tmp_path / "a.jpg")))
