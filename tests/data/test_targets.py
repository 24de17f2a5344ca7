"""Targets equal the reference's (tests/golden/training.npz)."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from ehrnet_tf.data.targets import gaussian_heatmaps, tag_joints

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "training.npz")
CASES = range(5)


def to_reference_joints(joints, res):
    """(max_people, K, 2) of `tag_joints` → the reference's: index k·res² + y·res + x, packed to the front."""
    k = joints.shape[1]
    packed = np.zeros_like(joints)
    for p, row in enumerate(joints):
        present = row[row[:, 1] > 0, 0]
        cell, joint = present // k, present % k
        packed[p, : len(present), 0] = joint * res**2 + cell
        packed[p, : len(present), 1] = 1
    return packed


@pytest.mark.parametrize("case", CASES)
def test_heatmaps_equal_the_reference(case):
    points, res = GOLDEN[f"case{case}_keypoints"], int(GOLDEN[f"case{case}_res"])
    maps = gaussian_heatmaps(tf.constant(points[None]), res, res)
    assert maps.dtype == tf.float32
    np.testing.assert_allclose(maps[0], GOLDEN[f"case{case}_heatmaps"].transpose(1, 2, 0), rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_joints_equal_the_reference(case):
    points, res = GOLDEN[f"case{case}_keypoints"], int(GOLDEN[f"case{case}_res"])
    joints = tag_joints(tf.constant(points[None]), res, res, 30)
    assert joints.dtype == tf.int32 and joints.shape == (1, 30, 17, 2)
    np.testing.assert_array_equal(to_reference_joints(joints[0].numpy(), res), GOLDEN[f"case{case}_joints"])


@given(x=st.floats(-2, 26, width=32), y=st.floats(-2, 18, width=32), sigma=st.sampled_from([1.0, 1.5, 2.0, 3.0]))
@settings(max_examples=50, deadline=None)
def test_subpixel_gaussians_lie_at_the_keypoint(x, y, sigma):
    height, width = 16, 24
    points = np.array([[[[x, y, 2], [x, y, 0]]]], np.float32)
    maps = gaussian_heatmaps(tf.constant(points), height, width, sigma, subpixel=True).numpy()[0]
    assert not maps[..., 1].any()
    if not (0 <= int(x) < width and 0 <= int(y) < height):
        assert not maps.any()
        return
    rows, columns = np.mgrid[:height, :width]
    distance = np.square(columns + 0.5 - x) + np.square(rows + 0.5 - y)
    near = np.maximum(abs(columns - int(x)), abs(rows - int(y))) <= round(3 * sigma + 1)
    np.testing.assert_allclose(maps[..., 0], np.exp(-distance / (2 * sigma**2)) * near, atol=1e-6)


def test_a_padded_batch_equals_its_pictures_one_by_one():
    people = [GOLDEN[f"case{case}_keypoints"] for case in CASES]
    most = max(map(len, people))
    batch = np.stack([np.pad(p, ((0, most - len(p)), (0, 0), (0, 0))) for p in people])
    maps, joints = gaussian_heatmaps(tf.constant(batch), 40, 56), tag_joints(tf.constant(batch), 40, 56, 30)
    assert maps.shape == (5, 40, 56, 17)
    for n, points in enumerate(people):
        np.testing.assert_array_equal(maps[n], gaussian_heatmaps(tf.constant(points[None]), 40, 56)[0])
        np.testing.assert_array_equal(joints[n], tag_joints(tf.constant(points[None]), 40, 56, 30)[0])


def test_joint_indices_read_the_flat_tag_map():
    points = tf.constant([[[[3.9, 2.1, 2], [0, 0, 0]], [[7.99, 4.0, 1], [5.5, 0.5, 2]]]], tf.float32)
    joints = tag_joints(points, 5, 8, 3).numpy()[0]
    flat = np.arange(5 * 8 * 2)
    tag_map = flat.reshape(5, 8, 2)
    assert flat[joints[0, 0, 0]] == tag_map[2, 3, 0]
    assert flat[joints[1, 0, 0]] == tag_map[4, 7, 0]
    assert flat[joints[1, 1, 0]] == tag_map[0, 5, 1]
    np.testing.assert_array_equal(joints[..., 1], [[1, 0], [1, 1], [0, 0]])
    assert (joints[2] == 0).all() and (joints[0, 1] == 0).all()


@pytest.mark.parametrize("radius", [0, 1, 2])
def test_tag_cells_round_a_keypoint(radius):
    height, width, count = 9, 11, 2
    points = np.array([[[[4.5, 6.2, 2], [0.5, 8.9, 1]], [[10.9, 0.1, 2], [3, 3, 0]]]], np.float32)
    joints = tag_joints(tf.constant(points), height, width, 4, radius).numpy()[0]
    cells = (2 * radius + 1) ** 2
    assert joints.shape == (4, count * cells, 2)
    joints = joints.reshape(4, count, cells, 2)
    assert not joints[2:].any() and not joints[1, 1].any() and not joints[..., 0][joints[..., 1] == 0].any()
    for p, k in ((0, 0), (0, 1), (1, 0)):
        x, y = points[0, p, k, :2].astype(int)
        got = {tuple(int(v) for v in np.unravel_index(i, (height, width, count))) for i, on in joints[p, k] if on}
        assert got == {
            (row, column, k)
            for row in range(max(0, y - radius), min(height, y + radius + 1))
            for column in range(max(0, x - radius), min(width, x + radius + 1))
        }


def test_people_beyond_the_limit_have_maps_but_no_tags():
    points = np.zeros((1, 4, 2, 3), np.float32)
    points[0, :, :, 0] = np.array([5, 25, 45, 65])[:, None] + 0.5
    points[0, :, :, 1:] = 9
    assert tag_joints(tf.constant(points), 20, 80, 2).shape == (1, 2, 2, 2)
    maps = gaussian_heatmaps(tf.constant(points), 20, 80).numpy()
    np.testing.assert_array_equal(maps[0, 9, [5, 25, 45, 65]], 1)


@settings(max_examples=25, deadline=None)
@given(st.floats(-3, 43), st.floats(-3, 33), st.sampled_from([1.0, 1.5, 2.0, 3.0]))
def test_one_gaussian(x, y, sigma):
    """Peak 1 at the keypoint's cell, the formula within the window, 0 beyond it; nothing for a centre off the map."""
    column, row, radius = int(x), int(y), round(3 * sigma + 1)
    maps = gaussian_heatmaps(tf.constant([[[[x, y, 1.0]]]]), 30, 40, sigma)[0, ..., 0].numpy()
    rows, columns = np.mgrid[:30, :40]
    expected = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * sigma**2))
    expected[(abs(rows - row) > radius) | (abs(columns - column) > radius)] = 0
    if not (0 <= column < 40 and 0 <= row < 30):
        expected[:] = 0
    np.testing.assert_allclose(maps, expected, atol=1e-6)
