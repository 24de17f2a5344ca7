"""The result type: shapes, COCO results, JSON."""

import json

import numpy as np
import pytest

from ehrnet_tf import keypoints
from ehrnet_tf.errors import UsageError
from ehrnet_tf.poses import Poses

COCO = keypoints.load("coco")


@pytest.fixture
def poses():
    people = np.zeros((2, 17, 3))
    people[0, 0] = [10.25, 20.1234567, 0.75]
    people[1, 16] = [30, 40, 0.1234567891]
    return Poses(people, [0.5, 0.25], COCO, (48, 64))


def test_arrays_are_float32(poses):
    assert len(poses) == 2
    assert poses.keypoints.dtype == poses.scores.dtype == np.float32
    assert poses.image_size == (48, 64)


def test_coco_results(poses):
    first, second = json.loads(json.dumps(poses.to_coco(42)))
    assert first["image_id"] == 42
    assert first["category_id"] == 1
    assert first["score"] == 0.5
    assert len(first["keypoints"]) == 51
    assert first["keypoints"][:4] == [10.25, 20.123, 0.75, 0]
    assert second["keypoints"][-3:] == [30, 40, 0.123457]
    assert {result["category_id"] for result in poses.to_coco(42, 7)} == {7}


def test_dictionary_names_the_keypoints(poses):
    data = json.loads(json.dumps(poses.to_dict()))
    assert data["image_size"] == [48, 64]
    assert data["keypoint_set"] == "coco"
    assert data["category"] == "person"
    assert [person["score"] for person in data["people"]] == [0.5, 0.25]
    assert list(data["people"][0]["keypoints"]) == list(COCO.names)
    assert data["people"][1]["keypoints"]["right_ankle"] == [30, 40, 0.123457]


def test_nobody():
    nobody = Poses(np.zeros((0, 17, 3)), np.zeros(0), COCO, (48, 64))
    assert len(nobody) == 0
    assert nobody.to_coco(1) == nobody.to_dict()["people"] == []


def test_draw_leaves_the_picture_alone(poses):
    image = np.full((48, 64, 3), 128, np.uint8)
    drawn = poses.draw(image)
    assert (image == 128).all()
    assert drawn.shape == image.shape
    assert (drawn[20, 10] != 128).any()
    assert not np.array_equal(drawn, poses.draw(image, min_score=0.5))


@pytest.mark.parametrize(
    ("people", "scores"),
    [((2, 17, 3), (3,)), ((2, 16, 3), (2,)), ((2, 17, 4), (2,)), ((17, 3), ()), ((2, 17, 3), (2, 1))],
)
def test_shapes_that_do_not_fit(people, scores):
    with pytest.raises(UsageError, match="keypoints"):
        Poses(np.zeros(people), np.zeros(scores), COCO, (48, 64))


def test_above_keeps_order_and_set(poses):
    kept = poses.above(0.3)
    assert kept.scores.tolist() == [0.5]
    np.testing.assert_array_equal(kept.keypoints[0], poses.keypoints[0])
    assert kept.keypoint_set is COCO
    assert len(poses.above(0)) == 2
