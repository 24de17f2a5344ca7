"""Losses against the reference's numbers, and the properties that training relies on."""

from pathlib import Path

import keras
import numpy as np
import pytest

from ehrnet_tf.config import LossConfig
from ehrnet_tf.training.losses import HeatmapLoss, TagLoss, pose_losses, pull_loss, push_loss

GOLDEN = Path(__file__).parents[1] / "golden" / "training.npz"
CASES = range(5)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


def our_joints(reference: np.ndarray, res: int, keypoints: int = 17) -> np.ndarray:
    """The reference's index joint·res² + y·res + x as ours, (y·res + x)·K + joint."""
    joint, cell = np.divmod(reference[..., 0].astype(np.int64), res * res)
    flag = reference[..., 1]
    return np.stack([(cell * keypoints + joint) * flag, flag], -1)


@pytest.mark.parametrize("case", CASES)
def test_tag_terms_equal_the_reference(golden, case):
    joints = our_joints(golden[f"case{case}_joints"], int(golden[f"case{case}_res"]))[None]
    tags = golden[f"case{case}_tags"].transpose(1, 2, 0)[None]
    np.testing.assert_allclose(pull_loss(joints, tags), golden[f"case{case}_pull"].reshape(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(push_loss(joints, tags), golden[f"case{case}_push"].reshape(1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_heatmap_loss_equals_the_reference(golden, case):
    wanted, found = (golden[f"case{case}_{n}"].transpose(1, 2, 0)[None] for n in ("heatmaps", "pred"))
    loss = HeatmapLoss()(wanted, found, sample_weight=golden[f"case{case}_mask"][None])
    np.testing.assert_allclose(float(loss), float(golden[f"case{case}_heatmap_loss"][0]), rtol=1e-5)


def scene(*people):
    """Joints of people given as {keypoint: (y, x)}, on a 4 by 5 map with 3 keypoints, padded to 4 people."""
    joints = np.zeros((1, 4, 3, 2), np.int32)
    for p, person in enumerate(people):
        for k, (y, x) in person.items():
            joints[0, p, k] = (y * 5 + x) * 3 + k, 1
    return joints


def test_no_people_and_one_person():
    tags = np.random.default_rng(0).normal(size=(1, 4, 5, 3)).astype(np.float32)
    assert float(pull_loss(scene(), tags)[0]) == 0
    assert float(push_loss(scene(), tags)[0]) == 0
    assert float(push_loss(scene({0: (1, 1), 2: (3, 4)}), tags)[0]) == 0


def test_pull_by_hand():
    tags = np.zeros((1, 4, 5, 3), np.float32)
    tags[0, 1, 1, 0], tags[0, 3, 4, 2] = 1.0, 3.0
    assert float(pull_loss(scene({0: (1, 1), 2: (3, 4)}), tags)[0]) == pytest.approx(1.0)


@pytest.mark.parametrize("form", ["exp", "hinge"])
def test_push_falls_with_distance(form):
    joints = scene({0: (0, 0)}, {0: (2, 2)})
    values = []
    for distance in (0.0, 0.5, 1.0, 3.0):
        tags = np.zeros((1, 4, 5, 3), np.float32)
        tags[0, 2, 2, 0] = distance
        values.append(float(push_loss(joints, tags, form)[0]))
    assert values[0] == pytest.approx(0.5)
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(0, abs=1e-4)


def test_hinge_still_pushes_where_exp_has_stopped():
    """Nearly equal tags: the exp form's gradient vanishes, the hinge's does not (reference/stack.md: tag collapse)."""
    import tensorflow as tf

    joints = scene({0: (0, 0)}, {0: (2, 2)})
    start = np.zeros((1, 4, 5, 3), np.float32)
    start[0, 2, 2, 0] = 1e-3
    steepness = {}
    for form in ("exp", "hinge"):
        tags = tf.Variable(start)
        with tf.GradientTape() as tape:
            value = push_loss(joints, tags, form)
        steepness[form] = float(tf.reduce_max(tf.abs(tape.gradient(value, tags))))
    assert steepness["exp"] < 2e-3
    assert steepness["hinge"] == pytest.approx(0.25)


def test_masked_cells_do_not_count_and_focus_weighs_targets():
    wanted = np.zeros((1, 2, 2, 1), np.float32)
    wanted[0, 0, 0, 0] = 1.0
    found = np.full((1, 2, 2, 1), 0.5, np.float32)
    mask = np.array([[[1, 0], [0, 0]]], np.float32)
    assert float(HeatmapLoss()(wanted, found, sample_weight=mask)) == pytest.approx(0.25 / 4)
    assert float(HeatmapLoss(2.0, focus=3.0)(wanted, found, sample_weight=mask)) == pytest.approx(2 * 4 * 0.25 / 4)


def test_losses_compile_and_survive_saving(tmp_path):
    losses = pose_losses(LossConfig(pull=0.5, push=0.25, tag_form="hinge"), tags_on_both_stages=True)
    assert set(losses) == {"heatmaps_4", "tags", "heatmaps_2", "tags_2"}
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(losses["tags"]))
    assert isinstance(again, TagLoss)
    assert (again.pull, again.push, again.form) == (0.5, 0.25, "hinge")
