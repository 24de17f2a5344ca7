"""The sample model of docs/models: it opens, says what it is, and finds the people of the sample picture and video."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from ehrnet_tf import PoseEstimator
from ehrnet_tf.data.synthetic import make_picture
from ehrnet_tf.images import read_image
from ehrnet_tf.runtime import read_metadata

FOLDER = Path(__file__).parents[2] / "docs" / "models"
MODEL = FOLDER / "made-up-people.tflite"


@pytest.fixture(scope="module")
def estimator():
    return PoseEstimator(MODEL)


@pytest.fixture(scope="module")
def truth():
    """The sample picture as it is drawn (H, W, 3), and its people's keypoints (N, 17, 3)."""
    spec = importlib.util.spec_from_file_location("draw_samples", FOLDER / "draw_samples.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    image, people = make_picture(**script.PICTURE)
    return image, np.array([person["keypoints"] for person in people], float).reshape(-1, 17, 3)


def test_metadata_say_what_it_is():
    metadata = read_metadata(MODEL)
    assert (metadata["variant"], metadata["graph"], metadata["precision"]) == ("H-6", "poses", "int8")
    assert metadata["keypoints"]["name"] == "coco"
    assert "Apache-2.0" in metadata["licence"] and "CC0" in metadata["licence"]
    accuracy = metadata["accuracy"]
    assert accuracy["pictures"] == 100 and accuracy["AP"] == pytest.approx(0.527, abs=0.001)
    named = [
        metadata["source"],
        metadata["calibration"]["folder"],
        accuracy["data"],
        metadata["source_accuracy"]["data"],
    ]
    assert not any(Path(name).is_absolute() for name in named)
    assert MODEL.stat().st_size < 2.2e6


def test_picture_is_the_one_whose_truth_is_known(truth):
    image = read_image(FOLDER / "people.jpg")
    assert image.shape == truth[0].shape
    assert np.abs(image.astype(int) - truth[0]).mean() < 8  # grey levels of JPEG


def test_it_finds_the_people_of_the_picture(estimator, truth):
    poses = estimator(read_image(FOLDER / "people.jpg"))
    people = truth[1]
    assert len(poses) == len(people) == 2
    for keypoints in people:
        labelled = keypoints[:, 2] > 0
        away = np.linalg.norm(poses.keypoints[:, labelled, :2] - keypoints[labelled, :2], axis=2)
        assert np.median(away, axis=1).min() < 9  # pixels of 480, where one of the network's 128 is 3.75


def test_it_follows_the_people_of_the_video(estimator):
    with estimator.stream(FOLDER / "walk.mp4") as stream:
        found = [poses for _, poses in stream]
    assert len(found) == 45
    assert {id for poses in found for id in poses.ids} == {0, 1}
    assert np.mean([len(poses) == 2 for poses in found]) > 0.7  # one hides the other for half a second
    first, last = (
        {i: k[0, 0] for i, k in zip(poses.ids, poses.keypoints, strict=True)} for poses in (found[0], found[-1])
    )
    assert (
        first[0] < 80 < 200 < last[0] and last[1] < 80 < 200 < first[1]
    )  # x of the noses: nobody takes the other's id
