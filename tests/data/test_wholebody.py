"""COCO-WholeBody: the 133 keypoints of five lists, in training records and in AP, and the symmetry of its face."""

import numpy as np
import pytest

from ehrnet_tf import keypoints
from ehrnet_tf.config import load_config
from ehrnet_tf.data import coco_dataset
from ehrnet_tf.data.coco import read_records
from ehrnet_tf.errors import DataError
from ehrnet_tf.evaluation import average_precision
from ehrnet_tf.evaluation.breakdown import match_people

WHOLE = keypoints.load("coco-wholebody")
COUNTS = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}


def whole_person(coco_folder, image_id, missing=(), **more):
    """A person whose keypoint k of all 133 lies at x = k / 4, y = k / 8, unlabelled in the lists ``missing``."""
    k = np.arange(133.0)
    values = np.column_stack([k / 4, k / 8, np.full(133, 2)])
    lists, begin = {}, 0
    for key, count in COUNTS.items():
        part = values[begin : begin + count] * (key not in missing)
        lists[key], begin = part.ravel().tolist(), begin + count
    return coco_folder.person(image_id, **{**lists, "num_keypoints": 17, **more})


def test_five_lists_become_one(coco_folder):
    image_id = coco_folder.picture()
    whole_person(coco_folder, image_id, missing=["face_kpts"])
    whole_person(coco_folder, image_id, iscrowd=1)
    (record,) = read_records(coco_folder.write(), "train", "coco-wholebody")
    assert record.keypoints.shape == (1, 133, 3)
    right_root = WHOLE.names.index("right_hand_root")
    np.testing.assert_allclose(record.keypoints[0, [0, 17, right_root], 0], [0, 17 / 4, 112 / 4])
    face = [k for k, name in enumerate(WHOLE.names) if name.startswith("face-")]
    assert not record.keypoints[0, face].any()
    assert (record.keypoints[0, :, 2] > 0).sum() == 133 - 68


def test_training_has_a_map_for_each(coco_folder):
    whole_person(coco_folder, coco_folder.picture(), missing=["lefthand_kpts"])
    settings = ["model.keypoints=coco-wholebody", "model.input_size=64", "train.batch_size=1", "augment.enabled=false"]
    dataset = coco_dataset(coco_folder.write(), "train", load_config(None, settings))
    _, targets, _ = next(iter(dataset))
    peaks = np.array(targets["heatmaps_4"]).max(axis=(0, 1, 2))
    left_hand = np.array([name in WHOLE.names[91:112] for name in WHOLE.names])
    assert all(name.startswith("left_") for name in WHOLE.names[91:112])
    np.testing.assert_array_equal(peaks, np.where(left_hand, 0, 1))


@pytest.mark.parametrize("broken", [{"foot_kpts": None}, {"foot_kpts": "none"}, {"face_kpts": [1, 2, 2]}])
def test_a_broken_list_is_named_with_its_annotation(coco_folder, broken):
    whole_person(coco_folder, coco_folder.picture(), **broken)
    needle = r"annotation 100: keypoints \+ foot_kpts \+ .* must be 399 numbers"
    with pytest.raises(DataError, match=needle):
        read_records(coco_folder.write(), "train", "coco-wholebody")


def test_all_lists_count_in_ap(coco_folder):
    image_id = coco_folder.picture()
    whole_person(coco_folder, image_id, area=400.0)
    truth = coco_folder.data
    # Nothing of the body is labelled, and "num_keypoints", which counts the body alone, is 0: the hands count still.
    hands = whole_person(coco_folder, coco_folder.picture(), missing=["keypoints", "foot_kpts", "face_kpts"])
    hands["num_keypoints"] = 0
    results = [
        {"image_id": a["image_id"], "category_id": 1, "keypoints": WHOLE.labels(a), "score": 0.9}
        for a in truth["annotations"]
    ]
    assert average_precision(truth, results, WHOLE)["AP"] == pytest.approx(1)
    assert [sum(map(bool, p.kinds)) for p in match_people(truth, results, WHOLE)] == [133, 42]

    moved = np.array(results[0]["keypoints"]).reshape(133, 3)
    moved[17:, 0] += 40  # the body right, all else far away: 17 of 133 are no match
    results[0]["keypoints"] = moved.ravel().tolist()
    assert average_precision(truth, results, WHOLE, image_ids=[image_id])["AP"] == 0


def face():
    """(68, 2) places of a symmetrical face's landmarks, in iBUG's order, x right, y down, the axis at x = 0."""
    jaw = [(np.sin(a), np.cos(a)) for a in np.linspace(-np.pi / 2, np.pi / 2, 17)]
    brows = [
        (x, -0.5 - 0.1 * (1 - abs(abs(x) - 0.5))) for x in (-0.8, -0.65, -0.5, -0.35, -0.2, 0.2, 0.35, 0.5, 0.65, 0.8)
    ]
    nose = [(0, y) for y in (-0.3, -0.15, 0, 0.15)] + [(x, 0.25) for x in (-0.2, -0.1, 0, 0.1, 0.2)]
    # An eye goes round clockwise in the picture from its left corner: corner, two above, corner, two below.
    ring = [(-0.15, 0), (-0.05, -0.08), (0.05, -0.08), (0.15, 0), (0.05, 0.08), (-0.05, 0.08)]
    eyes = [(x + side * 0.45, y - 0.3) for side in (-1, 1) for x, y in ring]
    outer = [(x, 0.5 - 0.1 * (1 - abs(x))) for x in (-0.3, -0.2, -0.1, 0, 0.1, 0.2, 0.3)]
    outer += [(x, 0.6) for x in (0.2, 0.1, 0, -0.1, -0.2)]
    inner = [(x, 0.48) for x in (-0.25, -0.1, 0, 0.1, 0.25)] + [(x, 0.53) for x in (0.1, 0, -0.1)]
    return np.array(jaw + brows + nose + eyes + outer + inner)


def test_a_mirrored_face_falls_upon_itself():
    begin = WHOLE.names.index("face-0")
    order = np.array(WHOLE.flip_order[begin : begin + 68]) - begin
    np.testing.assert_allclose(face()[order], face() * [-1, 1], atol=1e-9)
