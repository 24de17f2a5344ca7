"""How steady, how late, and what starts anew."""

import math

import numpy as np
import pytest

from ehrnet_tf import Smoother, keypoints
from ehrnet_tf.errors import UsageError
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.poses import NO_ID, Poses

PAIR = KeypointSet.from_dict({"name": "pair", "keypoints": ["head", "foot"]})


def pose(x, height=100.0, noise=0.0, rng=None):
    places = np.array([[x, 50.0], [x, 50 + height]])
    if noise:
        places += rng.normal(0, noise, (2, 2))
    return np.column_stack((places, [1, 0.5]))


def poses_of(*people, ids=None, points=PAIR):
    people = np.array(people, np.float32).reshape(-1, len(points), 3)
    return Poses(people, np.full(len(people), 0.7), points, (480, 640), range(len(people)) if ids is None else ids)


def errors(speed, noise, height):
    """(240,): how far the head's x is from the truth, after the first 60 pictures of 300, 30 a second."""
    smoother, rng = Smoother(), np.random.default_rng(1)
    places = [100 + speed * i / 30 for i in range(300)]
    found = [smoother(poses_of(pose(x, height, noise, rng)), i / 30).keypoints[0, 0, 0] for i, x in enumerate(places)]
    return np.array(found[60:]) - places[60:]


def one_euro(values, times, min_cutoff, beta, derivative_cutoff, unit):
    """The published algorithm, a number at a time."""

    def share(cutoff, step):
        tau = 1 / (2 * math.pi * cutoff)
        return 1 / (1 + tau / step)

    filtered, speed = [values[0]], 0.0
    for value, before, now in zip(values[1:], times, times[1:], strict=False):
        step = now - before
        a = share(derivative_cutoff, step)
        speed = a * (value - filtered[-1]) / step + (1 - a) * speed
        a = share(min_cutoff + beta * abs(speed) / unit, step)
        filtered.append(a * value + (1 - a) * filtered[-1])
    return filtered


def test_it_is_the_published_filter():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.01, 0.2, 50)).tolist()
    places = np.round(100 + 20 * np.arange(50) + rng.normal(0, 5, 50), 3).tolist()
    smoother = Smoother(1.5, 4.0, 2.0)
    smoothed = [smoother(poses_of(pose(x)), t).keypoints[0] for x, t in zip(places, times, strict=True)]
    expected = one_euro(places, times, 1.5, 4.0, 2.0, unit=100)
    np.testing.assert_allclose([p[0, 0] for p in smoothed], expected, rtol=1e-6)
    np.testing.assert_allclose([p[:, 1] for p in smoothed], [[50, 150]] * 50, rtol=1e-6)


def test_a_still_person_jitters_a_fifth_as_much():
    left = errors(speed=0, noise=1, height=200)
    assert np.sqrt(np.mean(left**2)) < 0.4
    assert np.sqrt(np.mean(np.diff(left) ** 2)) < 1.41 / 5  # 1.41: of the places as found


def test_a_walking_person_is_less_than_20_ms_behind_a_running_one_less_than_10():
    assert 0.002 < -errors(speed=200, noise=1, height=200).mean() / 200 < 0.020
    assert 0.002 < -errors(speed=600, noise=1, height=200).mean() / 600 < 0.010


def test_a_picture_of_twice_the_size_gives_the_same_places_doubled():
    small = errors(speed=50, noise=0.5, height=100)
    np.testing.assert_allclose(errors(speed=100, noise=1, height=200), 2 * small, atol=2e-3)


def test_scores_and_ids_stay_and_poses_without_id_and_the_input_are_unchanged():
    smoother = Smoother()
    smoother(poses_of(pose(10)), 0.0)
    moved = poses_of(pose(20), pose(99), ids=[0, NO_ID])
    smooth = smoother(moved, 0.03)
    assert 10.1 < smooth.keypoints[0, 0, 0] < 19.9
    assert moved.keypoints[0, 0, 0] == 20
    np.testing.assert_array_equal(smooth.keypoints[1], moved.keypoints[1])
    np.testing.assert_array_equal(smooth.keypoints[:, :, 2], moved.keypoints[:, :, 2])
    np.testing.assert_array_equal(smooth.scores, moved.scores)
    assert smooth.ids.tolist() == [0, NO_ID]
    assert smooth.keypoints.dtype == np.float32


def test_each_person_is_smoothed_alone_in_whatever_order():
    together, alone = Smoother(), [Smoother(), Smoother()]
    rng = np.random.default_rng(2)
    for i in range(20):
        people = [pose(10 + i, 100, 1, rng), pose(300, 60, 1, rng)]
        order = rng.permutation(2)
        both = together(poses_of(*(people[j] for j in order), ids=order + 5), i / 30)
        for row, j in enumerate(order.tolist()):
            expected = alone[j](poses_of(people[j]), i / 30).keypoints[0]
            np.testing.assert_array_equal(both.keypoints[row], expected)


def test_a_keypoint_that_was_away_starts_anew_the_others_do_not():
    smoother = Smoother()
    smoother(poses_of(pose(10)), 0.0)
    half = pose(10)
    half[0] = 0
    np.testing.assert_array_equal(smoother(poses_of(half), 0.03).keypoints[0], half.astype(np.float32))
    back = smoother(poses_of(pose(40)), 0.06).keypoints[0]
    assert back[0, 0] == 40
    assert back[1, 0] < 39


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_keypoint_that_is_no_number_counts_as_absent_and_stays(value, axis):
    smoother = Smoother()
    smoother(poses_of(pose(10)), 0.0)
    spoilt = pose(10)
    spoilt[0, axis] = value
    np.testing.assert_array_equal(smoother(poses_of(spoilt), 0.03).keypoints[0], spoilt.astype(np.float32))
    assert smoother(poses_of(pose(40)), 0.06).keypoints[0, 0, 0] == 40


def test_people_are_forgotten_after_a_second_and_start_anew_when_time_does_not_advance():
    smoother = Smoother()
    smoother(poses_of(pose(10)), 5.0)
    smoother(poses_of(), 5.9)
    assert smoother.remembered == 1
    smoother(poses_of(), 6.1)
    assert smoother.remembered == 0
    smoother(poses_of(pose(10)), 6.2)
    for seconds in (6.2, 1.0):
        assert smoother(poses_of(pose(70)), seconds).keypoints[0, 0, 0] == 70
    assert 70.1 < smoother(poses_of(pose(80)), 1.01).keypoints[0, 0, 0] < 79.9


def test_someone_who_comes_back_in_time_goes_on_and_later_does_not():
    for away, low, high in ((0.9, 10.1, 39.9), (1.1, 40, 40)):
        smoother = Smoother()
        smoother(poses_of(pose(10)), 0.0)
        assert low <= smoother(poses_of(pose(40)), away).keypoints[0, 0, 0] <= high


def test_ever_new_people_do_not_fill_the_memory():
    smoother = Smoother()
    for i in range(500):
        smoother(poses_of(pose(10), ids=[i]), i / 30)
        assert smoother.remembered <= 32


def test_what_cannot_be_smoothed_is_refused_and_changes_nothing():
    smoother = Smoother()
    smoother(poses_of(pose(10)), 0.0)
    card = poses_of(np.ones((4, 3)), points=keypoints.load("corners"))
    without = Poses(np.zeros((1, 2, 3)), [1], PAIR, (480, 640))
    for poses, seconds, message in (
        (poses_of(pose(10)), float("nan"), "finite number of seconds"),
        (without, 9.0, "Tracker"),
        (card, 9.0, "another keypoint set, 'corners'"),
        (poses_of(pose(10), pose(20), ids=[3, 3]), 9.0, "two people of one picture have the same"),
    ):
        with pytest.raises(UsageError, match=message):
            smoother(poses, seconds)
    assert smoother(poses_of(pose(40)), 0.03).keypoints[0, 0, 0] < 39


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_cutoff": 0}, "cutoffs must be positive"),
        ({"min_cutoff": float("nan")}, "cutoffs must be positive"),
        ({"derivative_cutoff": -1}, "cutoffs must be positive"),
        ({"beta": -0.1}, "beta must not be negative"),
        ({"memory": -1}, "memory"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        Smoother(**arguments)
