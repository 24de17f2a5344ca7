"""Who keeps an id, who gets a new one."""

import dataclasses

import numpy as np
import pytest

import walkers
from ehrnet_tf import Tracker, keypoints
from ehrnet_tf.errors import UsageError
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.poses import NO_ID, Poses
from walkers import COCO, NearestCentre, id_switches, idf1


def person(x, y=100.0):
    k = np.arange(17)
    return np.stack((x + 10 * (k % 4), y + 10 * k, np.full(17, 0.9)), axis=1)


def poses_of(*people, points=COCO):
    people = np.array(people, np.float32).reshape(-1, len(points), 3)
    return Poses(people, np.full(len(people), 0.6), points, (480, 640))


def ids(tracker, seconds, *people):
    return tracker(poses_of(*people), seconds).ids.tolist()


def switches(name, fps, make, seeds=8):
    """Switches and the mean IDF1 over sequences."""
    total, shares = 0, []
    for seed in range(seeds):
        film, tracker = walkers.sequence(name, fps, seed), make()
        given = [tracker(poses, seconds).ids for poses, seconds in zip(film.frames, film.times, strict=True)]
        total += id_switches(film.who, given)
        shares.append(idf1(film.who, given))
    return total, np.mean(shares)


# Most switches of eight sequences, and of the baseline the least; benchmarks/tracking.py has the whole table.
@pytest.mark.parametrize(
    ("name", "fps", "most", "baseline"),
    [
        ("crossing", 30, 2, 15),
        ("hidden 1/3 s", 30, 2, 20),
        ("hidden 1/3 s", 5, 2, 15),
        ("hidden 10 pictures", 30, 2, 20),
        ("turning", 10, 1, 8),
        ("turning", 5, 6, 20),
        ("30 people", 5, 20, 120),
        ("entering", 10, 8, 100),
        ("joints missing", 30, 10, 500),
        ("joints missing", 5, 8, 50),
        ("noise", 10, 4, 8),
        ("running", 5, 1, 60),
    ],
)
def test_few_change_their_ids(name, fps, most, baseline):
    ours, share = switches(name, fps, lambda: Tracker(COCO))
    nearest, share_of_nearest = switches(name, fps, NearestCentre)
    assert ours <= most
    assert nearest >= baseline
    assert share > max(0.95, share_of_nearest)


def test_ids_count_from_0_in_the_order_of_appearance_and_are_not_used_again():
    tracker = Tracker("coco")
    assert ids(tracker, 0.0, person(10), person(300)) == [0, 1]
    assert ids(tracker, 0.1, person(301), person(500), person(11)) == [1, 2, 0]
    assert ids(tracker, 0.2, person(302)) == [1]
    assert ids(tracker, 1.0, person(14), person(302)) == [0, 1]
    assert ids(tracker, 9.0, person(14), person(302)) == [3, 4]


@pytest.mark.parametrize(("patience", "expected"), [(0.3, 1), (0.5, 0), (float("inf"), 0)])
def test_people_are_remembered_as_long_as_is_asked_for(patience, expected):
    tracker = Tracker(COCO, patience)
    ids(tracker, 20.0, person(10))
    ids(tracker, 20.2)
    assert ids(tracker, 20.4, person(10)) == [expected]


def test_someone_far_away_or_without_a_keypoint_in_common_is_someone_else():
    tracker = Tracker(COCO)
    upper, lower = person(10), person(10)
    upper[8:] = lower[:8] = 0
    assert ids(tracker, 0.0, upper) == [0]
    assert ids(tracker, 0.1, lower) == [1]
    assert ids(tracker, 0.2, person(400)) == [2]


def test_keypoints_that_were_away_are_looked_for_where_the_rest_went():
    tracker = Tracker(COCO)
    upper, lower = person(80), person(110)
    upper[8:] = lower[:8] = 0
    assert ids(tracker, 0.0, person(50)) == [0]
    assert ids(tracker, 0.1, upper) == [0]
    assert ids(tracker, 0.2, lower) == [0]


def test_someone_whose_speed_is_not_known_may_go_farther():
    for before, expected in ((1, 0), (6, 1)):
        tracker = Tracker(COCO)
        for i in range(before):
            assert ids(tracker, i / 10, person(100)) == [0]
        assert ids(tracker, before / 10, person(160)) == [expected]


def test_the_motion_goes_on_while_someone_is_hidden():
    tracker = Tracker(COCO)
    for i in range(10):
        assert ids(tracker, i / 10, person(100 + 20 * i), person(400)) == [0, 1]
    assert ids(tracker, 1.0, person(400)) == [1]
    assert ids(tracker, 1.5, person(400), person(400, y=101)) == [1, 0]  # where they meet


def test_the_poses_themselves_stay_and_one_without_keypoints_gets_no_id():
    poses = poses_of(person(10), np.zeros((17, 3)), person(300))
    poses = dataclasses.replace(poses, ids=[7, 8, 9])
    tracker = Tracker(COCO)
    tracked = tracker(poses, 0.0)
    assert tracked.ids.tolist() == [0, NO_ID, 1]
    assert poses.ids.tolist() == [7, 8, 9]
    np.testing.assert_array_equal(tracked.keypoints, poses.keypoints)
    np.testing.assert_array_equal(tracked.scores, poses.scores)
    assert tracked.image_size == (480, 640)
    assert tracker.remembered == 2


def test_nobody():
    tracked = Tracker(COCO)(poses_of(), 0.0)
    assert tracked.ids.shape == (0,)
    assert tracked.ids.dtype == np.int64


def test_a_single_keypoint_can_be_followed():
    point = KeypointSet.from_dict({"name": "point", "keypoints": ["centre"]})
    for keypoint_set in (point, [0.05], np.array([0.05])):
        tracker = Tracker(keypoint_set)
        for i in range(20):
            assert tracker(poses_of([[5 + i, 9, 1]], points=point), i / 30).ids.tolist() == [0]


def test_time_may_stand_still_run_back_and_jump():
    tracker = Tracker(COCO)
    for seconds in (100.0, 100.0, 99.0, -5.0, -4.9, -4.9):
        assert ids(tracker, seconds, person(10)) == [0]
    assert ids(tracker, 1e9, person(10)) == [1]


def test_keypoints_that_are_no_numbers_count_as_absent():
    tracker, clean = Tracker(COCO), Tracker(COCO)
    for i in range(10):
        spoilt, zeroed = person(10 + 9 * i), person(10 + 9 * i)
        spoilt[i, i % 3], zeroed[i] = (np.nan, np.inf)[i % 2], 0
        nobody = np.full((17, 3), np.nan)
        assert ids(tracker, i / 10, spoilt, nobody) == [0, NO_ID]
        assert ids(clean, i / 10, zeroed) == [0]
        for name, values in vars(clean._tracks).items():
            np.testing.assert_array_equal(getattr(tracker._tracks, name), values)


@pytest.mark.filterwarnings("error")
def test_huge_places_do_no_harm():
    tracker = Tracker(COCO)
    for i in range(6):
        huge = person(10) * (1e36 * (-1) ** i)
        huge[:, 2] = 1
        found = ids(tracker, i / 10, person(10), huge)
        assert found[0] == 0
        assert found[1] != 0


def test_ever_new_people_do_not_fill_the_memory():
    tracker = Tracker(COCO)
    for i in range(500):
        assert ids(tracker, i / 30, person(500 * (i % 50), 600 * (i // 50))) == [i]
        assert tracker.remembered <= 32


def test_errors_change_nothing():
    tracker = Tracker(COCO)
    ids(tracker, 0.0, person(10))
    card = poses_of(np.ones((4, 3)), points=keypoints.load("corners"))
    with pytest.raises(UsageError, match="'corners', 4 keypoints: the tracker is one for 'coco'"):
        tracker(card, 50.0)
    with pytest.raises(UsageError, match="finite number of seconds"):
        tracker(poses_of(person(10)), float("nan"))
    assert ids(tracker, 0.1, person(10)) == [0]


def test_another_set_of_as_many_keypoints_is_refused():
    other = KeypointSet.from_dict({"name": "other", "keypoints": [f"k{k}" for k in range(17)]})
    with pytest.raises(UsageError, match="'other', 17 keypoints"):
        Tracker(COCO)(poses_of(person(10), points=other), 0.0)
    assert Tracker(COCO.sigmas)(poses_of(person(10), points=other), 0.0).ids.tolist() == [0]
    with pytest.raises(UsageError, match="one for 3 sigmas"):
        Tracker([0.1] * 3)(poses_of(person(10)), 0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no such set",), "neither a YAML file nor"),
        (([0.1, 0.0],), "positive number for each keypoint"),
        (([0.1, np.nan],), "positive number for each keypoint"),
        (([],), "positive number for each keypoint"),
        (([[0.1]],), "positive number for each keypoint"),
        ((None,), "positive number for each keypoint"),
        (("coco", -1.0), "patience"),
        (("coco", float("nan")), "patience"),
        (("coco", 1.0, 1.5), "min_similarity"),
        (("coco", 1.0, float("nan")), "min_similarity"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        Tracker(*arguments)


def test_switches_and_idf1_count_as_published():
    who = [np.array([0, 1])] * 4
    assert id_switches(who, [np.array([5, 6])] * 4) == 0
    given = [np.array(pair) for pair in ([5, 6], [6, 5], [6, 5], [6, 7])]
    assert id_switches(who, given) == 3
    assert idf1(who, given) == 5 / 8
