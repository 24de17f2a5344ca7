"""A run of a painted network, pictures that it sees right and wrong, and a reader of pages."""

import json
import math
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from painted import BLUE, RED, SET, paint, picture, tiny

VOID = {"meta", "link", "img", "br"}
EPOCHS = 3


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Pictures of two people: 1 as the network finds them, 2 with the second labelled far off, 3 cannot be read."""
    root = tmp_path_factory.mktemp("report data")
    for folder in ("val2017", "annotations"):
        (root / folder).mkdir()
    images, annotations = [], []
    for number in (1, 2, 3):
        name = f"{number}.png"
        cv2.imwrite(str(root / "val2017" / name), picture()[:, :, ::-1])
        images.append({"id": number, "file_name": name, "height": 64, "width": 64})
        for person, (red, blue) in enumerate(zip(RED, BLUE, strict=True)):
            moved = (-12, 0) if (number, person) == (2, 1) else (0, 0)
            points = np.column_stack((np.array([red, blue, red, blue]) + moved, np.full(4, 2)))
            low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "iscrowd": 0,
                    "keypoints": points.ravel().tolist(),
                    "num_keypoints": 4,
                    "bbox": [*low.tolist(), *(high - low).tolist()],
                    "area": 1100.0,
                }
            )
    (root / "val2017" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture IEND")
    categories = [{"id": 1, "name": "person", "keypoints": list(SET.names)}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations" / "person_keypoints_val2017.json").write_text(json.dumps(content))
    return root


@pytest.fixture(scope="session")
def best(tmp_path_factory):
    """The painted network's file."""
    from ehrnet_tf.runtime.metadata import model_metadata, save_keras

    path = tmp_path_factory.mktemp("model") / "best.keras"
    model = paint(tiny(keypoints=4))
    accuracy = {"AP": 0.625, "AP50": 0.875, "data": "elsewhere", "split": "val2017"}
    save_keras(model, path, model_metadata(model, keypoints=SET, accuracy=accuracy))
    return path


@pytest.fixture
def run(tmp_path, best):
    """The folder of a training run of three epochs, two of which are done."""
    from ehrnet_tf.config import load_config, save_config
    from ehrnet_tf.training.logs import write_log

    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "best.keras").write_bytes(best.read_bytes())
    save_config(folder / "config.yaml", load_config(None, ["model.variant=H-6", f"train.epochs={EPOCHS}"]))
    rows = [
        {"epoch": n, "loss": 0.5 / (n + 1), "AP": ap, "AP50": 0.5, "AP_true_groups": 0.4, "AP_true_heatmaps": 0.9}
        for n, ap in enumerate((math.nan, 0.25))
    ]
    write_log(folder / "log.csv", rows)
    start = {
        "command": "ehrnet train",
        "started": "2026-01-02",
        "backend": "tensorflow",
        "machine": "m",
        "versions": {},
    }
    (folder / "run.json").write_text(json.dumps({"starts": [start], "data": {"train": {"skipped": {"a.jpg": "why"}}}}))
    return folder


class Page(HTMLParser):
    """A parsed page: ``text`` by tag, ``attributes`` of every element, ``tables`` as rows of cell texts."""

    def __init__(self, content):
        super().__init__()
        self.content, self.stack, self.elements, self.tables = content, [], [], []
        self.feed(content)
        self.close()
        assert self.stack == [], "every element is closed"

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, **dict(attributes), "text": ""}
        self.elements.append(element)
        if tag not in VOID:
            self.stack.append(element)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])

    def handle_endtag(self, tag):
        assert self.stack[-1]["tag"] == tag
        element = self.stack.pop()
        if tag in ("td", "th"):
            self.tables[-1][-1].append(element["text"])

    def handle_data(self, data):
        for element in self.stack:
            element["text"] += data

    def all(self, tag, **wanted):
        """The elements of a kind that have these attributes."""
        return [e for e in self.elements if e["tag"] == tag and all(e.get(k) == v for k, v in wanted.items())]

    def table(self, label):
        """The rows of the table with this label."""
        labels = [e.get("aria-label") for e in self.all("table")]
        return self.tables[labels.index(label)]

    @property
    def headings(self):
        return [e["text"] for e in self.all("h2")]


@pytest.fixture(scope="session")
def read_page():
    return lambda path: Page(path.read_text(encoding="utf-8"))
