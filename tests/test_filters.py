"""What is left out of poses, one filter at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehrnet_tf import keypoints
from ehrnet_tf.errors import UsageError
from ehrnet_tf.filters import Filters, pairwise_oks, without_duplicates, without_long_limbs
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.poses import Poses

COCO = keypoints.load("coco")
CHAIN = KeypointSet.from_dict(
    {"name": "chain", "keypoints": list("abcde"), "skeleton": [["a", "b"], ["b", "c"], ["c", "d"], ["d", "e"]]}
)


def chain(*places, scores=None):
    """A person whose joints lie in a row, at these x."""
    scores = [0.9] * len(places) if scores is None else scores
    return [[x, 0, score] for x, score in zip(places, scores, strict=True)]


def poses_of(people, scores=None, keypoint_set=CHAIN):
    people = np.array(people, np.float32).reshape(-1, len(keypoint_set), 3)
    return Poses(people, np.arange(len(people), 0, -1) / 10 if scores is None else scores, keypoint_set, (100, 200))


def crowd(seed, count):
    """People of all sizes with joints missing here and there."""
    generator = np.random.default_rng(seed)
    size = generator.uniform(1, 200, (count, 1, 1))
    places = generator.uniform(0, 60, (count, 1, 2)) + size * generator.uniform(0, 1, (1, 17, 2))
    places += generator.normal(0, 2, places.shape)
    found = generator.uniform(size=(count, 17, 1)) < 0.8
    people = np.concatenate((places, generator.uniform(0.1, 1, (count, 17, 1))), axis=2) * found
    return poses_of(people, generator.uniform(size=count), COCO)


def test_everything_is_off_by_default():
    poses = crowd(0, 6)
    same = Filters()(poses)
    np.testing.assert_array_equal(same.keypoints, poses.keypoints)
    np.testing.assert_array_equal(same.scores, poses.scores)
    assert Filters().describe() == ""


def test_words():
    assert Filters(min_joints=3).describe() == "at least 3 joints"
    words = "limbs up to 4.5 times the median, at least 2 joints, duplicates above OKS 0.7 left out"
    assert Filters(4.5, 2, 0.7).describe() == words
    assert Filters(duplicate_oks=0).describe() == "duplicates above OKS 0 left out"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limb_length": 1}, "limb_length 1: must be greater than 1"),
        ({"limb_length": -3.0}, "limb_length"),
        ({"limb_length": float("nan")}, "limb_length"),
        ({"min_joints": -1}, "min_joints -1: must not be negative"),
        ({"duplicate_oks": 1.1}, "duplicate_oks 1.1"),
        ({"duplicate_oks": -0.1}, "duplicate_oks"),
        ({"duplicate_oks": float("nan")}, "duplicate_oks"),
    ],
)
def test_values_out_of_range(options, message):
    with pytest.raises(UsageError, match=message):
        Filters(**options)


def test_a_limb_far_too_long_loses_the_weaker_end():
    person = chain(0, 10, 20, 30, 90, scores=[0.9, 0.9, 0.9, 0.8, 0.7])
    left = without_long_limbs(poses_of([person]), 4)  # limbs 10, 10, 10, 60
    np.testing.assert_array_equal(left.keypoints[0, :4], poses_of([person]).keypoints[0, :4])
    assert left.keypoints[0, 4].tolist() == [0, 0, 0]
    person = chain(0, 10, 20, 30, 90, scores=[0.9, 0.9, 0.9, 0.3, 0.7])
    assert without_long_limbs(poses_of([person]), 4).keypoints[0, :, 2].tolist() == pytest.approx(
        [0.9, 0.9, 0.9, 0, 0.7]
    )
    assert without_long_limbs(poses_of([person]), 6).keypoints[0, :, 2].all(), "six times is not longer than six times"


def test_the_median_is_each_persons_own():
    near, far = chain(0, 50, 100, 150, 400), chain(0, 5, 10, 15, 40)
    left = without_long_limbs(poses_of([near, far, chain(0, 50, 100, 150, 200)]), 4.9)
    assert (left.keypoints[..., 2] > 0).sum(axis=1).tolist() == [4, 4, 5]
    assert left.scores.tolist() == poses_of([near, far, near]).scores.tolist()


def test_two_limbs_tell_nothing():
    person = chain(0, 1, 90, 0, 0, scores=[0.9, 0.9, 0.9, 0, 0])
    assert (without_long_limbs(poses_of([person]), 1.5).keypoints[0, :, 2] > 0).sum() == 3
    person = chain(0, 1, 2, 90, 0, scores=[0.9, 0.9, 0.9, 0.5, 0])  # three: 1, 1, 88
    assert (without_long_limbs(poses_of([person]), 1.5).keypoints[0, :, 2] > 0).tolist() == [1, 1, 1, 0, 0]


def test_a_set_without_limbs_keeps_all_joints():
    loose = KeypointSet.from_dict({"name": "loose", "keypoints": list("abcde")})
    person = chain(0, 1, 2, 3, 999)
    assert Filters(limb_length=2)(poses_of([person], keypoint_set=loose)).keypoints[..., 2].all()


def test_people_of_few_joints():
    people = [chain(0, 1, 2, 3, 4, scores=scores) for scores in ([0.1] * 5, [0.1, 0.1, 0, 0, 0], [0.9, 0, 0, 0, 0])]
    poses = poses_of(people)
    assert Filters(min_joints=2)(poses).scores.tolist() == poses.scores[:2].tolist()
    assert Filters(min_joints=3)(poses).scores.tolist() == poses.scores[:1].tolist()
    assert len(Filters(min_joints=6)(poses)) == 0
    assert len(Filters(min_joints=1)(poses)) == 3


def test_of_two_alike_the_better_one_stays():
    first = np.array(crowd(1, 1).keypoints[0])
    first[:, 2] = 0.9
    second, other = first.copy(), first.copy()
    second[:, 0] += 0.5
    other[:, 0] += 300
    poses = poses_of([first, other, second], [0.3, 0.5, 0.8], COCO)
    left = Filters(duplicate_oks=0.7)(poses)
    assert left.scores.tolist() == poses.scores[[1, 2]].tolist(), "in the order in which they came"
    np.testing.assert_array_equal(left.keypoints[1], second)
    assert len(Filters(duplicate_oks=1)(poses)) == 3


def test_whoever_is_left_out_takes_nobody_along():
    """a is like b, b is like c, a is not like c: b goes, c stays."""
    square = np.array([[0, 0], [100, 0], [0, 100], [100, 100], [50, 50]], float)
    people = [np.column_stack((square + (step * 7, 0), np.full(5, 0.9))) for step in range(3)]
    poses = poses_of(people, [0.9, 0.8, 0.7])
    similarity = pairwise_oks(poses)
    assert similarity[0, 1] > 0.75 > similarity[0, 2]
    assert similarity[1, 2] > 0.75
    assert without_duplicates(poses, 0.75).scores.tolist() == poses.scores[[0, 2]].tolist()


def test_the_first_of_equals_stays():
    person = crowd(1, 1).keypoints[0]
    poses = poses_of([person, person], [0.5, 0.5], COCO)
    assert len(without_duplicates(poses, 0.9)) == 1


def test_limbs_are_cut_before_joints_are_counted_and_people_compared():
    far = chain(0, 10, 20, 30, 90, scores=[0.9, 0.9, 0.9, 0.9, 0.2])
    poses = poses_of([far])
    assert len(Filters(min_joints=5)(poses)) == 1
    assert len(Filters(limb_length=4, min_joints=5)(poses)) == 0


def test_nobody_and_one():
    filters = Filters(4, 1, 0.5)
    nobody = filters(poses_of([]))
    assert nobody.keypoints.shape == (0, 5, 3)
    assert pairwise_oks(poses_of([])).shape == (0, 0)
    assert len(filters(poses_of([chain(0, 10, 20, 30, 40)]))) == 1
    assert pairwise_oks(poses_of([chain(0, 10, 20, 30, 40)])).tolist() == [[1]]


def test_people_without_a_common_joint_are_not_alike():
    first = chain(5, 5, 0, 0, 0, scores=[0.9, 0.9, 0, 0, 0])
    second = chain(0, 0, 5, 5, 5, scores=[0, 0, 0.9, 0.9, 0.9])
    absent = chain(0, 0, 0, 0, 0, scores=[0] * 5)
    poses = poses_of([first, second, absent])
    np.testing.assert_array_equal(pairwise_oks(poses), np.diag([1, 1, 0]))
    assert len(Filters(duplicate_oks=0)(poses)) == 3


def test_the_places_of_absent_joints_do_not_count():
    person = np.array(chain(0, 10, 20, 30, 40))
    person[:, 1] = [0, 5, 3, 8, 2]
    moved = person.copy()
    person[4] = 500, 500, 0  # as the exact decoder reports them
    moved[4] = -500, 3, 0
    np.testing.assert_allclose(pairwise_oks(poses_of([person, moved])), 1)


def similarity_by_loops(poses):
    """COCO's OKS of each two people, over the joints of both, with the smaller area."""
    result = np.zeros((len(poses), len(poses)))
    for i, one in enumerate(poses.keypoints.astype(float)):
        for j, other in enumerate(poses.keypoints.astype(float)):
            areas = []
            for person in (one, other):
                seen = person[person[:, 2] > 0, :2]
                low, high = (seen.min(axis=0), seen.max(axis=0)) if len(seen) else (np.zeros(2), np.zeros(2))
                areas.append((high[0] - low[0]) * (high[1] - low[1]))
            terms = [
                np.exp(-((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) / (2 * (min(areas) + 2.3e-16) * (2 * sigma) ** 2))
                for a, b, sigma in zip(one, other, poses.keypoint_set.sigmas, strict=True)
                if a[2] > 0 and b[2] > 0
            ]
            result[i, j] = np.mean(terms) if terms else 0
    return result


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(0, 6))
def test_similarity_is_cocos(seed, count):
    poses = crowd(seed, count)
    np.testing.assert_allclose(pairwise_oks(poses), similarity_by_loops(poses), atol=1e-5)


def test_similarity_is_that_of_pycocotools():
    from ehrnet_tf.evaluation.coco_ap import coco_scoring

    poses = crowd(3, 4)
    poses.keypoints[:, :, 2] = 0.9  # all found: then the areas are those of pycocotools' boxes
    truth = {"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    for n, result in enumerate(poses.to_coco(1)):
        values = np.array(result["keypoints"]).reshape(17, 3)
        values[:, 2] = 2
        truth["annotations"].append({"id": n, "image_id": 1, "category_id": 1, "keypoints": values.ravel().tolist()})
    scoring = coco_scoring(truth, poses.to_coco(1), COCO)
    scoring.evaluate()
    areas = [np.prod(np.ptp(person[:, :2], axis=0)) for person in poses.keypoints]
    found = scoring.ious[1, 1]  # rows: by score; columns: people, with their own areas
    ours = pairwise_oks(poses)
    order = np.argsort(-poses.scores, kind="stable")
    for row, i in enumerate(order):
        for j in range(4):
            if areas[j] <= areas[i]:
                assert ours[i, j] == pytest.approx(found[row, j], abs=1e-3)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 1000),
    st.integers(0, 8),
    st.one_of(st.none(), st.floats(1.01, 10)),
    st.integers(0, 17),
    st.one_of(st.none(), st.floats(0, 1)),
)
def test_filters_only_take_away(seed, count, limb_length, min_joints, duplicate_oks):
    poses = crowd(seed, count)
    before = poses.keypoints.copy()
    filters = Filters(limb_length, min_joints, duplicate_oks)
    left = filters(poses)
    np.testing.assert_array_equal(poses.keypoints, before)
    assert set(left.scores.tolist()) <= set(poses.scores.tolist())
    assert left.scores.tolist() == [s for s in poses.scores.tolist() if s in left.scores.tolist()]
    for person, score in zip(left.keypoints, left.scores, strict=True):
        (original,) = before[poses.scores == score]
        kept = person[:, 2] > 0
        assert kept.sum() >= min_joints
        np.testing.assert_array_equal(person[kept], original[kept])
    if duplicate_oks is not None:
        similarity = pairwise_oks(left)
        np.fill_diagonal(similarity, 0)
        assert (similarity <= duplicate_oks).all()
