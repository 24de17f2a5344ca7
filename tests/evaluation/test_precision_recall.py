"""Curves of hand-made results."""

import numpy as np
import pytest

from ehrnet_tf.errors import DataError
from ehrnet_tf.evaluation.coco_ap import average_precision
from ehrnet_tf.evaluation.precision_recall import precision_recall
from ehrnet_tf.keypoints import KeypointSet

# With sigma 0.05 and an area of 100 x 100, joints d pixels away have an OKS of exp(-d² / 200).
DICE = KeypointSet.from_dict({"name": "dice", "keypoints": list("abcde")})
FIVE = np.array([[0, 0], [100, 0], [0, 100], [100, 100], [50, 50]], float)


def flat(moved, last):
    return np.column_stack([FIVE + moved, np.full(5, last)]).ravel().tolist()


def truth(people=4):
    annotations = [
        {
            "id": n + 1,
            "image_id": n,
            "category_id": 1,
            "iscrowd": 0,
            "keypoints": flat(0, 2),
            "num_keypoints": 5,
            "bbox": [0, 0, 100, 100],
            "area": 10000,
        }
        for n in range(people)
    ]
    images = [{"id": n, "width": 640, "height": 480} for n in range(5)]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}


def result(image_id, away, score):
    return {"image_id": image_id, "category_id": 1, "keypoints": flat((away, 0), 0.9), "score": score}


def test_four_people_by_hand():
    # OKS 1.00, 0.73, nobody's, 0.88: right, right at 0.50 only, wrong, right.
    results = [result(0, 0, 0.9), result(1, 8, 0.8), result(4, 0, 0.7), result(2, 5, 0.6)]
    curves = precision_recall(truth(), results, DICE)
    assert curves["recall"] == [round(n / 100, 2) for n in range(101)]
    assert set(curves["OKS 0.50"][:51]) == {1.0}, "two of four people by the first two results"
    assert set(curves["OKS 0.50"][51:76]) == {0.75}, "the third person by the fourth result"
    assert set(curves["OKS 0.50"][76:]) == {0.0}
    assert set(curves["OKS 0.75"][:26]) == {1.0}
    assert set(curves["OKS 0.75"][26:51]) == {0.5}
    assert set(curves["OKS 0.75"][51:]) == {0.0}


def test_the_means_are_coco_ap():
    results = [result(0, 3, 0.9), result(1, 8, 0.8), result(4, 0, 0.7), result(2, 5, 0.6), result(3, 11, 0.5)]
    curves, figures = precision_recall(truth(), results, DICE), average_precision(truth(), results, DICE)
    for curve, name in (("OKS 0.50", "AP50"), ("OKS 0.75", "AP75"), ("mean", "AP")):
        assert np.mean(curves[curve]) == pytest.approx(figures[name], abs=1e-4)
        assert curves[curve] == sorted(curves[curve], reverse=True)
    assert len({figures["AP"], figures["AP75"], figures["AP50"]}) == 3


def test_pictures_that_are_left_out_do_not_count():
    results = [result(0, 0, 0.9), result(4, 0, 0.95)]
    assert set(precision_recall(truth(), [results[0]], DICE, [0])["mean"]) == {1.0}
    assert set(precision_recall(truth(), results, DICE, [0, 4])["mean"]) == {0.5}


def test_nobody():
    empty = {"recall": [], "OKS 0.50": [], "OKS 0.75": [], "mean": []}
    assert precision_recall(truth(0), [result(1, 0, 0.9)], DICE) == empty
    found = precision_recall(truth(), [], DICE)
    assert set(found["mean"]) == {0.0}
    with pytest.raises(DataError, match="lists no picture 9"):
        precision_recall(truth(), [result(9, 0, 0.9)], DICE)
