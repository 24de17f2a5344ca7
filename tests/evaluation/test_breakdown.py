"""Errors of hand-made results, one of each kind."""

import contextlib
import copy
import io

import numpy as np
import pytest

from ehrnet_tf.evaluation.breakdown import KINDS, SIZES, breakdown, match_people
from ehrnet_tf.keypoints import KeypointSet, load

COCO = load("coco")
# With sigma 0.05 and an area of 100 x 100, a joint d pixels away has a similarity of exp(-d² / 200).
DICE = KeypointSet.from_dict({"name": "dice", "keypoints": list("abcde")})
FIVE = np.array([[0, 0], [100, 0], [0, 100], [100, 100], [50, 50]], float)


def annotation(number, image_id, points, flags=2, **more):
    points = np.column_stack([points, np.broadcast_to(flags, len(points))]).astype(float)
    points[points[:, 2] == 0] = 0
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "keypoints": points.ravel().tolist(),
        "num_keypoints": int((points[:, 2] > 0).sum()),
        "bbox": [*FIVE.min(axis=0).tolist(), 100, 100],
        "area": 10000,
        **more,
    }


def result(image_id, points, score, joints=0.9):
    values = np.column_stack([points, np.broadcast_to(joints, len(points))])
    return {"image_id": image_id, "category_id": 1, "keypoints": values.ravel().tolist(), "score": score}


def truth_of(annotations, images=(1, 2), names="abcde"):
    return {
        "images": [{"id": n, "width": 640, "height": 480} for n in images],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(names)}],
    }


@pytest.fixture
def everything():
    """Picture 1: a person with an error of each kind, and one that is right. Picture 2: one person who was missed, one
    of two joints, one without any, and a crowd; and a result in the crowd."""
    first, second, crowd = FIVE + (10, 20), FIVE + (300, 20), FIVE + (200, 300)
    wrong = first.copy()
    wrong[0] += (4, 3)  # exp(-25/200) = 0.88
    wrong[1] += (0, 8)  # exp(-64/200) = 0.73
    wrong[2] = first[3] + (2, 0)
    wrong[3] = second[3] - (0, 3)
    wrong[4] += (30, -30)
    flags = np.array([2, 1, 0, 0, 0])
    annotations = [
        annotation(11, 1, first),
        annotation(12, 1, second),
        annotation(21, 2, FIVE + (10, 20)),
        annotation(22, 2, FIVE + (200, 20), flags),
        annotation(23, 2, FIVE + (400, 20), 0),
        annotation(24, 2, crowd, 0, iscrowd=1, bbox=[200, 300, 100, 100]),
    ]
    results = [
        result(1, wrong, 0.7),
        result(1, second, 0.9),
        result(2, FIVE + (200, 20), 0.6),
        result(2, crowd, 0.8),
    ]
    return truth_of(annotations), results


def test_one_person_of_each_kind_of_error(everything):
    people = match_people(*everything, DICE)
    assert [person.kinds for person in people] == [
        ("good", "jitter", "inversion", "swap", "miss"),
        ("good",) * 5,
        ("miss",) * 5,
        ("good", "good", "", "", ""),
    ]
    assert [person.image_id for person in people] == [1, 1, 2, 2]
    wrong, right, missed, half = people
    near = np.exp([-25 / 200, -64 / 200])
    np.testing.assert_allclose(wrong.similarity[:2], near, atol=1e-9)
    np.testing.assert_allclose(wrong.similarity[2:], 0, atol=1e-3)
    assert wrong.oks == pytest.approx(near.sum() / 5, abs=1e-3)
    assert (right.oks, missed.oks, half.oks) == (pytest.approx(1), 0, pytest.approx(1))
    assert missed.found is None
    np.testing.assert_array_equal(wrong.found[4], [10 + 50 + 30, 20 + 50 - 30, 0.9])
    np.testing.assert_array_equal(half.labelled[:, 2], [2, 1, 0, 0, 0])
    assert (half.area, half.box) == (10000, (0, 0, 100, 100))
    assert [wrong.count(kind) for kind in KINDS] == [1, 1, 1, 1, 1]
    assert not half.similarity[2:].any()


def test_shares_by_keypoint(everything):
    by_keypoint = breakdown(*everything, DICE)["keypoints"]
    assert list(by_keypoint) == list("abcde")
    kinds = {name: [row[kind] for kind in KINDS] for name, row in by_keypoint.items()}
    assert {name: row["labelled"] for name, row in by_keypoint.items()} == {"a": 4, "b": 4, "c": 3, "d": 3, "e": 3}
    assert kinds["a"] == [0.75, 0, 0, 0, 0.25]
    assert kinds["b"] == [0.5, 0.25, 0, 0, 0.25]
    assert kinds["c"] == [0.3333, 0, 0.3333, 0, 0.3333]
    assert kinds["d"] == [0.3333, 0, 0, 0.3333, 0.3333]
    assert kinds["e"] == [0.3333, 0, 0, 0, 0.6667]


@pytest.mark.parametrize(("distance", "kind"), [(5.6, "good"), (5.8, "jitter"), (11.7, "jitter"), (11.8, "miss")])
def test_where_jitter_begins_and_ends(distance, kind):
    points = FIVE.copy()
    points[4] += (0, distance)
    (person,) = match_people(truth_of([annotation(1, 1, FIVE)]), [result(1, points, 0.5)], DICE)
    assert person.kinds[4] == kind


def test_a_joint_that_was_not_found_is_missed_wherever_it_is_put():
    joints = np.array([0.9, 0.9, 0.9, 0.9, 0])
    (person,) = match_people(truth_of([annotation(1, 1, FIVE)]), [result(1, FIVE, 0.5, joints)], DICE)
    assert person.kinds == ("good",) * 4 + ("miss",)
    assert person.similarity[4] == 0


def test_a_hidden_joint_is_labelled():
    flags = np.array([1, 2, 2, 2, 0])
    points = FIVE + (0, 3)
    (person,) = match_people(truth_of([annotation(1, 1, FIVE, flags)]), [result(1, points, 0.5)], DICE)
    assert person.kinds == ("good",) * 4 + ("",)
    assert person.oks == pytest.approx(np.exp(-9 / 200))


def test_unlabelled_joints_attract_nobody():
    """Their place in the file is 0, 0: neither an inversion nor, for somebody else's, a swap."""
    flags = np.array([2, 2, 2, 2, 0])
    first, second = FIVE + (200, 200), FIVE + (200, 400)
    found = first.copy()
    found[0] = 1, 1
    truth = truth_of([annotation(1, 1, first, flags), annotation(2, 1, second, 2 - flags)])
    people = match_people(truth, [result(1, found, 0.5)], DICE)
    assert people[0].kinds == ("miss", "good", "good", "good", "")
    assert people[1].kinds == ("", "", "", "", "miss")


def test_another_joint_of_ones_own_comes_before_that_of_somebody_else():
    other = FIVE + (100, 0)  # the other's a lies on the person's b, its c on the person's d
    points = FIVE.copy()
    points[0], points[2] = FIVE[1], FIVE[3]
    truth = truth_of([annotation(1, 1, FIVE), annotation(2, 1, other)])
    people = match_people(truth, [result(1, points, 0.5), result(1, other, 0.9)], DICE)
    assert people[0].kinds == ("inversion", "good", "inversion", "good", "good")


def test_nobody_is_taken_for_somebody_below_an_oks_of_a_tenth():
    points = FIVE + (0, 50)  # exp(-12.5)
    truth = truth_of([annotation(1, 1, FIVE)])
    (person,) = match_people(truth, [result(1, points, 0.9)], DICE)
    assert person.found is None
    points[0] = FIVE[0]  # an OKS of 0.2
    (person,) = match_people(truth, [result(1, points, 0.9)], DICE)
    assert person.found is not None
    assert person.count("good") == 1


def test_two_results_of_one_person_count_once():
    truth = truth_of([annotation(1, 1, FIVE), annotation(2, 1, FIVE + (300, 0))])
    people = match_people(truth, [result(1, FIVE + (3, 0), 0.9), result(1, FIVE, 0.8)], DICE)
    np.testing.assert_allclose(people[0].found[:, :2], FIVE + (3, 0))
    assert people[1].found is None


@pytest.mark.parametrize("points", [None, [], [0] * 15])
def test_a_crowd_may_have_no_keypoints_at_all(points):
    crowd = {"id": 2, "image_id": 1, "category_id": 1, "iscrowd": 1, "bbox": [0, 0, 100, 100], "area": 10000}
    if points is not None:
        crowd["keypoints"] = points
    far = FIVE.copy()
    far[1] += (0, 40)
    truth = truth_of([annotation(1, 1, FIVE), crowd])
    (person,) = match_people(truth, [result(1, far, 0.9)], DICE)
    assert person.kinds == ("good", "miss", "good", "good", "good")
    assert breakdown(truth, [result(1, far, 0.9)], DICE)["keypoints"]["b"]["miss"] == 1


def test_only_some_pictures(everything):
    truth, results = everything
    results = [r for r in results if r["image_id"] == 1]
    assert [person.image_id for person in match_people(truth, results, DICE, [1])] == [1, 1]
    figures = breakdown(truth, results, DICE, iter([1]))
    assert figures["keypoints"]["a"]["labelled"] == 2
    assert figures["sizes"]["96-192 px"]["people"] == 2


def test_no_results_at_all(everything):
    truth, _ = everything
    figures = breakdown(truth, [], DICE)
    assert [row["miss"] for row in figures["keypoints"].values()] == [1] * 5
    assert [row["AP"] for row in figures["keypoints"].values()] == [0] * 5
    assert figures["sizes"]["96-192 px"] == {"people": 4, "AP": 0, "AR": 0}


def test_nothing_is_modified(everything):
    before = copy.deepcopy(everything)
    breakdown(*everything, DICE)
    assert everything == before


def test_ap_by_keypoint():
    """Right but for one keypoint, which is far away; and one that nobody has."""
    flags = np.array([2, 2, 2, 2, 0])
    annotations = [annotation(n, 1, FIVE + (150 * n, 0), flags) for n in range(4)]
    results = []
    for n in range(4):
        points = FIVE + (150 * n, 0)
        points[1] += (0, 60)
        results.append(result(1, points, 0.9 - n / 10))
    by_keypoint = breakdown(truth_of(annotations), results, DICE)["keypoints"]
    assert [by_keypoint[name]["AP"] for name in "abcde"] == [
        pytest.approx(1),
        pytest.approx(0, abs=0.02),
        pytest.approx(1),
        pytest.approx(1),
        -1,
    ]
    assert by_keypoint["e"] == {"labelled": 0, "AP": -1, **dict.fromkeys(KINDS, 0)}


def many_people():
    """80 people from 20 to 400 pixels, found more or less well, some not at all, and some that are not there."""
    generator = np.random.default_rng(4)
    annotations, results = [], []
    for n in range(80):
        image_id = 1 + n % 20
        side = float(np.exp(generator.uniform(np.log(20), np.log(400))))
        points = generator.uniform(0, side, (17, 2)) + generator.uniform(0, 600, 2)
        low, size = points.min(axis=0), np.ptp(points, axis=0)
        flags = generator.choice([0, 1, 2, 2], 17)
        flags[0] = 2
        box, area = [*low.tolist(), *size.tolist()], side * side
        annotations.append(annotation(n, image_id, points, flags, bbox=box, area=area, iscrowd=int(n % 13 == 12)))
        if n % 7:
            points = points + generator.normal(0, 0.06 * side, (17, 2))
            results.append(result(image_id, points, float(generator.uniform())))
        if n % 5 == 0:
            results.append(result(image_id, points + 3 * side, float(generator.uniform())))
    return truth_of(annotations, range(1, 21), COCO.names), results


def ap_and_ar(truth, results, areas):
    """AP and AR of two ranges of area, which pycocotools takes for its medium and large ones."""
    from pycocotools.coco import COCO as Coco
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = Coco()
        coco.dataset = copy.deepcopy(truth)
        for each in coco.dataset["annotations"]:
            each["id"] += 1
        coco.createIndex()
        scoring = COCOeval(coco, coco.loadRes(copy.deepcopy(results)), "keypoints")
        scoring.params.areaRng = [[0, 1e10], *(list(area) for area in areas)]
        scoring.evaluate()
        scoring.accumulate()
        scoring.summarize()
    return [(scoring.stats[3], scoring.stats[8]), (scoring.stats[4], scoring.stats[9])]


def test_figures_by_size_are_those_of_pycocotools():
    truth, results = many_people()
    sizes = breakdown(truth, results, COCO)["sizes"]
    limits = [(32, 64), (64, 96), (96, 192), (192, 1e5)]
    assert [tuple(np.sqrt(area)) for area in SIZES.values()] == limits
    areas = [(low**2, high**2) for low, high in limits]
    expected = ap_and_ar(truth, results, areas[:2]) + ap_and_ar(truth, results, areas[2:])
    for row, area, (ap, ar) in zip(sizes.values(), areas, expected, strict=True):
        assert (row["AP"], row["AR"]) == (pytest.approx(ap), pytest.approx(ar))
        assert 0 < row["AP"] < 1
        counted = [a for a in truth["annotations"] if area[0] <= a["area"] < area[1] and not a["iscrowd"]]
        assert row["people"] == len(counted)


def test_a_size_that_nobody_has(everything):
    sizes = breakdown(*everything, DICE)["sizes"]
    assert list(sizes) == ["32-64 px", "64-96 px", "96-192 px", "over 192 px"]
    assert sizes["32-64 px"] == {"people": 0, "AP": -1, "AR": -1}
    assert sizes["96-192 px"]["people"] == 4
