"""Every supplied keypoint set: whole, symmetrical, and fit for a network and a drawing."""

import numpy as np
import pytest

from ehrnet_tf import EfficientHRNet, keypoints
from ehrnet_tf.configs import FOLDER
from ehrnet_tf.drawing import draw_poses

COUNTS = {"coco": 17, "coco-wholebody": 133, "crowdpose": 14, "mpii": 16, "corners": 4}
pytestmark = pytest.mark.parametrize("name", COUNTS)


def test_is_whole(name):
    points = keypoints.load(name)
    assert points.name == name
    assert len(points) == len(points.sigmas) == COUNTS[name]
    assert min(points.sigmas) > 0
    assert sorted(points.grouping) == list(range(len(points)))
    assert keypoints.KeypointSet.from_dict(points.to_dict()) == points
    assert {path.stem for path in (FOLDER / "keypoints").glob("*.yaml")} == set(COUNTS)


def test_flip_is_an_involution_that_exchanges_the_named_sides(name):
    points = keypoints.load(name)
    order = np.array(points.flip_order)
    np.testing.assert_array_equal(order[order], np.arange(len(points)))
    other = {"left": "right", "right": "left"}
    for k, own in enumerate(points.names):
        mirrored = "_".join(other.get(word, word) for word in own.split("_"))
        if not own.startswith("face-"):  # numbers tell no side; see the test of the face
            assert points.names[order[k]] == mirrored


def test_limbs_hang_together(name):
    points = keypoints.load(name)
    assert all(a != b for a, b in points.skeleton)
    assert len({frozenset(limb) for limb in points.skeleton}) == len(points.skeleton)
    reached, todo = set(), [points.skeleton[0][0]]
    while todo:
        here = todo.pop()
        reached.add(here)
        todo += {k for limb in points.skeleton if here in limb for k in limb} - reached
    assert reached == {k for limb in points.skeleton for k in limb}
    mirrored = {frozenset(points.flip_order[k] for k in limb) for limb in points.skeleton}
    assert mirrored == {frozenset(limb) for limb in points.skeleton}


def test_network_and_drawing_have_its_channels(name):
    points = keypoints.load(name)
    model = EfficientHRNet("H-10", input_size=64, keypoints=name)
    assert {shape[-1] for shape in (tensor.shape for tensor in model.outputs)} == {len(points)}
    places = np.random.default_rng(0).uniform(20, 180, (1, len(points), 2))
    people = np.concatenate([places, np.ones((1, len(points), 1))], axis=2)
    grey = np.full((200, 200, 3), 128, np.uint8)
    drawn = draw_poses(grey, people, points)
    for x, y in places[0].astype(int):
        assert (drawn[y - 2 : y + 3, x - 2 : x + 3] != 128).any()
