"""What holds the AP back: the truth in place of the heat-maps or of the tags."""

import numpy as np
import pytest

from ehrnet_tf import cli
from ehrnet_tf.data.coco import read_records
from ehrnet_tf.data.synthetic import make_dataset
from ehrnet_tf.decoding import decode
from ehrnet_tf.errors import UsageError
from ehrnet_tf.evaluation import evaluate
from ehrnet_tf.evaluation.bounds import TAG_DISTANCE, true_heatmaps, true_tags
from ehrnet_tf.keypoints import load
from ehrnet_tf.runtime.estimator import PoseEstimator
from ehrnet_tf.runtime.protocol import Protocol
from ehrnet_tf.runtime.runners import KerasRunner, Runner

SIDE = 128


class Flawed(Runner):
    """Perfect maps of a data set's pictures, the heat-maps or the tags of which can be spoilt."""

    kind = name = "flawed"

    def __init__(self, root, heatmaps=True, tags=True):
        self.keypoints, self.input_size = load("coco"), (SIDE, SIDE)
        self.metadata = {"precision": "float32"}
        self._good = {"heatmaps": heatmaps, "tags": tags}
        self._truth = iter([None, *read_records(root, "val2017")])  # the first call warms up

    def _run(self, images):
        record = next(self._truth)
        maps = {
            "heatmaps_4": np.zeros((32, 32, 17)),
            "heatmaps_2": np.zeros((64, 64, 17)),
            "tags": np.zeros((32, 32, 17)),
        }
        if record is not None:
            people = record.keypoints.astype(np.float64)
            scale = SIDE / max(record.height, record.width)
            corner = (SIDE - scale * np.array([record.width, record.height])) / 2
            people[..., :2] = people[..., :2] * scale + corner
            for name, stride in (("heatmaps_4", 4), ("heatmaps_2", 2)):
                if self._good["heatmaps"]:
                    maps[name] = true_heatmaps(people / [stride, stride, 1], SIDE // stride, SIDE // stride)
            if self._good["tags"]:
                maps["tags"] = true_tags(people / [4, 4, 1], 32, 32)
        return {name: values[None].astype(np.float32) for name, values in maps.items()}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    make_dataset(root, train=1, val=8, size=128, max_people=2)
    return root


def figures(root, **good):
    return evaluate(Flawed(root, **good), root, "val2017", progress=False, bounds=True)


def test_bad_tags_are_mended_by_true_grouping_alone(root):
    """Everybody has one tag: the people are mixed up."""
    found = figures(root, tags=False)
    assert found["AP"] < 0.75
    assert found["AP_true_groups"] > 0.9
    assert found["AP_true_heatmaps"] == pytest.approx(found["AP"], abs=0.05)


def test_bad_heatmaps_are_mended_by_true_heatmaps_alone(root):
    found = figures(root, heatmaps=False)
    assert found["AP"] == found["AP_true_groups"] == 0
    assert found["AP_true_heatmaps"] > 0.9


def test_perfect_maps_need_neither(root):
    found = figures(root)
    assert min(found["AP"], found["AP_true_groups"], found["AP_true_heatmaps"]) > 0.9
    assert "AP_true_groups" not in evaluate(Flawed(root), root, "val2017", progress=False)


def test_true_tags_are_the_nearest_persons():
    people = np.zeros((3, 2, 3))
    people[0, 0] = 2, 5, 2
    people[1, 0] = 9, 5, 1
    people[1, 1] = 9, 9, 2
    tags = true_tags(people, 10, 12)
    assert tags.shape == (10, 12, 2) and tags.dtype == np.float32
    np.testing.assert_array_equal(tags[5, :, 0] / TAG_DISTANCE, [0] * 5 + [0] + [1] * 6)
    np.testing.assert_array_equal(tags[..., 1], TAG_DISTANCE)  # only one person has this joint
    assert not true_tags(np.zeros((0, 2, 3)), 4, 4).any()


def test_a_joint_that_nobody_has_goes_by_the_peoples_middles():
    people = np.zeros((2, 2, 3))
    people[0, 0] = 1, 1, 2
    people[1, 0] = 8, 1, 2
    np.testing.assert_array_equal(true_tags(people, 2, 10)[0, :, 1] / TAG_DISTANCE, [0] * 5 + [1] * 5)


def test_true_heatmaps_decode_to_the_keypoints():
    people = np.zeros((1, 17, 3))
    people[0, :, 0], people[0, :, 1], people[0, :, 2] = np.linspace(5, 55, 17), np.linspace(50.3, 8.6, 17), 2
    maps = true_heatmaps(people, 64, 64)
    assert maps.max() <= 1 and maps.dtype == np.float32
    assert maps[0, 63].max() == 0, "a Gaussian ends somewhere"
    found, _ = decode(maps, np.zeros((64, 64, 17), np.float32))
    assert np.abs(found[0, :, :2] - people[0, :, :2]).max() < 0.5
    people[0, :, 2] = 0
    assert not true_heatmaps(people, 64, 64).any()


def test_bounds_need_plain_maps(root, build_tiny):
    with pytest.raises(UsageError, match="bounds need maps, one scale, no flip and the letterbox"):
        evaluate(KerasRunner(build_tiny()), root, protocol=Protocol("exact", flip=True), bounds=True)


def test_command(root, tmp_path, build_tiny, capsys):
    from ehrnet_tf.runtime.metadata import save_keras

    save_keras(build_tiny(), tmp_path / "m.keras")
    assert cli.main(["eval", str(tmp_path / "m.keras"), "--data", str(root), "--bounds"]) == 0
    assert "AP with true grouping 0.000, with true heat-maps" in capsys.readouterr().out


def test_the_network_runs_once_a_picture(root):
    runner = Flawed(root)
    estimator = PoseEstimator(runner, protocol=Protocol("exact"))
    evaluate(runner, root, "val2017", progress=False, bounds=True)
    assert next(runner._truth, "all used") == "all used"
    assert estimator.input_size == (SIDE, SIDE)
