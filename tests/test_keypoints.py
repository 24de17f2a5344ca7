import json

import numpy as np
import pytest

from ehrnet_tf import keypoints
from ehrnet_tf.errors import UsageError
from ehrnet_tf.keypoints import KeypointSet


def test_coco_agrees_with_pycocotools():
    from pycocotools.cocoeval import Params

    coco = keypoints.load("coco")
    assert len(coco) == 17
    np.testing.assert_allclose(coco.sigmas, Params("keypoints").kpt_oks_sigmas)
    assert coco.flip_order == (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
    # the reference's order, 1-based: 1-7, 12, 13, 8-11, 14-17
    assert [k + 1 for k in coco.grouping] == [1, 2, 3, 4, 5, 6, 7, 12, 13, 8, 9, 10, 11, 14, 15, 16, 17]
    assert len(coco.skeleton) == 19


def test_round_trip_and_file(tmp_path):
    coco = keypoints.load("coco")
    assert KeypointSet.from_dict(coco.to_dict()) == coco
    path = tmp_path / "box.yaml"
    path.write_text("name: box\nkeypoints: [tl, tr, br, bl]\nflip_pairs: [[tl, tr], [bl, br]]\n")
    box = keypoints.load(path)
    assert box.flip_order == (1, 0, 3, 2)
    assert box.grouping == (0, 1, 2, 3)
    assert keypoints.load(box) is box


def test_optional_values():
    data = {
        "name": "t",
        "keypoints": ["a", "b", "c"],
        "colors": {"a": "#0A80ff", "c": [1, 2, 3]},
        "annotation_keys": ["body", "rest"],
        "area_per_box": 0.5,
        "sigmas": ["1e-2", 0.1, 1],
    }
    points = KeypointSet.from_dict(data)
    assert points.colors == ((10, 128, 255), None, (1, 2, 3))
    assert points.sigmas == (0.01, 0.1, 1.0)
    assert KeypointSet.from_dict(json.loads(json.dumps(points.to_dict()))) == points
    assert points.labels({"body": [1, 2, 2], "rest": [3, 4, 1]}) == [1, 2, 2, 3, 4, 1]
    assert points.labels({"body": [1, 2, 2]}) is None
    assert points.labels({"body": "all", "rest": []}) == "all"


def test_what_is_not_stated_is_not_written():
    data = keypoints.load("coco").to_dict()
    assert set(data) == {"name", "category", "keypoints", "flip_pairs", "skeleton", "sigmas", "grouping"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": None}, "'keypoints' is missing"),
        ({"keypoints": ["a", "a"]}, "'a' is listed twice"),
        ({"skeleton": [["a", "x"]]}, "skeleton names 'x'"),
        ({"skeleton": [["a"]]}, "not a pair"),
        ({"flip_pairs": [["a", "b"], ["b", "c"]]}, "'b' more than once"),
        ({"sigmas": [0.1]}, "sigmas must be 3"),
        ({"sigmas": [0.1, 0, 0.1]}, "positive"),
        ({"grouping": ["a", "b"]}, "grouping must name each"),
        ({"colour": "red"}, "unknown key 'colour'; did you mean 'colors'"),
        ({"zzz": 1}, "unknown key 'zzz'; known: name, category"),
        ({"keypoints": ["a", " "]}, "keypoints holds an empty name"),
        ({"keypoints": ["a", None]}, "keypoints holds an empty name"),
        ({"keypoints": "abc"}, "keypoints must be a list of names"),
        ({"category": ""}, "category is empty"),
        ({"flip_pairs": [["a", "a"]]}, "flip_pairs pairs 'a' with itself; name two"),
        ({"skeleton": [["b", "b"]]}, "skeleton pairs 'b' with itself"),
        ({"skeleton": "ab"}, "skeleton must be a list of pairs"),
        ({"sigmas": ["x", 1, 1]}, "sigmas must be 3 positive"),
        ({"sigmas": [float("nan"), 1, 1]}, "sigmas must be 3 positive"),
        ({"colors": ["red"]}, "colors must map"),
        ({"colors": {"d": [0, 0, 0]}}, "colors names 'd', which is not among the keypoints; known: a, b, c"),
        ({"colors": {"a": "red"}}, "colors: 'a' is 'red'; write"),
        ({"colors": {"a": None}}, "colors: 'a' is None; write"),
        ({"colors": {"a": [0, 0]}}, "colors: 'a' is"),
        ({"colors": {"a": [0, 0, 256]}}, "colors: 'a' is"),
        ({"annotation_keys": "keypoints"}, "annotation_keys must be a list"),
        ({"annotation_keys": ["x", "x"]}, "annotation_keys 'x' is listed twice"),
        ({"area_per_box": 0}, "area_per_box is 0"),
    ],
)
def test_bad_sets(change, message):
    with pytest.raises(UsageError, match=message) as caught:
        KeypointSet.from_dict({"name": "t", "keypoints": ["a", "b", "c"], **change}, "t.yaml")
    assert str(caught.value).startswith("t.yaml: ") and "\n" not in str(caught.value)


def test_unknown_name_lists_the_built_in():
    with pytest.raises(UsageError, match="built-in sets"):
        keypoints.load("octopus")
