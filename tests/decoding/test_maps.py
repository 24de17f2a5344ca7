"""Joining and projecting the maps of two stages."""

import numpy as np
import pytest

from ehrnet_tf.decoding import project
from ehrnet_tf.decoding.maps import resize
from ehrnet_tf.errors import UsageError


def bilinear(maps, size):
    """Bilinear interpolation with half-pixel centres and clamped borders, straight from its definition."""
    for axis, length in enumerate(size):
        position = np.clip((np.arange(length) + 0.5) * maps.shape[axis] / length - 0.5, 0, maps.shape[axis] - 1)
        low = np.floor(position).astype(int)
        high = np.minimum(low + 1, maps.shape[axis] - 1)
        share = (position - low).reshape(-1, *[1] * (maps.ndim - axis - 1))
        maps = maps.take(low, axis) * (1 - share) + maps.take(high, axis) * share
    return maps


@pytest.mark.parametrize("count", [1, 4, 17, 130, 300])
def test_resize_is_half_pixel_bilinear_for_any_number_of_channels(count):
    maps = np.random.default_rng(count).normal(size=(6, 5, count)).astype(np.float32)
    np.testing.assert_allclose(resize(maps, (12, 20)), bilinear(maps, (12, 20)), atol=1e-5)
    np.testing.assert_allclose(resize(maps, (4, 3)), bilinear(maps, (4, 3)), atol=1e-5)


@pytest.mark.parametrize("dims", [(), (1,), (2,)])
def test_project(dims):
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(8, 6, 17)), rng.normal(size=(16, 12, 17))
    tags = rng.normal(size=(8, 6, 17, *dims))
    mean = (bilinear(first, (16, 12)) + second) / 2
    half, half_tags = project(first, second, tags)
    np.testing.assert_allclose(half, mean, atol=1e-5)
    np.testing.assert_allclose(half_tags, bilinear(tags, (16, 12)), atol=1e-5)
    full, full_tags = project(first, second, tags, (32, 24))
    assert full.dtype == full_tags.dtype == np.float32
    assert full_tags.shape == (32, 24, 17, *dims)
    np.testing.assert_allclose(full, bilinear(mean, (32, 24)), atol=1e-5)
    np.testing.assert_allclose(full_tags, bilinear(bilinear(tags, (16, 12)), (32, 24)), atol=1e-5)


def test_inputs_stay_as_they_were():
    maps = [np.ones((4, 4, 2), np.float32), np.zeros((8, 8, 2), np.float32), np.ones((4, 4, 2), np.float32)]
    copies = [m.copy() for m in maps]
    project(*maps, (16, 16))
    for before, after in zip(copies, maps, strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("first", "second", "tags", "size"),
    [
        ((4, 4, 3), (8, 8, 2), (4, 4, 3), None),
        ((4, 4, 3), (8, 8, 3), (8, 8, 3), None),
        ((4, 4), (8, 8), (4, 4), None),
        ((4, 4, 3), (8, 8, 3), (4, 4, 3, 0), None),
        ((4, 4, 3), (8, 8, 3), (4, 4, 3), (0, 16)),
    ],
)
def test_what_does_not_fit_is_refused(first, second, tags, size):
    with pytest.raises(UsageError):
        project(np.zeros(first), np.zeros(second), np.zeros(tags), size)
