import numpy as np
import pytest

from ehrnet_tf import keypoints
from ehrnet_tf.errors import UsageError
from ehrnet_tf.keypoints import KeypointSet


def test_coco_agrees_with_pycocotools():
    from pycocotools.cocoeval import Params

    coco = keypoints.load("coco")
    assert len(coco) == 17
    np.testing.assert_allclose(coco.sigmas, Params("keypoints").kpt_oks_sigmas)
    assert coco.flip_order == (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
    # the reference's order, 1-based: 1-7, 12, 13, 8-11, 14-17
    assert [k + 1 for k in coco.grouping] == [1, 2, 3, 4, 5, 6, 7, 12, 13, 8, 9, 10, 11, 14, 15, 16, 17]
    assert len(coco.skeleton) == 19


def test_round_trip_and_file(tmp_path):
    coco = keypoints.load("coco")
    assert KeypointSet.from_dict(coco.to_dict()) == coco
    path = tmp_path / "box.yaml"
    path.write_text("name: box\nkeypoints: [tl, tr, br, bl]\nflip_pairs: [[tl, tr], [bl, br]]\n")
    box = keypoints.load(path)
    assert box.flip_order == (1, 0, 3, 2)
    assert box.grouping == (0, 1, 2, 3)
    assert keypoints.load(box) is box


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": None}, "'keypoints' is missing"),
        ({"keypoints": ["a", "a"]}, "'a' is listed twice"),
        ({"skeleton": [["a", "x"]]}, "skeleton names 'x'"),
        ({"skeleton": [["a"]]}, "not a pair"),
        ({"flip_pairs": [["a", "b"], ["b", "c"]]}, "'b' more than once"),
        ({"sigmas": [0.1]}, "sigmas must be 3"),
        ({"sigmas": [0.1, 0, 0.1]}, "positive"),
        ({"grouping": ["a", "b"]}, "grouping must name each"),
        ({"colour": "red"}, "unknown key 'colour'"),
    ],
)
def test_bad_sets(change, message):
    with pytest.raises(UsageError, match=message):
        KeypointSet.from_dict({"name": "t", "keypoints": ["a", "b", "c"], **change}, "t.yaml")


def test_unknown_name_lists_the_built_in():
    with pytest.raises(UsageError, match="built-in sets"):
        keypoints.load("octopus")
