"""Which pictures are shown, and how."""

import cv2
import numpy as np
import pytest

from ehrnet_tf.data.coco import Record
from ehrnet_tf.data.shards import Place
from ehrnet_tf.evaluation.breakdown import Person
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.report import pictures

DICE = KeypointSet.from_dict({"name": "dice", "keypoints": list("abcd"), "skeleton": [["a", "b"], ["c", "d"]]})
FOUR = np.array([[10, 10], [50, 10], [10, 70], [50, 70]], float)
SIMILARITY = {"g": 0.95, "j": 0.7, "s": 0.0, "m": 0.0, "-": 0.0}
NAMES = {"g": "good", "j": "jitter", "s": "swap", "m": "miss", "-": ""}


def person(image_id, kinds):
    """A person by its joints: g(ood), j(itter), s(wap), m(iss), - (not labelled)."""
    labelled = np.column_stack((FOUR, [2 * (kind != "-") for kind in kinds]))
    similarity = np.array([SIMILARITY[kind] for kind in kinds])
    return Person(image_id, labelled, 900.0, (10, 10, 40, 60), None, similarity, tuple(NAMES[kind] for kind in kinds))


def found(image_id, score=0.9, moved=0):
    points = np.column_stack((FOUR + moved, np.full(4, 0.9)))
    return {"image_id": image_id, "category_id": 1, "keypoints": points.ravel().tolist(), "score": score}


@pytest.fixture
def records(tmp_path):
    """Six plain pictures, 60 wide and 90 high; the last cannot be read."""
    made = []
    for number in range(1, 7):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), np.full((90, 60, 3), 40, np.uint8))
        points = np.column_stack((FOUR, np.full(4, 2)))[None].astype(np.float32)
        rest = np.zeros(1, np.float32), np.zeros((1, 4), np.float32), b""
        made.append(Record(number, str(path), 60, 90, points, *rest, Place(str(path))))
    path.write_bytes(b"nothing")
    return made


def titles(shown):
    return [picture.title for picture in shown]


def test_the_best_by_mean_oks(records):
    people = [person(1, "gggg"), person(2, "gggj"), person(2, "gggg"), person(3, "jjjj"), person(4, "gggg")]
    results = [found(n) for n in (1, 2, 2, 3, 4)] + [found(4, moved=30), found(1, score=0.05)]
    shown = pictures.best(people, results, records, DICE, 3)
    assert titles(shown) == ["picture 1: OKS 0.95", "picture 2: OKS 0.92", "picture 3: OKS 0.70"]
    assert shown[1].text == "mean over 2 labelled people; found with scores 0.90, 0.90"
    assert titles(pictures.best(people, results, records, DICE, 9))[3] == "picture 4: OKS 0.95", "somebody too many"
    assert titles(pictures.best(people, results, records, DICE, 2, without={1})) == [
        "picture 2: OKS 0.92",
        "picture 3: OKS 0.70",
    ]


def test_one_joint_is_no_best_picture(records):
    people = [person(1, "g---"), person(2, "ggjj"), person(3, "ggjj")]
    assert titles(pictures.best(people, [], records, DICE, 9)) == ["picture 2: OKS 0.82", "picture 3: OKS 0.82"]
    assert pictures.best([], [], records, DICE, 3) == []
    assert pictures.best([person(1, "mmmm")], [], records, DICE, 3) == [], "nobody was found"


def test_the_worst_once_each_and_half_of_all_at_most(records):
    people = [person(1, "mmmm"), person(1, "ggss"), person(2, "gjjj"), person(3, "gggg"), person(4, "gggj")]
    shown = pictures.worst(people, [found(2)], records, DICE, 9)
    assert list(shown) == [1, 2]
    first, second = shown.values()
    assert (first.title, second.title) == ("picture 1: missed", "picture 2: jitter")
    assert first.text.endswith("OKS 0.00 (4 miss); nobody found")
    assert second.text.endswith("OKS 0.76 (1 good, 3 jitter); found with scores 0.90")
    assert list(pictures.worst(people, [], records, DICE, 1)) == [1]
    assert pictures.worst([], [], records, DICE, 1) == {}


def test_pictures_that_cannot_be_read_are_left_out(records):
    people = [person(6, "mmmm"), person(1, "mmgg"), person(2, "gggg")]
    assert list(pictures.worst(people, [], records, DICE, 9)) == [1]
    assert titles(pictures.best([person(6, "gggg"), person(1, "gggg")], [], records, DICE, 9)) == [
        "picture 1: OKS 0.95"
    ]


def test_truth_left_what_is_found_right_and_a_box(records):
    (shown,) = pictures.worst([person(1, "mmmm")], [found(2), found(1, 0.05)], records, DICE, 1).values()
    assert shown.size == (420, 280) and shown.people == (1, 0)
    left, right = (
        cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1].astype(int)
        for file in (shown.labelled, shown.found)
    )
    assert left.shape == right.shape == (420, 280, 3)
    scale = 420 / 90
    for image in (left, right):
        red = np.abs(image - pictures._BOX).sum(axis=2) < 120
        rows, columns = np.flatnonzero(red.sum(axis=1) > 80), np.flatnonzero(red.sum(axis=0) > 120)
        corners = np.array([columns[0], columns[-1], rows[0], rows[-1]]) / scale
        np.testing.assert_allclose(corners, [10, 50, 10, 70], atol=1)
    inside = np.s_[round(12 * scale) : round(68 * scale), round(12 * scale) : round(48 * scale)]
    assert np.abs(right[inside] - 40).max() < 30, "nobody was found there"
    row = round(10 * scale)
    assert np.abs(left[row - 3 : row + 4, 120:160] - right[row - 3 : row + 4, 120:160]).max() > 80, "the limb a-b"
