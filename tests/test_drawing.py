"""What is drawn where, and in which colour."""

import numpy as np
import pytest

from ehrnet_tf import drawing, keypoints
from ehrnet_tf.errors import UsageError
from ehrnet_tf.keypoints import KeypointSet

COCO = keypoints.load("coco")
INDEX = {name: k for k, name in enumerate(COCO.names)}
GREY = np.full((240, 320, 3), 128, np.uint8)


def person(score=1.0, **joints):
    people = np.zeros((1, 17, 3), np.float32)
    for name, (x, y) in joints.items():
        people[0, INDEX[name]] = x, y, score
    return people


def test_joints_and_limbs_take_the_colour_of_their_side():
    people = person(left_hip=(60.5, 60.5), left_knee=(60.5, 160.5), right_hip=(200.5, 60.5), right_knee=(200.5, 160.5))
    drawn = drawing.draw_poses(GREY, people, COCO)
    for x, colour in ((60, drawing.LEFT), (200, drawing.RIGHT)):
        for y in (60, 110, 160):
            np.testing.assert_allclose(drawn[y, x], colour, atol=2)
    np.testing.assert_allclose(drawn[60, 130], drawing.CENTRE, atol=2)  # from hip to hip
    np.testing.assert_array_equal(drawn[160, 130], [128, 128, 128])


@pytest.mark.parametrize(("x", "y"), [(0.5, 0.5), (100.5, 50.5), (319.5, 239.5)])
def test_a_joint_is_centred_on_its_pixel(x, y):
    drawn = drawing.draw_poses(GREY, person(nose=(x, y)), COCO)
    np.testing.assert_allclose(drawn[int(y), int(x)], drawing.CENTRE, atol=2)
    padded = np.pad((drawn != GREY).any(axis=2), 20)
    window = padded[int(y) : int(y) + 41, int(x) : int(x) + 41]
    inside = np.pad(np.ones((240, 320), bool), 20)[int(y) : int(y) + 41, int(x) : int(x) + 41]
    both = inside & inside[::-1, ::-1]
    np.testing.assert_array_equal(window[both], window[::-1, ::-1][both])


def test_confidence_is_opacity():
    distance = [
        np.abs(drawing.draw_poses(GREY, person(score, nose=(100.5, 50.5)), COCO)[50, 100].astype(int) - 128).sum()
        for score in (0.2, 0.5, 0.9)
    ]
    assert 0 < distance[0] < distance[1] < distance[2]


def test_joints_below_the_minimum_and_their_limbs_are_not_drawn():
    people = person(left_hip=(60, 60), left_knee=(60, 160))
    people[0, INDEX["left_knee"], 2] = 0.2
    drawn = drawing.draw_poses(GREY, people, COCO, min_score=0.3)
    assert (drawn[60, 60] != 128).any()
    np.testing.assert_array_equal(drawn[90:], GREY[90:])


def test_absent_joints_are_not_drawn_at_any_minimum():
    np.testing.assert_array_equal(drawing.draw_poses(GREY, person(), COCO, [0.5], min_score=0.0), GREY)


def test_nobody_and_an_untouched_input():
    drawn = drawing.draw_poses(GREY, np.zeros((0, 17, 3)), COCO, [])
    np.testing.assert_array_equal(drawn, GREY)
    assert drawn is not GREY
    drawing.draw_poses(GREY, person(nose=(100, 50)), COCO, [0.5])
    assert (GREY == 128).all()


def test_the_label_stands_above_the_highest_joint():
    people = person(left_hip=(60, 100), left_knee=(60, 160))
    bare, labelled = drawing.draw_poses(GREY, people, COCO), drawing.draw_poses(GREY, people, COCO, [0.87])
    rows, columns = np.nonzero((bare != labelled).any(axis=2))
    assert 60 < rows.min() < rows.max() < 100
    assert 30 < columns.min() < 60 < columns.max() < 90
    named = drawing.draw_poses(GREY, people, COCO, [0.87], labels=["number 7"])
    assert not np.array_equal(labelled, named)


def test_people_outside_and_values_that_are_no_numbers():
    people = np.concatenate([person(nose=(1e9, -1e9), left_eye=(-1e30, 5)), person(nose=(np.nan, 5))])
    drawn = drawing.draw_poses(GREY, people, COCO)
    np.testing.assert_array_equal(drawn, GREY)
    tiny = drawing.draw_poses(np.zeros((3, 2, 3), np.uint8), person(nose=(1, 1), left_eye=(2, 2)), COCO, [1.0])
    assert tiny.shape == (3, 2, 3)


def test_any_keypoint_set():
    lamp = KeypointSet("lamp", ("foot", "Left_arm"), (), ((0, 1),), (0.05, 0.05), (0, 1))
    drawn = drawing.draw_poses(GREY, np.array([[[60.5, 60.5, 1], [160.5, 60.5, 1]]]), lamp)
    np.testing.assert_allclose(drawn[60, 60], drawing.CENTRE, atol=2)
    np.testing.assert_allclose(drawn[60, 110], drawing.LEFT, atol=2)


def test_colours_of_the_set():
    data = {"name": "t", "keypoints": ["a", "left_b", "c"], "skeleton": [["a", "left_b"], ["a", "c"]]}
    lamp = KeypointSet.from_dict({**data, "colors": {"a": [250, 0, 0], "c": "#0000fa"}})
    people = np.array([[[60.5, 60.5, 1], [160.5, 60.5, 1], [60.5, 160.5, 1]]])
    drawn = drawing.draw_poses(GREY, people, lamp)
    np.testing.assert_allclose(drawn[60, 60], [250, 0, 0], atol=2)
    np.testing.assert_allclose(drawn[160, 60], [0, 0, 250], atol=2)
    np.testing.assert_allclose(drawn[60, 160], drawing.LEFT, atol=2)  # has none of its own
    np.testing.assert_allclose(drawn[110, 60], [125, 0, 125], atol=2)  # the mean of the limb's ends
    np.testing.assert_allclose(drawn[60, 110], (np.array([250, 0, 0]) + drawing.LEFT) / 2, atol=2)


@pytest.mark.parametrize(
    ("image", "people"),
    [(GREY[:, :, 0], (1, 17, 3)), (GREY.astype(np.float32), (1, 17, 3)), (GREY, (17, 3)), (GREY, (1, 16, 3))],
)
def test_shapes_that_do_not_fit(image, people):
    with pytest.raises(UsageError, match="give"):
        drawing.draw_poses(image, np.zeros(people), COCO)
