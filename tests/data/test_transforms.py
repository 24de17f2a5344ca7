"""Geometry: a keypoint and the pixel under it land together."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ehrnet_tf import keypoints
from ehrnet_tf.config import AugmentConfig
from ehrnet_tf.data import transforms

IDENTITY = np.array([[1.0, 0, 0], [0, 1, 0]])
COCO = keypoints.load("coco")


def rng(seed):
    return np.random.default_rng(seed)


def dot(height, width, x, y, sigma=2.5):
    """(height, width) uint8 with a bright blob whose centre is the continuous point (x, y)."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    blob = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return blob.round().astype(np.uint8)


def centroid(picture):
    """The continuous point (x, y) at which the brightness of an (H, W) picture balances."""
    light = picture.astype(np.float64)
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]] + 0.5
    return np.array([(columns * light).sum(), (rows * light).sum()]) / light.sum()


def one_keypoint(x, y):
    return np.array([[[x, y, 2.0]]], np.float32)


def check_lands_together(matrix, height, width, size, x, y):
    moved = transforms.warp_keypoints(one_keypoint(x, y), matrix, size)[0, 0]
    scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    margin = 9 * scale + 1  # the whole blob stays on the output
    assume(moved[2] > 0 and (moved[:2] > margin).all() and (moved[:2] < size - margin).all())
    warped = transforms.warp_picture(dot(height, width, x, y), matrix, size)
    np.testing.assert_allclose(centroid(warped), moved[:2], atol=0.2)


coordinates = st.floats(0.2, 0.8)
sides = st.integers(50, 110)


@settings(max_examples=40, deadline=None)
@given(sides, sides, coordinates, coordinates, st.integers(0, 2**31), st.sampled_from([96, 128, 160]))
def test_random_matrix_moves_dot_and_keypoint_together(height, width, u, v, seed, size):
    matrix, _ = transforms.random_matrix(height, width, size, AugmentConfig(rotation=180), rng(seed))
    check_lands_together(matrix, height, width, size, u * width, v * height)


@settings(max_examples=20, deadline=None)
@given(sides, sides, coordinates, coordinates, st.booleans(), st.sampled_from([1.0, 0.5, 0.25]))
def test_letterbox_mirror_and_scale_chain(height, width, u, v, mirrored, factor):
    matrix = transforms.letterbox_matrix(height, width, 128)
    if mirrored:
        matrix = transforms.mirror_matrix(matrix, 128)
    matrix = matrix * factor
    check_lands_together(matrix, height, width, int(128 * factor), u * width, v * height)


@settings(max_examples=20, deadline=None)
@given(coordinates, coordinates, st.integers(0, 2**31))
def test_mirroring_swaps_left_and_right(u, v, seed):
    """The dot is drawn at the person's left wrist alone; in the mirrored picture it is the right wrist."""
    x, y = 100 * u, 80 * v
    left, right = COCO.names.index("left_wrist"), COCO.names.index("right_wrist")
    points = np.zeros((1, 17, 3), np.float32)
    points[0, left] = x, y, 2
    augment = AugmentConfig(rotation=20, translate=0, flip=1)
    matrix, mirrored = transforms.random_matrix(80, 100, 96, augment, rng(seed))
    assert mirrored
    moved = transforms.warp_keypoints(transforms.mirror_keypoints(points, COCO.flip_order), matrix, 96)
    moved = moved[0]
    assert (moved[left] == 0).all()
    assume(moved[right, 2] > 0 and (moved[right, :2] > 25).all() and (moved[right, :2] < 71).all())
    warped = transforms.warp_picture(dot(80, 100, x, y), matrix, 96)
    np.testing.assert_allclose(centroid(warped), moved[right, :2], atol=0.2)


def test_identity_and_mirror_are_exact():
    picture = rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    np.testing.assert_array_equal(transforms.warp_picture(picture, IDENTITY, 32), picture)
    mirror = transforms.mirror_matrix(IDENTITY, 32)
    np.testing.assert_array_equal(transforms.warp_picture(picture, mirror, 32), picture[:, ::-1])
    np.testing.assert_allclose(transforms.warp_keypoints(one_keypoint(3, 4), mirror, 32), [[[29, 4, 2]]])


def test_window_matrix_turns_clockwise_about_the_windows_centre():
    matrix = transforms.window_matrix(50, 40, 20, 90, 60)
    np.testing.assert_allclose(matrix @ [[50.0], [40.0], [1.0]], [[30], [30]], atol=1e-4)
    np.testing.assert_allclose(matrix @ [[55.0], [40.0], [1.0]], [[30], [45]], atol=1e-4)  # right of it → below it


@pytest.mark.parametrize(("height", "width"), [(40, 80), (80, 40), (30, 30)])
def test_letterbox_fits_the_whole_picture_into_the_middle(height, width):
    matrix = transforms.letterbox_matrix(height, width, 64)
    scale = 64 / max(height, width)
    first, last = matrix @ [0, 0, 1], matrix @ [width, height, 1]
    np.testing.assert_allclose(first + last, [64, 64], atol=1e-4)
    np.testing.assert_allclose(last - first, [width * scale, height * scale], atol=1e-4)


def test_random_matrix_keeps_to_its_ranges():
    """Scale, angle, move and mirroring read back from many matrices fill their ranges and do not leave them."""
    augment = AugmentConfig(rotation=30, scale=(0.75, 1.5), translate=0.2, flip=0.3)
    scales, angles, moves, flips = [], [], [], []
    for n in range(400):
        matrix, mirrored = transforms.random_matrix(60, 90, 128, augment, rng(n))
        matrix = transforms.mirror_matrix(matrix, 128) if mirrored else matrix
        side = 128 / math.hypot(matrix[0, 0], matrix[1, 0])
        centre = np.linalg.solve(matrix[:, :2], 64 - matrix[:, 2])
        scales.append(side / 60)
        angles.append(math.degrees(math.atan2(matrix[1, 0], matrix[0, 0])))
        moves.extend((centre - [45, 30]) / side)
        flips.append(bool(mirrored))
    for values, low, high in ((scales, 0.75, 1.5), (angles, -30, 30), (moves, -0.2, 0.2)):
        slack = 0.03 * (high - low)
        assert low - 1e-4 <= min(values) < low + slack and high - slack < max(values) <= high + 1e-4
        assert abs(np.mean(values) - (low + high) / 2) < 2 * slack
    assert 0.2 < np.mean(flips) < 0.4


@pytest.mark.parametrize("flip", [0, 1])
def test_flip_probabilities_0_and_1(flip):
    augment = AugmentConfig(flip=flip)
    assert all(transforms.random_matrix(9, 9, 32, augment, rng(n))[1] == bool(flip) for n in range(30))


def test_the_seed_decides():
    one, two, other = (transforms.random_matrix(60, 90, 128, AugmentConfig(), rng(s))[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 0.01


def test_keypoints_that_leave_or_are_unlabelled_become_zeros():
    points = np.array([[[0.0, 0, 1], [9.99, 9.99, 2], [10, 5, 2], [5, -0.01, 2], [5, 5, 0]]], np.float32)
    moved = transforms.warp_keypoints(points, IDENTITY, 10)
    np.testing.assert_allclose(moved, [[[0, 0, 1], [9.99, 9.99, 2], [0, 0, 0], [0, 0, 0], [0, 0, 0]]])
    assert transforms.warp_keypoints(np.zeros((0, 5, 3), np.float32), IDENTITY, 10).shape == (0, 5, 3)


def test_mask_is_0_on_regions_and_padding():
    mask = np.full((40, 80), 255, np.uint8)
    mask[20:, 40:] = 0
    matrix = transforms.letterbox_matrix(40, 80, 64) / 4
    expected = np.zeros((16, 16))
    expected[4:12] = 1
    expected[8:12, 8:] = 0
    warped = transforms.warp_mask(mask, matrix, 16)
    np.testing.assert_array_equal(warped > 0, expected)
