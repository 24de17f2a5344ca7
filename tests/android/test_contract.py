"""Today's decoders do what golden/live.npz holds, by which the Android app's decoders are tested."""

import numpy as np
import pytest
from android import record

# Cells: the fit of a hardly curved peak, in 32-bit floats, may differ by 2e-5 from machine to machine.
TOLERANCE = 1e-4
AGAIN = "has changed: run `python tests/android/record.py`, then make android_demo/posekit's ContractTest pass"


@pytest.fixture(scope="module")
def golden():
    return record.read(record.GOLDEN)


def test_people_are_those_recorded(golden):
    for name, parts in golden[0].items():
        for part, values in record.answers(parts).items():
            assert values.shape == parts[part].shape, f"{name}: {part} {AGAIN}"
            np.testing.assert_allclose(
                values, parts[part], rtol=TOLERANCE, atol=TOLERANCE, equal_nan=False, err_msg=f"{name}: {part} {AGAIN}"
            )


def test_settings_and_defaults_are_those_recorded(golden):
    values = dict(zip(golden[1]["setting_names"].tolist(), golden[1]["default_settings"].tolist(), strict=True))
    assert values == vars(record.DecoderSettings()), f"DecoderSettings {AGAIN}"


def test_assignments_are_scipys(golden):
    for name, values in record.assignments().items():
        np.testing.assert_array_equal(values, golden[1][name], err_msg=f"{name} {AGAIN}")


def test_all_scenes_are_recorded_and_the_file_is_small(golden):
    scenes = record.scenes()
    assert list(scenes) == list(golden[0]), f"the list of scenes {AGAIN}"
    for name, maps in scenes.items():
        assert maps["heatmaps"].shape == golden[0][name]["heatmaps"].shape, f"{name} {AGAIN}"
    assert record.GOLDEN.stat().st_size < 1 << 20


def test_scenes_exercise_what_they_should(golden):
    scenes = golden[0]
    assert len(scenes["crowd"]["live_people"]) >= 5
    assert len(scenes["equal candidates, few wanted"]["exact_people"]) > 2
    assert len(scenes["nothing inside"]["live_people"]) == len(scenes["empty"]["exact_people"]) == 0
    assert len(scenes["one cell"]["live_people"]) == 2
    with_people = [name for name, parts in scenes.items() if len(parts["live_people"])]
    assert len(with_people) > 0.8 * len(scenes)
    unrefined = scenes["crowd, not refined"]["live_people"][:, :, 2] > 0
    assert (scenes["crowd"]["live_people"][:, :, 2] > 0).sum() > unrefined.sum()
