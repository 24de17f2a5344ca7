"""Exchanged left and right are found from the geometry of the keypoints, and crossed limbs are not."""

import numpy as np
import pytest

from ehrnet_tf import keypoints
from ehrnet_tf.data.check import check_data
from ehrnet_tf.data.checks.sides import crossed_parts, mirrored_faces

COCO = keypoints.load("coco")
# A person who faces the viewer: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles; left is at larger x.
PERSON = np.array(
    [(32, 8), (34, 6), (30, 6), (36, 7), (28, 7), (39, 14), (25, 14), (41, 20), (23, 20)]
    + [(42, 26), (22, 26), (36, 28), (28, 28), (36, 36), (28, 36), (36, 44), (28, 44)],
    float,
)


def found(root, check=None):
    """The findings' names and counts, or the cases of one."""
    findings = {f["check"]: f for f in check_data(root)["findings"]}
    return findings[check]["cases"] if check else {name: finding["count"] for name, finding in findings.items()}


def people(count):
    """People who face the viewer or, every second one, show their back (without a face); (count, 17, 3)."""
    rng = np.random.default_rng(3)
    points = np.concatenate([np.tile(PERSON, (count, 1, 1)), np.full((count, 17, 1), 2.0)], axis=2)
    points[1::2, :, 0] = 64 - points[1::2, :, 0]
    points[:, :, :2] += rng.uniform(-0.5, 0.5, (count, 17, 2))
    points[1::2, :3] = 0
    return points


def turned(points, degrees):
    angle = np.deg2rad(degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.concatenate([(points[..., :2] - 32) @ matrix.T + 32, points[..., 2:]], axis=-1)


@pytest.mark.parametrize("degrees", [0, 90, 180, 250])
def test_sides_are_found_however_people_are_turned(degrees):
    points = turned(people(8), degrees)
    seen, mirrored = mirrored_faces(points, COCO)
    np.testing.assert_array_equal(seen, np.arange(8) % 2 == 0)
    assert not mirrored.any()
    assert not crossed_parts(points, COCO)[0].any()

    swapped = points[:, COCO.flip_order]
    np.testing.assert_array_equal(mirrored_faces(swapped, COCO)[1], seen)
    assert not crossed_parts(swapped, COCO)[0].any()

    for pair in ((5, 6), (7, 8), (11, 12)):
        one = points.copy()
        one[:, pair] = points[:, pair[::-1]]
        assert crossed_parts(one, COCO)[0].any(axis=(1, 2)).all()


def test_limbs_may_cross():
    points = people(4)
    for pair in ((9, 10), (13, 14), (15, 16)):
        points[:, pair] = points[:, pair[::-1]]
    assert not crossed_parts(points, COCO)[0].any()


def test_a_set_without_faces_or_sides_is_not_tested():
    corners = keypoints.KeypointSet.from_dict({"name": "corners", "keypoints": ["a", "b"], "flip_pairs": [["a", "b"]]})
    points = np.random.default_rng(0).uniform(1, 9, (5, 2, 3))
    assert not np.any(mirrored_faces(points, corners))
    assert crossed_parts(points, corners)[0].shape == (5, 0, 0)


def fill(folder, points, per_picture=1):
    for start in range(0, len(points), per_picture):
        image_id = folder.picture()
        for n, person in enumerate(points[start : start + per_picture]):
            annotation = folder.person(image_id, bbox=[0, 0, 64, 48], num_keypoints=int((person[:, 2] > 0).sum()))
            annotation["keypoints"] = (person + (6 * n, 0, 0) * (person[:, 2:] > 0)).ravel().tolist()
    return folder.write()


def test_suspicious_sides_are_named(coco_folder):
    points = people(12)
    points[4] = points[4, COCO.flip_order]
    points[7, (11, 12)] = points[7, (12, 11)]
    root = fill(coco_folder, points)
    assert found(root) == {"sides_face": 1, "sides_crossed": 1}
    assert found(root, "sides_face")[0]["annotation"] == 104
    case = found(root, "sides_crossed")[0]
    assert (case["annotation"], case["detail"]) == (107, "hips against ears and shoulders and elbows")


def test_a_mirrored_picture_and_a_mirrored_data_set(coco_folder, tmp_path):
    points = people(24)[::2]
    points[2:4] = points[2:4, COCO.flip_order]
    root = fill(coco_folder, points, per_picture=2)
    assert found(root, "sides_picture") == [
        {"picture": "train/000002.png", "annotation": None, "detail": "all 2 faces"}
    ]
    assert set(found(root)) == {"sides_picture"}
    other = type(coco_folder)(tmp_path / "other")
    root = fill(other, people(24)[:, COCO.flip_order])
    assert found(root) == {"sides_all": 1}
    assert found(root, "sides_all")[0]["detail"] == "train: 12 of 12 faces are mirrored"
