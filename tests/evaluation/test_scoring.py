import json
import logging

import cv2
import numpy as np
import pytest

from ehrnet_tf.decoding import DecoderSettings
from ehrnet_tf.errors import DataError, UsageError
from ehrnet_tf.evaluation import evaluate
from ehrnet_tf.evaluation.coco_ap import FIGURES
from ehrnet_tf.filters import Filters
from ehrnet_tf.keypoints import load
from ehrnet_tf.runtime.letterbox import fit
from ehrnet_tf.runtime.protocol import Protocol
from ehrnet_tf.runtime.runners import Runner

SIZE = (128, 128)
PICTURES = {1: (96, 128), 2: (200, 100), 3: (128, 128), 4: (80, 160)}  # id → height, width
COLOURS = {1: 60, 2: 120, 3: 180, 4: 240}


class KnowsThePictures(Runner):
    """A network that recognises each picture by its brightness and draws perfect maps for its people."""

    kind = "stub"
    name = "stub"

    def __init__(self, people):
        self.people = people  # id → (P, 17, 2) in input pixels
        self.input_size = SIZE
        self.keypoints = load("coco")
        self.metadata = {"precision": "float32"}
        self.batches = []

    def _run(self, images):
        self.batches.append(len(images))
        maps = {
            "heatmaps_4": np.zeros((len(images), 32, 32, 17), np.float32),
            "tags": np.zeros((len(images), 32, 32, 17), np.float32),
            "heatmaps_2": np.zeros((len(images), 64, 64, 17), np.float32),
        }
        for b, image in enumerate(images):
            brightness = int(image[64, 64].mean())
            for image_id, colour in COLOURS.items():
                if abs(brightness - colour) <= 10:
                    self._draw({name: values[b] for name, values in maps.items()}, self.people[image_id])
        return maps

    def _draw(self, maps, people):
        for number, person in enumerate(people):
            for k, (x, y) in enumerate(person):
                for name, stride in (("heatmaps_4", 4), ("heatmaps_2", 2)):
                    rows, columns = np.indices(maps[name].shape[:2]) + 0.5
                    squared = (columns - x / stride) ** 2 + (rows - y / stride) ** 2
                    maps[name][..., k] = np.maximum(maps[name][..., k], np.exp(-squared / 8))
                    if stride == 4:
                        maps["tags"][..., k][squared < 16] = 5 * number


@pytest.fixture
def data(tmp_path):
    """A COCO folder of four plain pictures, two people in 1, one in 2 and 3, nobody in 4; and the people."""
    generator = np.random.default_rng(1)
    (tmp_path / "val2017").mkdir()
    (tmp_path / "annotations").mkdir()
    people, images, annotations = {}, [], []
    for image_id, (height, width) in PICTURES.items():
        name = f"{image_id:012d}.png"
        cv2.imwrite(str(tmp_path / "val2017" / name), np.full((height, width, 3), COLOURS[image_id], np.uint8))
        images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        box = fit((height, width), SIZE)
        low, high = box.to_input([0, 0]), box.to_input([width, height])
        count = {1: 2, 2: 1, 3: 1, 4: 0}[image_id]
        middle = (high[0] + low[0]) / 2
        parts = [(low[0], middle), (middle, high[0])] if count == 2 else [(low[0], high[0])] * count
        people[image_id] = []
        for left, right in parts:
            xy = np.stack([generator.uniform(left + 8, right - 8, 17), generator.uniform(low[1], high[1], 17)], axis=1)
            people[image_id].append(xy)
            xy = box.to_image(xy).clip(0, np.array([width, height]) - 0.01)
            size = np.ptp(xy, axis=0)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "iscrowd": 0,
                    "keypoints": np.column_stack([xy, np.full(17, 2)]).ravel().tolist(),
                    "num_keypoints": 17,
                    "bbox": [*xy.min(axis=0).tolist(), *size.tolist()],
                    "area": float(size.prod()),
                }
            )
    categories = [{"id": 1, "name": "person", "keypoints": list(load("coco").names)}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "annotations" / "person_keypoints_val2017.json").write_text(json.dumps(content))
    return tmp_path, KnowsThePictures(people)


def test_perfect_maps_score_near_one(data, tmp_path):
    root, runner = data
    result = evaluate(runner, root, batch_size=3, progress=False, results_path=tmp_path / "results.json")
    assert set(FIGURES) < set(result)
    assert result["AP"] > 0.9
    assert result["AP50"] == pytest.approx(1)
    assert (result["images"], result["skipped"]) == (4, 0)
    assert result["protocol"] == "letterbox to 128x128, no flip, single scale, exact decoder"
    assert (result["model"], result["precision"], result["threads"]) == ("stub", "float32", None)
    assert set(result["ms"]) == {"read", "resize", "network", "decode", "wall"}
    assert min(result["ms"].values()) > 0
    assert runner.batches == [3, 3, 1]  # warming up, then four pictures
    assert len(json.loads((tmp_path / "results.json").read_text())) == 4
    json.dumps(result)


def test_batch_size_changes_nothing(data):
    root, runner = data
    one = evaluate(runner, root, batch_size=1, progress=False)
    four = evaluate(runner, root, batch_size=4, progress=False)
    assert [one[f] for f in FIGURES] == [four[f] for f in FIGURES]


def test_limit(data):
    root, runner = data
    assert evaluate(runner, root, limit=2, progress=False)["images"] == 2
    with pytest.raises(UsageError, match="limit 0"):
        evaluate(runner, root, limit=0)


def test_unreadable_pictures_are_counted_and_named(data, caplog):
    root, runner = data
    (root / "val2017" / "000000000002.png").unlink()
    broken = root / "val2017" / "000000000003.png"
    content = bytearray(broken.read_bytes())
    content[40:-12] = bytes(len(content) - 52)  # whole by its header and its end, but not inside
    broken.write_bytes(content)
    with caplog.at_level(logging.WARNING, "ehrnet_tf.evaluation"):
        result = evaluate(runner, root, batch_size=2, progress=False)
    assert (result["images"], result["skipped"]) == (2, 2)
    assert result["AP50"] == pytest.approx(1)
    messages = [r.getMessage() for r in caplog.records if r.name == "ehrnet_tf.evaluation"]
    assert any("000000000002.png" in m for m in messages)
    assert any("000000000003.png" in m for m in messages)


def test_nobody_found(data):
    root, _ = data
    result = evaluate(KnowsThePictures({image_id: [] for image_id in PICTURES}), root, progress=False)
    assert {result[f] for f in FIGURES} <= {0.0, -1.0}


def test_bad_data(data, tmp_path):
    root, runner = data
    with pytest.raises(DataError, match="no such folder"):
        evaluate(runner, tmp_path / "none", progress=False)
    with pytest.raises(DataError, match=r"person_keypoints_test2017\.json"):
        evaluate(runner, root, "test2017", progress=False)
    path = root / "annotations" / "person_keypoints_val2017.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"images": [], "annotations": []}))
    with pytest.raises(DataError, match="person_keypoints_val2017"):
        evaluate(runner, root, progress=False)


def test_what_wrote_no_file_needs_none_removed(data, tmp_path):
    """A model that is no file has nothing to go on with, but its results are written."""
    root, runner = data
    before = set(tmp_path.rglob("*"))
    evaluate(runner, root, progress=False)
    assert set(tmp_path.rglob("*")) == before, "no results are asked for"
    evaluate(runner, root, progress=False, results_path=tmp_path / "new" / "results.json")
    assert {path.name for path in set(tmp_path.rglob("*")) - before} == {"new", "results.json"}


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        (None, "letterbox to 128x128, no flip, single scale, exact decoder"),
        (Protocol(), "letterbox to 128x128, no flip, single scale, live decoder"),
        (Protocol("exact", True), "letterbox to 128x128, flip, single scale, exact decoder"),
    ],
)
def test_the_protocol_is_told(data, protocol, words):
    root, runner = data
    result = evaluate(runner, root, limit=1, progress=False, protocol=protocol)
    assert result["protocol"] == words
    assert sum(runner.batches) == (4 if protocol and protocol.flip else 2)


def test_the_live_decoder_scores_perfect_maps_too(data):
    root, runner = data
    assert evaluate(runner, root, progress=False, protocol=Protocol())["AP"] > 0.9


def test_filters_count(data):
    root, runner = data
    result = evaluate(runner, root, progress=False, filters=Filters(min_joints=18))
    assert result["AP"] == 0
    assert result["protocol"].endswith("exact decoder, at least 18 joints")


def test_details_and_the_worst_misses(data, tmp_path):
    root, runner = data
    runner.people[1][0] += (3, 0)
    runner.people[3] = []
    plain = evaluate(runner, root, progress=False)
    assert not {"keypoints", "sizes"} & set(plain)
    result = evaluate(runner, root, progress=False, details=True, worst=(2, tmp_path / "worst"))
    assert [result[f] for f in FIGURES] == [plain[f] for f in FIGURES]
    assert list(result["keypoints"]) == list(load("coco").names)
    assert result["keypoints"]["nose"]["labelled"] == 4
    assert {row["miss"] for row in result["keypoints"].values()} == {0.25}
    assert sum(row["people"] for row in result["sizes"].values()) == 4
    names = sorted(path.name for path in (tmp_path / "worst").iterdir())
    assert names[0] == "01_missed_000000000003.jpg"
    assert len(names) == 3
    json.dumps(result)
    with pytest.raises(UsageError, match="worst 0: must be at least 1"):
        evaluate(runner, root, worst=(0, tmp_path / "other"))
    assert not (tmp_path / "other").exists()


class PosesInside(Runner):
    """A file with the decoder inside, that has found everybody."""

    kind = "stub"
    name = "poses"
    graph = "poses"

    def __init__(self, people):
        self.people = people
        self.input_size = SIZE
        self.keypoints = load("coco")
        self.metadata = {"precision": "int8"}

    def _run(self, images):
        keypoints, scores = np.zeros((len(images), 3, 17, 3), np.float32), np.zeros((len(images), 3), np.float32)
        for b, image in enumerate(images):
            for image_id, colour in COLOURS.items():
                if abs(int(image[64, 64].mean()) - colour) <= 10:
                    for n, person in enumerate(self.people[image_id]):
                        keypoints[b, n] = np.column_stack((person, np.full(17, 0.9)))
                        scores[b, n] = 0.9 - 0.1 * n
        return {"keypoints": keypoints, "scores": scores}


def test_a_file_with_the_decoder_inside(data, tmp_path, monkeypatch):
    root, runner = data
    for name in ("decode", "decode_live", "merge"):
        monkeypatch.delattr(f"ehrnet_tf.runtime.estimator.{name}")
    inside = PosesInside(runner.people)
    result = evaluate(inside, root, batch_size=3, progress=False, results_path=tmp_path / "r.json")
    assert result["AP"] == pytest.approx(1)
    assert result["protocol"] == "letterbox to 128x128, no flip, single scale, live decoder, decoder in the file"
    assert len(json.loads((tmp_path / "r.json").read_text())) == 4
    with pytest.raises(UsageError, match="finds the people itself"):
        evaluate(inside, root, progress=False, protocol=Protocol("exact"))


class Greys(Runner):
    """Sees one person in every grey picture, at a place that its grey tells; can be made to stop like a user would."""

    kind = "stub"

    def __init__(self, name="greys", stop_after=None, size=(64, 64)):
        self.name = str(name)
        self.input_size = size
        self.keypoints = load("coco")
        self.metadata = {"precision": "float32", "input": {"nominal": [64, 64]}}
        self.stop_after = stop_after
        self.seen = 0  # without the black picture of the warming up
        self.batches = []

    def _run(self, images):
        height, width = images.shape[1:3]
        maps = {
            "heatmaps_4": np.zeros((len(images), height // 4, width // 4, 17), np.float32),
            "tags": np.zeros((len(images), height // 4, width // 4, 17), np.float32),
            "heatmaps_2": np.zeros((len(images), height // 2, width // 2, 17), np.float32),
        }
        self.batches.append(images.shape[:3])
        for b, image in enumerate(images):
            grey = int(image[height // 2, width // 2, 0])
            if not grey:
                continue
            if self.seen == self.stop_after:
                raise KeyboardInterrupt
            self.seen += 1
            places = np.random.default_rng(grey // 4).uniform(0.3, 0.7, (17, 2))
            for k, (y, x) in enumerate(places):
                for name, stride in (("heatmaps_4", 4), ("heatmaps_2", 2)):
                    maps[name][b, int(y * height / stride), int(x * width / stride), k] = 0.4 + 0.6 * y
        return maps


GREY = 14  # pictures


@pytest.fixture
def greys(tmp_path):
    """A COCO folder of grey pictures of many sizes with one person each, and a model file."""
    (tmp_path / "set" / "val2017").mkdir(parents=True)
    (tmp_path / "set" / "annotations").mkdir()
    images, annotations = [], []
    for n in range(GREY):
        height, width = 40 + 3 * (n % 4), 70 - 5 * (n % 3)
        grey = 40 + 12 * n
        name = f"{n}.png"
        cv2.imwrite(str(tmp_path / "set" / "val2017" / name), np.full((height, width, 3), grey, np.uint8))
        images.append({"id": f"p{n}", "file_name": name, "height": height, "width": width})
        places = np.random.default_rng(grey // 4).uniform(0.3, 0.7, (17, 2))[:, ::-1]
        places = fit((height, width), (64, 64)).to_image(places * 64).clip(0, (width - 1, height - 1))
        places += 0.6 * (n % 5)
        annotation = {"id": n, "image_id": f"p{n}", "category_id": 1, "iscrowd": 0, "area": 2000.0}
        annotation["keypoints"] = np.column_stack([places, np.full(17, 2)]).ravel().tolist()
        annotations.append({**annotation, "num_keypoints": 17, "bbox": [5, 5, 50, 40]})
    categories = [{"id": 1, "name": "person", "keypoints": list(load("coco").names)}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "set" / "annotations" / "person_keypoints_val2017.json").write_text(json.dumps(content))
    (tmp_path / "model.keras").write_bytes(b"some weights")
    return tmp_path


def stopped(folder, after=10, **options):
    """An evaluation that somebody stops; how many pictures it has noted."""
    runner = Greys(folder / "model.keras", stop_after=after)
    with pytest.raises(KeyboardInterrupt):
        evaluate(runner, folder / "set", progress=False, results_path=folder / "r.json", **options)
    assert runner.seen == after
    assert not (folder / "r.json").exists()
    return len((folder / "r.json.part").read_text().splitlines()) - 1


def test_an_evaluation_that_was_stopped_goes_on(greys, caplog):
    whole = evaluate(Greys(), greys / "set", progress=False, results_path=greys / "whole.json")
    assert 0.2 < whole["AP"] < 1
    with caplog.at_level(logging.INFO, "ehrnet_tf.evaluation"):
        noted = stopped(greys)
        assert 0 < noted <= 10
        assert f"stopped after {noted} of 14 pictures; the same command goes on from there" in caplog.messages
        runner = Greys(greys / "model.keras")
        result = evaluate(runner, greys / "set", progress=False, results_path=greys / "r.json")
    assert any(message.endswith(f"going on after {noted} of 14 pictures") for message in caplog.messages)
    assert runner.seen == 14 - noted
    assert (result["images"], result["skipped"]) == (14, 0)
    assert [result[f] for f in FIGURES] == [whole[f] for f in FIGURES]
    assert json.loads((greys / "r.json").read_text()) == json.loads((greys / "whole.json").read_text())
    assert not (greys / "r.json.part").exists()
    assert min(result["ms"].values()) > 0


def test_it_can_be_stopped_again_and_again(greys):
    noted = [stopped(greys, 6), stopped(greys, 6)]
    assert 0 < noted[0] < noted[1] < 14
    runner = Greys(greys / "model.keras")
    result = evaluate(runner, greys / "set", progress=False, batch_size=4, results_path=greys / "r.json")
    assert runner.seen == 14 - noted[1]
    assert result["images"] == 14


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": Protocol()},
        {"protocol": Protocol("exact", True)},
        {"filters": Filters(min_joints=3)},
        {"settings": DecoderSettings(threshold=0.2)},
        "model",
        "annotations",
    ],
    ids=str,
)
def test_another_evaluation_begins_anew(change, greys):
    assert stopped(greys) > 0
    if change == "model":
        (greys / "model.keras").write_bytes(b"other weights")
    elif change == "annotations":
        path = greys / "set" / "annotations" / "person_keypoints_val2017.json"
        path.write_text(path.read_text() + " ")
    options = change if isinstance(change, dict) else {}
    runner = Greys(greys / "model.keras")
    result = evaluate(runner, greys / "set", progress=False, results_path=greys / "r.json", **options)
    flip = 2 if "flip," in result["protocol"].replace("no flip,", "") else 1
    assert runner.seen == 14 * flip
    assert not (greys / "r.json.part").exists()


def test_another_keypoint_set_begins_anew(greys):
    """The set gives the channels their meaning: it groups, mirrors and scores."""
    assert stopped(greys) > 0
    runner = Greys(greys / "model.keras")
    runner.keypoints = load("coco").from_dict({**load("coco").to_dict(), "grouping": list(load("coco").names)[::-1]})
    evaluate(runner, greys / "set", progress=False, results_path=greys / "r.json")
    assert runner.seen == 14


def test_more_pictures_of_the_same_evaluation_go_on(greys):
    noted = stopped(greys, 8, limit=10)
    runner = Greys(greys / "model.keras")
    result = evaluate(runner, greys / "set", progress=False, results_path=greys / "r.json", limit=12)
    assert runner.seen == 12 - noted
    assert result["images"] == 12


def test_an_evaluation_stopped_at_its_very_end(greys):
    """All pictures are noted, the results are not written: nothing is left to run."""
    noted = stopped(greys, 13, limit=14)
    part = (greys / "r.json.part").read_text()
    runner = Greys(greys / "model.keras")
    whole = evaluate(runner, greys / "set", progress=False, results_path=greys / "r.json", details=True)
    lines = part.splitlines()[:1]
    for n in range(14):
        results = [r for r in json.loads((greys / "r.json").read_text()) if r["image_id"] == f"p{n}"]
        lines.append(json.dumps({"image_id": f"p{n}", "results": results}))
    assert lines[1 : 1 + noted] == part.splitlines()[1:]
    (greys / "r.json.part").write_text("\n".join(lines) + "\n")
    runner = Greys(greys / "model.keras")
    result = evaluate(runner, greys / "set", progress=False, results_path=greys / "r.json", details=True)
    assert runner.seen == 0
    assert {k: v for k, v in result.items() if k != "ms"} == {k: v for k, v in whole.items() if k != "ms"}


def test_without_a_results_file_nothing_is_kept(greys, caplog):
    before = set(greys.rglob("*"))
    runner = Greys(greys / "model.keras", stop_after=10)
    with caplog.at_level(logging.WARNING, "ehrnet_tf.evaluation"), pytest.raises(KeyboardInterrupt):
        evaluate(runner, greys / "set", progress=False)
    assert set(greys.rglob("*")) == before
    (message,) = caplog.messages
    assert message.startswith("stopped after ")
    assert "with a results file it could be gone on with" in message


def test_pictures_that_cannot_be_read_are_tried_again(greys):
    (greys / "set" / "val2017" / "1.png").rename(greys / "kept.png")
    assert stopped(greys) > 1
    (greys / "kept.png").rename(greys / "set" / "val2017" / "1.png")
    result = evaluate(Greys(greys / "model.keras"), greys / "set", progress=False, results_path=greys / "r.json")
    assert (result["images"], result["skipped"]) == (14, 0)
    ids = [entry["image_id"] for entry in json.loads((greys / "r.json").read_text())]
    assert ids == [f"p{n}" for n in range(14)], "in the order of the pictures"


@pytest.mark.parametrize("batch_size", [1, 3, 14, 20])
@pytest.mark.parametrize("limit", [14, 7])
def test_any_batch_size(batch_size, limit, greys):
    runner = Greys()
    result = evaluate(runner, greys / "set", limit=limit, batch_size=batch_size, progress=False)
    sizes = [count for count, *_ in runner.batches[1:]]
    assert sizes == [batch_size] * (limit // batch_size) + [limit % batch_size] * bool(limit % batch_size)
    assert result["images"] == limit == runner.seen


def test_pictures_of_different_sizes_in_one_batch(greys):
    protocol = Protocol("exact", True, (0.5, 1), "reference")
    for batch_size in (1, 5):
        path = greys / f"{batch_size}.json"
        evaluate(
            Greys(size=None), greys / "set", batch_size=batch_size, progress=False, results_path=path, protocol=protocol
        )
    assert json.loads((greys / "1.json").read_text()) == json.loads((greys / "5.json").read_text())


def test_a_picture_too_thin_for_the_protocol_is_skipped(greys, caplog):
    path = greys / "set" / "annotations" / "person_keypoints_val2017.json"
    content = json.loads(path.read_text())
    cv2.imwrite(str(greys / "set" / "val2017" / "thin.png"), np.full((1, 9000, 3), 90, np.uint8))
    content["images"].insert(3, {"id": "thin", "file_name": "thin.png", "height": 1, "width": 9000})
    path.write_text(json.dumps(content))
    protocol = Protocol("exact", sizes="reference")
    with caplog.at_level(logging.WARNING, "ehrnet_tf.evaluation"):
        result = evaluate(
            Greys(size=None), greys / "set", limit=5, input_size=128, progress=False, protocol=protocol, batch_size=2
        )
    assert (result["images"], result["skipped"]) == (4, 1)
    (message,) = caplog.messages
    assert "thin.png" in message and "crop it, or use the letterbox" in message
    assert evaluate(Greys(), greys / "set", limit=5, progress=False)["images"] == 5
