"""Tracker and Smoother give today what golden/tracks.npz holds, by which the Android app's are tested."""

import numpy as np
import pytest
from android import record_tracks

AGAIN = "has changed: run `python tests/android/record_tracks.py`, then make posekit's TracksContractTest pass"


@pytest.fixture(scope="module")
def golden():
    with np.load(record_tracks.GOLDEN) as data:
        return dict(data)


def parts(golden, name):
    return {key.rpartition("/")[2]: values for key, values in golden.items() if key.rpartition("/")[0] == name}


def test_sequences_are_those_recorded_and_the_file_is_small(golden):
    found = record_tracks.sequences()
    assert golden["sequences"].tolist() == list(found), f"the list of sequences {AGAIN}"
    for name, sequence in found.items():
        for key, values in sequence.items():
            np.testing.assert_allclose(values, golden[f"{name}/{key}"], atol=0.07, err_msg=f"{name}/{key} {AGAIN}")
    assert record_tracks.GOLDEN.stat().st_size < 300_000


def test_ids_and_places_are_those_recorded(golden):
    for name in golden["sequences"].tolist():
        expected = parts(golden, name)
        for key, values in record_tracks.answers(expected).items():
            np.testing.assert_allclose(values, expected[key], rtol=1e-6, atol=1e-3, err_msg=f"{name}/{key} {AGAIN}")


def test_sequences_exercise_what_they_should(golden):
    ids = {name: parts(golden, name)["ids"] for name in golden["sequences"].tolist()}
    assert set(ids["crossing, hidden"].tolist()) == {0, 1}
    counts = golden["crossing, hidden/counts"].tolist()
    assert 1 in counts
    assert len(set(ids["entering"].tolist())) >= 8
    assert golden["entering/counts"].min() < golden["entering/counts"].max()
    assert (ids["numbers that are none"].reshape(8, 4) == [0, 1, -1, -1]).all()
    assert set(ids["one keypoint"].tolist()) == {0}
    assert len(ids["nobody"]) == 0
    assert len(set(ids["little patience"].tolist())) > len(set(ids["cards"].tolist()))
    steps = np.diff(golden["equal and backward times/times"])
    assert (steps == 0).any()
    assert (steps < 0).any()
    moved = np.abs(golden["cards/smoothed"] - golden["cards/keypoints"][:, :, :2])
    assert moved.max() > 1
