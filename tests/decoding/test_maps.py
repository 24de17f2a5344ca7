"""Joining and projecting the maps of two stages."""

import numpy as np
import pytest

from ehrnet_tf.decoding import View, merge, project
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


def random_maps(seed, height=8, width=6, count=3):
    rng = np.random.default_rng(seed)
    return {
        "heatmaps_4": rng.normal(size=(height, width, count)).astype(np.float32),
        "heatmaps_2": rng.normal(size=(2 * height, 2 * width, count)).astype(np.float32),
        "tags": rng.normal(size=(height, width, count)).astype(np.float32),
    }


def test_merge_by_hand():
    """One row of two cells, three channels of which the last two change sides."""
    row = {
        "heatmaps_4": np.array([[[1, 2, 3], [4, 5, 6]]], np.float32),
        "heatmaps_2": np.array([[[3, 2, 1], [0, 1, 2]]], np.float32),
        "tags": np.array([[[1, 2, 3], [4, 5, 6]]], np.float32),
    }
    mirrored = {
        "heatmaps_4": np.array([[[10, 20, 30], [40, 50, 60]]], np.float32),
        "heatmaps_2": np.zeros((1, 2, 3), np.float32),
        "tags": np.array([[[-1, -2, -3], [-4, -5, -6]]], np.float32),
    }
    heat, tags = merge([View(row)], 0, (1, 2), (0, 2, 1))
    np.testing.assert_array_equal(heat, [[[2, 2, 2], [2, 3, 4]]])
    np.testing.assert_array_equal(tags, row["tags"][..., None])
    heat, tags = merge([View(row, mirrored)], 0, (1, 2), (0, 2, 1))
    np.testing.assert_array_equal(heat, [[[(2 + 20) / 2, (2 + 30) / 2, (2 + 25) / 2], [(2 + 5) / 2, 9, 7]]])
    np.testing.assert_array_equal(tags[..., 0], row["tags"])
    np.testing.assert_array_equal(tags[..., 1], [[[-4, -6, -5], [-1, -3, -2]]])
    assert heat.dtype == tags.dtype == np.float32


def test_a_mirrored_picture_says_the_same_to_a_network_that_does_not_tell_the_sides():
    order = (0, 2, 1)
    maps = random_maps(0)
    mirrored = {name: values[:, ::-1][:, :, order] for name, values in maps.items()}
    heat, tags = merge([View(maps)], 0, (32, 24), order)
    both, pairs = merge([View(maps, mirrored)], 0, (32, 24), order)
    assert tags.shape == (32, 24, 3, 1)
    assert pairs.shape == (32, 24, 3, 2)
    np.testing.assert_allclose(both, heat, atol=1e-6)
    np.testing.assert_array_equal(pairs[..., 0], tags[..., 0])
    np.testing.assert_allclose(pairs[..., 1], tags[..., 0], atol=1e-6)


@pytest.mark.parametrize("one", [0, 1, 2])
def test_heat_is_averaged_over_scales_and_tags_are_of_scale_1(one):
    each = [random_maps(0, 4, 3), random_maps(1), random_maps(2, 16, 12)]
    heat, tags = merge([View(maps) for maps in each], one, (32, 24), (0, 1, 2))
    alone = []
    for maps in each:
        middle = maps["heatmaps_2"].shape[:2]
        alone.append(bilinear((bilinear(maps["heatmaps_4"], middle) + maps["heatmaps_2"]) / 2, (32, 24)))
    np.testing.assert_allclose(heat, np.mean(alone, axis=0), atol=1e-5)
    middle = each[one]["heatmaps_2"].shape[:2]
    np.testing.assert_allclose(tags[..., 0], bilinear(bilinear(each[one]["tags"], middle), (32, 24)), atol=1e-5)


def test_flip_and_scales_weigh_alike():
    each = [(random_maps(n), random_maps(10 + n)) for n in range(3)]
    order = (1, 0, 2)
    heat, tags = merge([View(*pair) for pair in each], 1, (32, 24), order)
    singles = [merge([View(*pair)], 0, (32, 24), order) for pair in each]
    np.testing.assert_allclose(heat, np.mean([single for single, _ in singles], axis=0), atol=1e-6)
    np.testing.assert_array_equal(tags, singles[1][1])


def test_merge_leaves_the_networks_maps_alone():
    maps, mirrored = random_maps(0), random_maps(1)
    copies = [{name: values.copy() for name, values in each.items()} for each in (maps, mirrored)]
    heat, tags = merge([View(maps, mirrored)], 0, (16, 12), (0, 1, 2))
    heat[:] = tags[:] = 7
    for before, after in zip(copies, (maps, mirrored), strict=True):
        for name in before:
            np.testing.assert_array_equal(before[name], after[name])
