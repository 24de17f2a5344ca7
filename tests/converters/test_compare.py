"""What counts as computing the same."""

import numpy as np
import pytest

from ehrnet_tf.converters.compare import BOUNDS, compare
from ehrnet_tf.converters.pictures import calibration_pictures, comparison_pictures, made_up_pictures
from ehrnet_tf.errors import DataError, EhrnetError, UsageError
from ehrnet_tf.runtime.runners import Runner
from painted import picture

ROUNDED = ("float16", "bfloat16", "int16x8", "dynamic", "int8")


class Changed(Runner):
    """The maps of a runner, changed."""

    name = kind = "changed"

    def __init__(self, runner, change):
        self.runner, self.change = runner, change
        self.input_size, self.metadata, self.keypoints = runner.input_size, runner.metadata, runner.keypoints

    def _run(self, images):
        return {name: self.change(name, values.copy()) for name, values in self.runner(images).items()}


@pytest.fixture(scope="module")
def pictures():
    return [picture(shift) for shift in ((0, 0), (2, 3))]


def noisy(share):
    """Noise of so many standard deviations of a map."""
    return lambda name, v: v + np.random.default_rng(0).normal(0, share * v.std(), v.shape).astype(np.float32)


def test_the_same_is_the_same(runner, pictures):
    report = compare(runner, Changed(runner, lambda name, values: values), pictures, "float32", "file")
    assert report["pictures"] == 2 and report["difference"] == 0
    assert report["poses"] == {
        "pictures": 2,
        "people": 4,
        "lost": 0,
        "median": 0.0,
        "worst": 0.0,
        "added": 0,
        "score": 0.0,
    }
    tags = report["differences"]["tags"]
    assert tags["max"] == tags["mean"] == tags["error"] == tags["mean_where_heat"] == 0
    assert tags["range"] == pytest.approx(20 * 120 / 255, abs=0.01), "20 times green, 8 to 128"


def test_figures(runner, pictures):
    def change(name, values):
        return values + np.float32(0.25 * (name == "tags"))

    report = compare(runner, Changed(runner, change), pictures, "dynamic", "file")
    found = report["differences"]
    assert found["tags"]["max"] == pytest.approx(0.25) and found["tags"]["mean"] == pytest.approx(0.25)
    assert found["tags"]["max_where_heat"] == pytest.approx(0.25), "the threshold is 1"
    spread = np.std([runner(p[None])["tags"] for p in pictures])
    assert found["tags"]["error"] == pytest.approx(0.25 / spread, rel=1e-4)
    assert found["heatmaps_2"]["max"] == 0
    assert report["difference"] == pytest.approx(0.25 / found["tags"]["range"])


@pytest.mark.parametrize(
    ("precision", "passes", "fails"), [("float32", 1e-5, 0.01), ("float16", 0.02, 0.3), ("int8", 0.2, 0.8)]
)
def test_noise(runner, pictures, precision, passes, fails):
    compare(runner, Changed(runner, noisy(passes)), pictures, precision, "file")
    with pytest.raises(EhrnetError, match=r"file: gives other maps than the model, up to .* of their range away"):
        compare(runner, Changed(runner, noisy(fails)), pictures, precision, "file")


@pytest.mark.parametrize("precision", BOUNDS)
@pytest.mark.parametrize("lost", ["heatmaps_4", "heatmaps_2", "tags"])
@pytest.mark.parametrize("value", [0, np.nan])
def test_a_map_of_which_nothing_is_left(runner, pictures, precision, lost, value):
    def change(name, values):
        return np.full_like(values, value) if name == lost else values

    with pytest.raises(EhrnetError, match=r"^file: gives (other maps than the model|NaN)"):
        compare(runner, Changed(runner, change), pictures, precision, "file")


@pytest.mark.parametrize("precision", ROUNDED)
def test_people_that_are_gone(runner, pictures, precision):
    def change(name, values):  # within the bounds of an integer file's maps; at its peaks alone something is missing
        return np.minimum(values, 0.09) if name == "heatmaps_2" else values

    with pytest.raises(
        EhrnetError, match=r"file: gives other maps|file: finds other people than the model: 4 of 4 lost"
    ):
        compare(runner, Changed(runner, change), pictures, precision, "file")


def test_pictures_to_compare_on(tmp_path):
    import cv2

    for split, value in (("train2017", 10), ("val2017", 200)):
        (tmp_path / split).mkdir()
        for number in range(9):
            cv2.imwrite(str(tmp_path / split / f"{number}.png"), np.full((40, 60, 3), value + number, np.uint8))
    (tmp_path / "annotations").mkdir()
    found = comparison_pictures(tmp_path, (64, 64))
    assert len(found) == 8 and min(p.max() for p in found) >= 200, "of COCO data the validation's"
    drawn = calibration_pictures(tmp_path, (64, 64), 3)
    assert max(p.max() for p in drawn) < 100
    assert comparison_pictures(None, (64, 64), drawn) == drawn
    made = comparison_pictures(None, (64, 96))
    assert [p.shape for p in made] == [(64, 96, 3)] * 4 and min(p.std() for p in made) > 10
    np.testing.assert_array_equal(made[0], made_up_pictures((64, 96))[0])
    with pytest.raises(DataError, match="no such folder of pictures"):
        comparison_pictures(tmp_path / "none", (64, 64))
    with pytest.raises(UsageError, match="at least 1"):
        calibration_pictures(tmp_path, (64, 64), 0)


class Poses(Runner):
    """A file with the decoder inside, whose people a function changes."""

    name = kind = "poses"
    graph = "poses"

    def __init__(self, runner, change):
        from ehrnet_tf.converters.compare import _graph_decoder

        self.decode, self.runner, self.change = _graph_decoder(runner, 4), runner, change
        self.input_size, self.keypoints = runner.input_size, runner.keypoints
        self.metadata = {**runner.metadata, "graph": "poses", "people": 4}

    def _run(self, images):
        keypoints, scores = (values.copy() for values in self.decode(images, self.runner(images)))
        self.change(keypoints, scores)
        return {"keypoints": keypoints[None], "scores": scores[None]}


def nothing(keypoints, scores):
    pass


def add_somebody(keypoints, scores):
    keypoints[3], scores[3] = (60, 3, 0.9), 0.9


def other_scores(keypoints, scores):
    scores[scores > 0] = 0.95


@pytest.mark.parametrize(
    ("change", "found"), [(nothing, None), (add_somebody, "0 of 2 lost.* 1 added"), (other_scores, "scores up to 0")]
)
def test_people_who_were_not_there_and_other_scores(runner, change, found):
    def check():
        return compare(runner, Poses(runner, change), [picture()], "float32", "file")

    if found is None:
        assert check()["poses"]["people"] == 2
    else:
        with pytest.raises(EhrnetError, match=found):
            check()
