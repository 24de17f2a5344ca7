import copy
import json

import numpy as np
import pytest

from ehrnet_tf.errors import DataError
from ehrnet_tf.evaluation import average_precision
from ehrnet_tf.evaluation.coco_ap import FIGURES
from ehrnet_tf.keypoints import KeypointSet, load

COCO = load("coco")


def person(number, image_id, left, top, side=120.0):
    points = np.stack(np.meshgrid(np.linspace(0, side, 5), np.linspace(0, side, 4)), axis=-1).reshape(-1, 2)[:17]
    points = points + (left, top)
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "keypoints": np.column_stack([points, np.full(17, 2)]).ravel().tolist(),
        "num_keypoints": 17,
        "bbox": [left, top, side, side],
        "area": side * side,
    }


@pytest.fixture
def truth():
    return {
        "images": [{"id": n, "width": 640, "height": 480} for n in (1, 2, 3)],
        "annotations": [person(1, 1, 10, 20), person(2, 1, 300, 100), person(3, 2, 50, 60, 60)],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO.names)}],
    }


def results_of(truth, score=0.9):
    keys = ("image_id", "category_id", "keypoints")
    return [{k: a[k] for k in keys} | {"score": score} for a in truth["annotations"]]


def test_perfect_results(truth):
    figures = average_precision(truth, results_of(truth), COCO)
    assert tuple(figures) == FIGURES
    assert all(value == pytest.approx(1) for value in figures.values())


def test_as_pycocotools_on_files(truth, tmp_path, capsys):
    from pycocotools.coco import COCO as Coco
    from pycocotools.cocoeval import COCOeval

    generator = np.random.default_rng(0)
    results = results_of(truth)
    for number, result in enumerate(results):
        points = np.array(result["keypoints"]).reshape(17, 3)
        points[:, :2] += generator.normal(0, 4 + number, (17, 2))
        result.update(keypoints=points.ravel().tolist(), score=0.5 + 0.1 * number)
    results.append(results[0] | {"image_id": 3, "score": 0.95})
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    coco = Coco(str(tmp_path / "truth.json"))
    reference = COCOeval(coco, coco.loadRes(copy.deepcopy(results)), "keypoints")
    reference.evaluate()
    reference.accumulate()
    reference.summarize()
    capsys.readouterr()
    before = copy.deepcopy((truth, results))
    figures = average_precision(tmp_path / "truth.json", results, COCO)
    assert capsys.readouterr().out == ""
    assert list(figures.values()) == pytest.approx(list(reference.stats))
    assert 0 < figures["AP"] < 1
    assert figures == average_precision(truth, results, COCO)
    assert before == (truth, results)


def test_no_results(truth):
    assert set(average_precision(truth, [], COCO).values()) == {0.0}


def test_only_some_pictures(truth):
    results = [r for r in results_of(truth) if r["image_id"] == 1]
    assert average_precision(truth, results, COCO, image_ids=[1])["AP"] == pytest.approx(1)
    assert average_precision(truth, results, COCO, image_ids=[1])["AP_M"] == -1
    assert average_precision(truth, results, COCO)["AP"] < 0.8


def test_lean_ground_truth_of_another_set():
    hand = KeypointSet.from_dict({"name": "hand", "category": "hand", "keypoints": ["a", "b", "c"]})
    points = [10, 10, 2, 90, 20, 2, 30, 99, 1]
    truth = {
        "images": [{"id": "x"}],
        "annotations": [{"id": 0, "image_id": "x", "category_id": 7, "keypoints": points}],
        "categories": [{"id": 3, "name": "person"}, {"id": 7, "name": "hand"}],
    }
    results = [{"image_id": "x", "category_id": 1, "keypoints": points, "score": 0.4}]
    assert average_precision(truth, results, hand)["AP"] == pytest.approx(1)


def test_sigmas_are_the_sets(truth):
    results = results_of(truth)
    for result in results:
        result["keypoints"] = [value + 6 for value in result["keypoints"]]
    strict = KeypointSet.from_dict({**COCO.to_dict(), "sigmas": [0.01] * 17})
    assert average_precision(truth, results, strict)["AP"] < average_precision(truth, results, COCO)["AP"]


def crowd_data():
    """People in CrowdPose's format, without areas, and results, at random."""
    rng = np.random.default_rng(7)
    images, annotations, results = [], [], []
    for image_id in range(1, 21):
        images.append({"id": image_id, "crowdIndex": 0.05 * image_id})
        for _ in range(image_id % 4 + 1):
            left, top, width, height = *rng.uniform(0, 200, 2), *rng.uniform(40, 200, 2)
            x, y = rng.uniform(left, left + width, 14), rng.uniform(top, top + height, 14)
            points = np.column_stack([x, y, rng.integers(0, 3, 14)])
            annotation = {"id": len(annotations) + 1, "image_id": image_id, "category_id": 1, "iscrowd": 0}
            annotation |= {"bbox": [left, top, width, height], "num_keypoints": int((points[:, 2] == 2).sum())}
            annotations.append(annotation | {"keypoints": points.ravel().tolist()})
            points[:, :2] += rng.normal(0, rng.choice([1, 4, 10]), (14, 2))
            points[:, 2] = 1
            result = {"image_id": image_id, "category_id": 1, "keypoints": points.ravel().tolist()}
            results.append(result | {"score": rng.random()})
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}, results


def test_crowdpose_as_its_own_evaluation():
    """Expected: xtcocotools 1.14.3, "keypoints_crowd" with use_area=False, on the same data."""
    figures = average_precision(*crowd_data(), load("crowdpose"))
    expected = {"AP": 0.6027299134582522, "AP50": 0.8954661180403756, "AP75": 0.5222482723281191}
    expected |= {"AR": 0.732, "AR50": 0.92, "AR75": 0.7}
    assert {name: figures[name] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_bad_ground_truth(truth, tmp_path):
    with pytest.raises(DataError, match=r"none\.json"):
        average_precision(tmp_path / "none.json", [], COCO)
    with pytest.raises(DataError, match="annotations"):
        average_precision({"images": []}, [], COCO)
    with pytest.raises(DataError, match="lists no picture 9"):
        average_precision(truth, results_of(truth) + [results_of(truth)[0] | {"image_id": 9}], COCO)
    truth["categories"][0]["name"] = "dog"
    with pytest.raises(DataError, match="category 'person'"):
        average_precision(truth, [], COCO)
