"""The whole page, of a painted network whose errors are known, and the command."""

import base64
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from ehrnet_tf import cli
from ehrnet_tf.config import PretrainConfig, load_config, save_config
from ehrnet_tf.errors import EhrnetError, UsageError
from ehrnet_tf.evaluation import evaluate
from ehrnet_tf.report import gather
from ehrnet_tf.report.gather import Options, names_of
from ehrnet_tf.report.write import write_report

INT8 = Path(__file__).parents[1] / "golden" / "android" / "painted_int8.tflite"
ALL = ["Accuracy", "By keypoint and size", "Best pictures", "Worst pictures", "Training", "Configuration", "Origin"]


def options(data=None, **more):
    return Options(data=data, **{"rounds": 0, "progress": False, **more})


@pytest.fixture
def page(run, data, read_page):
    figures = write_report(run, None, options(data))
    return read_page(run / "report.html"), figures


def test_the_page_holds_the_figures(page, run, data):
    found, figures = page
    assert found.headings == ALL
    measured = evaluate(run / "best.keras", data, progress=False, details=True)
    assert 0.3 < measured["AP"] < 1
    row = found.table("COCO keypoint figures")[1]
    assert row[:5] == ["best.keras", "float32", *(f"{measured[name]:.3f}" for name in ("AP", "AP50", "AP75"))]
    assert figures["accuracy"][0]["AP"] == measured["AP"]
    for name, values in measured["keypoints"].items():
        assert [name, f"{values['AP']:.3f}"] in [[r[0], r[2]] for r in found.table("AP by keypoint")]
        numbers = next(r for r in found.table("Keypoints in numbers") if r[0] == name)
        assert numbers[1:3] == ["4", f"{values['good']:.1%}"], "of the two pictures that can be read"
    assert "by the validation of epoch 2 (AP 0.250): with true grouping AP would be 0.400" in found.content
    assert "2 of 3 epochs are done: the run was stopped, or goes on." in found.content
    assert "Pictures of val2017 that cannot be read, and do not count: 1." in found.content
    assert figures["bytes"] == len(found.content.encode())


def test_the_page_needs_nothing_beside_itself(page):
    found, _ = page
    places = [e[key] for e in found.elements for key in ("src", "href", "data", "action", "srcset") if key in e]
    assert len(places) > 8 and all(place.startswith(("data:", "#")) for place in places)
    written = re.sub(r"base64,[A-Za-z0-9+/=]+", "", found.content)
    assert not any(word in written for word in ("http:", "https:", "url(", "@import", "<script", "//"))
    (policy,) = found.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"].startswith("default-src 'none'")
    anchors = {e["id"] for e in found.all("section") if "id" in e}
    assert {e["href"][1:] for e in found.all("a")} == anchors


def test_the_page_can_be_heard(page):
    found, _ = page
    assert found.all("html", lang="en") and len(found.all("h1")) == 1
    pictures = found.all("img") + found.all("svg", role="img") + found.all("span", role="img")
    assert len(pictures) > 10
    assert all(e.get("alt") or e.get("aria-label") for e in pictures)
    assert all(
        e.get("aria-label") for e in found.all("table") if "changed" not in e["text"] and e.get("class") == "bars"
    )


def test_pictures_are_those_of_the_best_and_the_worst(page):
    found, _ = page
    alts = [e["alt"] for e in found.all("img")]
    assert alts[:2] == ["picture 1: OKS 1.00: 2 people labelled", "picture 1: OKS 1.00: 2 people found"]
    assert alts[2:] == ["picture 2: missed: 2 people labelled", "picture 2: missed: 2 people found"]
    for element in found.all("img"):
        kind, content = element["src"].split(",")
        assert kind == "data:image/jpeg;base64"
        image = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
        assert image.shape[:2] == (int(element["height"]), int(element["width"])) == (420, 420)


def test_special_characters_stay_text(tmp_path, run, data, read_page):
    folder = tmp_path / '<img src=x onerror="1">&amp; ü'
    run.rename(folder)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("backbone_weights: null", "backbone_weights: '</td><script>\"&'"))
    description = {"starts": [{"command": "train '<b>&\"'", "versions": {"<i>": 1}}]}
    (folder / "run.json").write_text(json.dumps(description))
    write_report(folder, None, options(data))
    found = read_page(folder / "report.html")
    assert str(folder) in [e["text"] for e in found.all("code")]
    assert "train '<b>&\"'" in [e["text"] for e in found.all("code")]
    assert ["backbone_weights", '</td><script>"& (changed)'] in [row for table in found.tables for row in table]
    assert not found.all("script") and not found.all("i", src="x") and len(found.all("img")) == 4


def test_without_data_what_is_known_is_shown(run, read_page):
    figures = write_report(run, None, options())
    found = read_page(run / "report.html")
    assert found.headings == ["Accuracy", "Training", "Configuration", "Origin"]
    row = found.table("Accuracy stored in the files")[1]
    assert row == ["best.keras", "0.625", "0.875", "val2017", "–", "elsewhere", "–"]
    assert figures["accuracy"] == [] and figures["speed"] is None
    assert "give --data DIR" in " ".join(figures["notes"])
    assert found.table("Figures by epoch")[1][:3] == ["1", "0.5000", "–"]
    assert found.table("Figures by epoch")[2][:3] == ["2", "0.2500", "0.2500"]
    assert len(found.all("figure", **{"class": "chart"})) == 2, "of four panels, those that the log has something for"


def test_a_run_before_its_first_epoch(run, data, read_page):
    for name in ("best.keras", "log.csv"):
        (run / name).unlink()
    write_report(run, None, options(data))
    found = read_page(run / "report.html")
    assert found.headings == ["Configuration", "Origin"]
    assert "best.keras is not there" in found.content and "there are no curves" in found.content


def test_what_was_scored_is_not_scored_again(run, data, monkeypatch):
    first = write_report(run, None, options(data))
    again = "ehrnet_tf.evaluation.scoring.evaluate"
    with monkeypatch.context() as patch:
        patch.setattr(again, lambda *arguments, **more: pytest.fail("scored again"))
        assert write_report(run, None, options(data))["accuracy"] == first["accuracy"]
    for change in ({"limit": 1}, {"threads": 1}):
        with monkeypatch.context() as patch, pytest.raises(UsageError, match="scored"):
            patch.setattr(again, refuse)
            write_report(run, None, options(data, **change))
    (results,) = (p for p in (run / "evaluations").iterdir() if not p.name.endswith("figures.json"))
    assert len(json.loads(results.read_text())) == 4
    results.write_text("[]")
    with monkeypatch.context() as patch, pytest.raises(UsageError, match="scored"):
        patch.setattr(again, refuse)
        write_report(run, None, options(data))


def refuse(*arguments, **more):
    raise UsageError("scored")


def test_further_files_stand_beside_it(run, data, read_page):
    write_report(run, None, options(data, models=(INT8,)))
    found = read_page(run / "report.html")
    rows = found.table("COCO keypoint figures")[1:]
    assert [row[:2] for row in rows] == [["best.keras", "float32"], ["painted_int8.tflite", "int8"]]
    assert abs(float(rows[0][2]) - float(rows[1][2])) < 0.1
    assert found.table("Keypoints in numbers")[0][-2:] == ["AP best.keras", "AP painted_int8.tflite"]
    charts = [e["text"] for e in found.all("figcaption")]
    assert "Files compared, mean over OKS 0.50 to 0.95" in charts


def test_a_file_by_itself_and_its_speed(tmp_path, data, read_page):
    file = tmp_path / "mine.tflite"
    file.write_bytes(INT8.read_bytes())
    figures = write_report(file, None, options(data, rounds=2))
    assert figures["report"] == str(tmp_path / "mine.report.html")
    assert {path.name for path in tmp_path.iterdir()} == {"mine.tflite", "mine.report.html"}
    found = read_page(tmp_path / "mine.report.html")
    assert found.headings == [*ALL[:4], "Speed", "Origin"]
    row = found.table("Speed")[1]
    timed = figures["speed"]["files"][0]
    assert row[0] == "mine.tflite" and row[1].startswith("TFLite (") and row[2] == "int8"
    assert row[7] == f"{timed['times']['total']['median']:.2f}" and row[9] == f"{timed['pictures_per_second']:.1f}"
    assert "medians of 2 rounds on 2 pictures of val2017 in turn" in found.content
    assert figures["speed"]["pictures"] == 2, "the third cannot be read"


def test_speed_that_cannot_be_measured_is_no_end(run, monkeypatch):
    def fail(*arguments, **more):
        raise EhrnetError("no memory")

    monkeypatch.setattr(gather, "time_files", fail)
    figures = write_report(run, None, options(rounds=1))
    assert "Speed could not be measured: no memory." in figures["notes"]


def test_the_split_is_the_one_of_the_run(run, data):
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("val_limit: null", "val_limit: 1"))
    assert write_report(run, None, options(data))["accuracy"][0]["images"] == 1
    assert write_report(run, None, options(data, split="val2017"))["accuracy"][0]["images"] == 2


def test_the_command(run, data, tmp_path, capsys):
    arguments = ["report", str(run), "--data", str(data), "--rounds", "0", "--pictures", "0", "--limit", "2"]
    out, figures = tmp_path / "out" / "page.html", tmp_path / "figures.json"
    assert cli.main([*arguments, "--out", str(out), "--json", str(figures), "--model", str(INT8)]) == 0
    assert "<img" not in out.read_text() and not (run / "report.html").exists()
    content = json.loads(figures.read_text())
    assert [Path(entry["file"]).name for entry in content["accuracy"]] == ["best.keras", "painted_int8.tflite"]
    assert content["epochs"] == {"done": 2, "planned": 3}
    said = capsys.readouterr().out
    assert f"best.keras: AP {content['accuracy'][0]['AP']:.3f}" in said and str(out) in said


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["{run}/none"], 2, "no such folder"),
        (["{run}", "--split", "val2017"], 2, "give --data as well"),
        (["{run}", "--rounds", "-1"], 2, "rounds -1: must be at least 0"),
        (["{run}", "--data", "{data}", "--limit", "0"], 2, "limit 0: must be at least 1"),
        (["{run}", "--out", "{run}/page.pdf"], 2, "ends in .html"),
        (["{run}", "--data", "{run}"], 1, "no such annotation file"),
        (["{run}", "--data", "{data}", "--split", "test2017"], 1, "person_keypoints_test2017.json"),
        (["{run}", "--model", "{run}/x.tflite"], 1, "x.tflite: no such model file"),
        (["{run}/log.csv"], 1, "log.csv: not a kind of model"),
    ],
)
def test_bad_arguments(run, data, capsys, arguments, status, words):
    filled = [text.format(run=run, data=data) for text in arguments]
    assert cli.main(["report", *filled]) == status
    error = capsys.readouterr().err.strip()
    assert words in error and error.startswith("ehrnet: ") and "\n" not in error
    assert not (run / "report.html").exists()


def test_a_classifier_s_run_has_curves_but_no_people(tmp_path, data, read_page):
    save_config(tmp_path / "config.yaml", load_config(None, ["train.epochs=2"], PretrainConfig))
    (tmp_path / "log.csv").write_text("epoch,loss,val_loss,accuracy,val_accuracy\n0,0.5,0.6,0.25,0.125\n")
    write_report(tmp_path, None, options())
    found = read_page(tmp_path / "report.html")
    assert found.headings == ["Training", "Configuration"]
    assert found.table("Figures by epoch") == [
        ["epoch", "loss", "val loss", "accuracy", "val accuracy"],
        ["1", "0.5000", "0.6000", "0.2500", "0.1250"],
    ]
    with pytest.raises(UsageError, match="is the run of a classifier, which finds no people; leave out --data"):
        write_report(tmp_path, None, options(data))


def test_files_with_other_keypoints_and_classifiers(run, data, best, tmp_path):
    from ehrnet_tf.runtime.metadata import append_metadata, read_metadata

    other = tmp_path / "other.keras"
    other.write_bytes(best.read_bytes())
    metadata = read_metadata(other)
    append_metadata(other, {**metadata, "keypoints": {**metadata["keypoints"], "name": "circle"}})
    with pytest.raises(UsageError, match=r"other\.keras: has the keypoint set 'circle', the others 'square'"):
        write_report(run, None, options(data, models=(other,)))
    append_metadata(other, {"task": "classification"})
    with pytest.raises(UsageError, match=r"other\.keras: is a classifier"):
        write_report(run, None, options(data, models=(other,)))


def test_names_are_as_short_as_they_can_be():
    assert names_of([Path("/a/b/x"), Path("/c/y")]) == ("x", "y")
    assert names_of([Path("/a/b/x"), Path("/a/c/x")]) == ("b/x", "c/x")
    assert names_of([]) == ()
