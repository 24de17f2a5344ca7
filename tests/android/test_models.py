"""The poses that the app's tests expect (tests/golden/android) are still those that Python finds."""

import json

import pytest
from android import record_models

EXPECTED = json.loads((record_models.FOLDER / "poses.json").read_text())


@pytest.fixture(scope="module")
def found():
    return record_models.find_poses()


@pytest.mark.parametrize("name", record_models.FILES)
def test_python_finds_the_recorded_poses(found, name):
    expected, now = EXPECTED[name], found[name]
    assert len(expected["people"]) == 2
    assert [now[key] for key in ("image_size", "keypoint_set", "category")] == [
        expected[key] for key in ("image_size", "keypoint_set", "category")
    ]
    for person, recorded in zip(now["people"], expected["people"], strict=True):
        assert person["score"] == pytest.approx(recorded["score"], abs=0.02)
        for keypoint, values in recorded["keypoints"].items():
            assert person["keypoints"][keypoint] == pytest.approx(values, abs=0.5), keypoint
