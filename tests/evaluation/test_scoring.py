import json
import logging

import cv2
import numpy as np
import pytest

from ehrnet_tf.errors import DataError, UsageError
from ehrnet_tf.evaluation import evaluate
from ehrnet_tf.evaluation.coco_ap import FIGURES
from ehrnet_tf.keypoints import load
from ehrnet_tf.runtime.letterbox import fit
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
    assert set(result["ms"]) == {"read", "resize", "network", "decode"}
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
