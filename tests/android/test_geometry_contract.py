"""Python does today what golden/geometry.npz holds, by which the Android app's code is tested."""

import json

import cv2
import numpy as np
import pytest
from android import record_geometry

from ehrnet_tf.runtime.metadata import read_metadata

AGAIN = "has changed: run `python tests/android/record_geometry.py`, then make posekit's GeometryContractTest pass"


@pytest.fixture(scope="module")
def golden():
    with np.load(record_geometry.GOLDEN) as data:
        return dict(data)


@pytest.fixture(scope="module")
def today():
    return record_geometry.everything()


def channels(packed):
    return packed[..., None] >> np.array([16, 8, 0]) & 255


def test_nothing_is_new_or_gone(golden, today):
    assert sorted(golden) == sorted(today), f"the list of arrays {AGAIN}"
    assert record_geometry.GOLDEN.stat().st_size < 300_000


def test_what_is_recorded_is_what_python_gives(golden, today):
    bilinear = 1 if int(cv2.__version__.split(".")[0]) >= 5 else 9  # grey levels: OpenCV 4 samples at 1/32 pixels
    for name, values in today.items():
        if name.startswith("tflite"):
            continue  # holds the time of writing
        then, tolerance = golden[name], 1e-4
        assert values.shape == then.shape, f"{name} {AGAIN}"
        if values.dtype.kind == "U":
            assert values.tolist() == then.tolist(), f"{name} {AGAIN}"
            continue
        if name.endswith("/input"):
            values, then, tolerance = channels(values), channels(then), bilinear
        np.testing.assert_allclose(values, then, rtol=1e-6, atol=tolerance, err_msg=f"{name} {AGAIN}")


@pytest.mark.parametrize("name", ["tflite", "tflite_deflated"])
def test_metadata_of_the_recorded_file_are_read(name, golden, tmp_path):
    (tmp_path / "model.tflite").write_bytes(golden[name].astype(np.uint8).tobytes())
    assert read_metadata(tmp_path / "model.tflite") == json.loads(golden["coco/metadata"][0])


def test_made_up_network_shows_what_it_should(golden):
    for kind in ("live", "exact", "poses"):
        found = golden[f"decoder/{kind}_people"]
        assert sorted((found[:, :, 2] > 0).sum(axis=1)) == [3, 4]  # nobody in the padding, one corner absent
    expected = golden["decoder/poses_people"]
    for kind in ("live", "exact"):
        people = golden[f"decoder/{kind}_people"]
        people = people[np.argsort(people[:, 0, 0])]
        np.testing.assert_allclose(people[:, :, :2], expected[:, :, :2], atol=6)  # the input is a third of the picture
