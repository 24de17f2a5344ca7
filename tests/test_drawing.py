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


STANDING = {
    **{"nose": (160, 30), "left_shoulder": (180, 60), "right_shoulder": (140, 60), "left_hip": (172, 120)},
    **{"right_hip": (148, 120), "left_ankle": (172, 210), "right_ankle": (148, 210)},
}


def test_a_box_stands_round_the_joints_that_are_drawn():
    people = person(**STANDING)
    bare, boxed = drawing.draw_poses(GREY, people, COCO), drawing.draw_poses(GREY, people, COCO, boxes=True)
    rows, columns = np.nonzero((bare != boxed).any(axis=2))
    extent = 180  # from nose to ankle
    for found, joint in ((rows.min(), 30), (columns.min(), 140)):
        assert extent / 10 < joint - found < extent / 5
    for found, joint in ((rows.max(), 210), (columns.max(), 180)):
        assert extent / 10 < found - joint < extent / 5
    assert (boxed[150, columns.min() : 130] > 160).all(axis=1).any()  # a light line
    assert abs(boxed[150].astype(int) - 128).max() < abs(bare[60].astype(int) - 128).max()  # quieter than limbs
    middle = (slice(rows.min() + 12, rows.max() - 12), slice(columns.min() + 12, columns.max() - 12))
    np.testing.assert_array_equal(bare[middle], boxed[middle])


def test_a_box_leaves_out_joints_below_the_minimum():
    people = person(**STANDING)
    people[0, INDEX["left_ankle"]] = people[0, INDEX["right_ankle"]] = (160, 235, 0.05)
    boxed = drawing.draw_poses(GREY, people, COCO, boxes=True)
    assert np.nonzero((boxed != GREY).any(axis=2))[0].max() < 145


def test_boxes_stay_in_the_picture_and_labels_above_them():
    outside = person(nose=(10, 10), left_hip=(310, 235))
    boxed = drawing.draw_poses(GREY, outside, COCO, boxes=True)
    for line in (boxed[:4, 150], boxed[-4:, 150], boxed[120, :4], boxed[120, -4:]):
        assert (line > 160).all(axis=1).any()
    people = person(**{name: (x, y / 2 + 100) for name, (x, y) in STANDING.items()})
    plain, boxed, both = (drawing.draw_poses(GREY, people, COCO, labels=text, boxes=b) for text, b in OPTIONS)
    box_top = np.nonzero((boxed != GREY).any(axis=2))[0].min()
    label = np.nonzero((both != boxed).any(axis=2))[0]
    assert label.max() <= box_top + 1
    assert np.nonzero((plain != GREY).any(axis=2))[0].min() > label.min()
    for image in (np.zeros((3, 2, 3), np.uint8), np.zeros((1, 1, 3), np.uint8)):
        assert drawing.draw_poses(image, person(nose=(1, 1)), COCO, boxes=True).shape == image.shape


OPTIONS = (["7"], False), (None, True), (["7"], True)


def test_an_empty_label_writes_nothing():
    people = np.concatenate([person(nose=(100, 100)), person(nose=(200, 100))])
    bare, one = drawing.draw_poses(GREY, people, COCO), drawing.draw_poses(GREY, people, COCO, labels=["", "12"])
    columns = np.nonzero((bare != one).any(axis=2))[1]
    assert 180 < columns.min() < columns.max() < 220


@pytest.mark.parametrize(
    ("height", "width", "least", "most"), [(120, 160, 4, 8), (480, 640, 8, 14), (4000, 6000, 40, 90)]
)
def test_lines_fit_the_picture(height, width, least, most):
    grey = np.full((height, width, 3), 128, np.uint8)
    drawn = drawing.draw_poses(
        grey, person(left_hip=(width / 4, height / 2), left_knee=(width / 4 * 3, height / 2)), COCO
    )
    across = (drawn[:, width // 2] != 128).any(axis=1).sum()
    assert least <= across <= most


def test_small_people_have_thin_lines():
    drawn = [
        drawing.draw_poses(GREY, person(left_hip=(100, 50), left_knee=(100 + length, 50)), COCO)[:, 100 + length // 2]
        for length in (30, 200)
    ]
    small, large = ((column[:, 2] > 150).sum() for column in drawn)  # the bluish of the left side
    assert 1 <= small <= 2 < 5 <= large


# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency", IEEE TVCG
# 15(6), 2009: the matrices of severity 1, for linear RGB.
VISION = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def seen(color, vision):
    """CIE L*a*b* (D65) of an sRGB colour under a kind of vision."""
    value = np.array(color) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(np.array(VISION[vision]) @ linear, 0, 1) / TO_XYZ.sum(axis=1)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_lab_is_that_of_the_standard():
    np.testing.assert_allclose(seen((255, 0, 0), "usual"), [53.24, 80.09, 67.20], atol=0.02)
    np.testing.assert_allclose(seen((255, 255, 255), "tritanopia"), [100, 0, 0], atol=0.01)


@pytest.mark.parametrize("vision", VISION)
def test_sides_stay_apart_for_the_colour_blind(vision):
    left, right, centre = (seen(color, vision) for color in (drawing.LEFT, drawing.RIGHT, drawing.CENTRE))
    for one, other in ((left, right), (left, centre), (right, centre)):
        assert np.linalg.norm(one - other) > 40
    for color in (left, right, centre):
        assert color[0] - seen(drawing.EDGE, vision)[0] > 45  # lightness


@pytest.mark.parametrize("ground", [0, 128, 255])
@pytest.mark.parametrize("side", ["left", "right"])
def test_limbs_show_on_dark_and_light_ground(ground, side):
    people = person(**{f"{side}_hip": (60.5, 100.5), f"{side}_knee": (260.5, 100.5)})
    drawn = drawing.draw_poses(np.full((240, 320, 3), ground, np.uint8), people, COCO)
    lightness = [seen(color, "usual")[0] for color in drawn[90:111, 160]]
    assert max(lightness) - min(lightness) > 45
    assert max(abs(value - lightness[0]) for value in lightness) > 25  # against the ground
