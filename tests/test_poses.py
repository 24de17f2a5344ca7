"""The result type: shapes, COCO results, JSON."""

import dataclasses
import json
import sys

import numpy as np
import pytest

from ehrnet_tf import drawing, keypoints
from ehrnet_tf.errors import MissingExtraError, UsageError
from ehrnet_tf.poses import NO_ID, Poses

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


def with_ids(poses, *ids):
    return dataclasses.replace(poses, ids=ids)


def test_ids_are_kept_and_written(poses):
    tracked = with_ids(poses, 7, 3)
    assert poses.ids is None
    assert tracked.ids.dtype == np.int64
    assert tracked.above(0.3).ids.tolist() == [7]
    assert tracked.select([1, 0]).ids.tolist() == [3, 7]
    assert tracked.select([]).ids.shape == (0,)
    assert [person["id"] for person in json.loads(json.dumps(tracked.to_dict()))["people"]] == [7, 3]
    assert next(iter(tracked.to_dict()["people"][0])) == "id"
    assert [result["track_id"] for result in json.loads(json.dumps(tracked.to_coco(1)))] == [7, 3]


def test_who_has_no_id_is_written_without(poses):
    for people in (poses.to_dict()["people"], with_ids(poses, 4, NO_ID).to_dict()["people"][1:]):
        assert all("id" not in person for person in people)
    first, second = with_ids(poses, 4, NO_ID).to_coco(1)
    assert first["track_id"] == 4
    assert "track_id" not in second


@pytest.mark.parametrize("ids", [[1], [1, 2, 3], [[1, 2]], 5, [0.5, 1], [0.0, 1.0], ["a", "b"], [0, -2], [True, False]])
def test_ids_that_are_none(poses, ids):
    with pytest.raises(UsageError, match="ids"):
        dataclasses.replace(poses, ids=ids)


def test_ids_are_drawn_instead_of_scores(poses):
    image = np.full((480, 640, 3), 128, np.uint8)
    poses.keypoints[:, :, :2] *= 10
    drawn = with_ids(poses, 12, NO_ID).draw(image)
    expected = drawing.draw_poses(image, poses.keypoints, COCO, labels=["12", ""])
    np.testing.assert_array_equal(drawn, expected)
    assert not np.array_equal(drawn, poses.draw(image))


def test_pandas(poses):
    pd = pytest.importorskip("pandas")
    table = with_ids(poses, 12, NO_ID).to_pandas()
    assert list(table.columns) == ["person", "id", "person_score", "keypoint", "x", "y", "score"]
    assert len(table) == 34
    assert table["keypoint"].cat.categories.tolist() == list(COCO.names)
    nose, ankle = table.iloc[0], table.iloc[33]
    assert (nose["person"], nose["id"], nose["keypoint"], nose["person_score"]) == (0, 12, "nose", 0.5)
    np.testing.assert_allclose([nose["x"], nose["y"], nose["score"]], poses.keypoints[0, 0])
    assert (ankle["person"], ankle["keypoint"], ankle["x"], ankle["person_score"]) == (1, "right_ankle", 30, 0.25)
    assert ankle["id"] is pd.NA
    absent = table[table["score"] == 0]
    assert len(absent) == 32
    assert absent[["x", "y"]].isna().all(axis=None)
    assert [str(kind) for kind in table.dtypes] == [
        "int64", "Int64", "float32", "category", "float32", "float32", "float32",
    ]  # fmt: skip


def test_pandas_of_one_row_a_person_and_of_nobody(poses):
    pytest.importorskip("pandas")
    wide = poses.to_pandas().pivot(index="person", columns="keypoint", values=["x", "y", "score"])
    assert wide.shape == (2, 51)
    assert wide.loc[1, ("x", "right_ankle")] == 30
    assert poses.to_pandas()["id"].isna().all()
    nobody = poses.select([]).to_pandas()
    assert nobody.shape == (0, 7)
    assert nobody.dtypes.equals(poses.to_pandas().dtypes)


def test_pandas_that_is_missing(poses, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"pip install pandas$"):
        poses.to_pandas()
