"""One network for inputs of any size, from one whose size is fixed."""

import keras
import numpy as np
import pytest

from ehrnet_tf import EfficientHRNet
from ehrnet_tf.models.weights import with_free_size
from ehrnet_tf.runtime.runners import KerasRunner


@pytest.fixture(scope="module", params=["H-11", "E-11"])  # transposed convolutions, resizing
def fixed(request):
    keras.utils.set_random_seed(3)
    return EfficientHRNet(request.param, input_size=64)


@pytest.fixture(scope="module")
def free(fixed):
    return with_free_size(fixed)


def pictures(*size):
    return np.random.default_rng(0).integers(0, 256, (2, *size, 3), dtype=np.uint8)


def assert_equal_maps(found, expected):
    assert set(found) == set(expected) == {"heatmaps_4", "tags", "heatmaps_2"}
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)


def test_the_same_maps_at_the_models_own_size(fixed, free):
    assert free.input_shape == (None, None, None, 3)
    assert_equal_maps(free(pictures(64, 64), training=False), fixed(pictures(64, 64), training=False))


def test_at_other_sizes_the_maps_of_a_model_made_for_them(fixed, free):
    variant = fixed.name.split("_")[-1].upper()
    other = EfficientHRNet(variant, input_size=(96, 32))
    other.set_weights(fixed.get_weights())
    assert_equal_maps(free(pictures(96, 32), training=False), other(pictures(96, 32), training=False))
    assert free(pictures(32, 160), training=False)["heatmaps_2"].shape == (2, 16, 80, 17)


def test_the_model_itself_stays_as_it_was(build_tiny):
    fixed = build_tiny()
    before, weights = fixed(pictures(64, 64), training=False), fixed.get_weights()
    copy = with_free_size(fixed)
    assert fixed.input_shape == (None, 64, 64, 3)
    assert copy.name == fixed.name
    assert [w.path for w in copy.weights] == [w.path for w in fixed.weights]
    copy.set_weights([0 * w for w in copy.get_weights()])
    for kept, given in zip(fixed.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(kept, given)
    assert_equal_maps(fixed(pictures(64, 64), training=False), before)


def test_a_runner_of_any_size_keeps_what_is_known_of_the_model(build_tiny):
    metadata = {"precision": "float16", "variant": "mine"}
    runner = KerasRunner(build_tiny(), "coco", metadata)
    runner.name = "models/mine.keras"
    free = runner.any_size()
    assert (runner.input_size, free.input_size) == ((64, 64), None)
    assert (free.name, free.metadata, free.keypoints) == (runner.name, metadata, runner.keypoints)
    assert free.any_size() is free
    assert_equal_maps(free(pictures(64, 64)), runner(pictures(64, 64)))
    assert free(pictures(32, 96))["tags"].shape == (2, 8, 24, 17)
