"""The exact decoder against the reference's golden values, scenes with known answers and random maps."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehrnet_tf import keypoints
from ehrnet_tf.decoding import DecoderSettings, decode, decoder
from ehrnet_tf.errors import UsageError

GOLDEN = Path(__file__).parents[1] / "golden" / "decode.npz"
DEFAULT = DecoderSettings()


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as data:
        return dict(data)


def planes_of(golden, case):
    heat = golden[f"case{case}_heatmaps"].astype(np.float32)
    tags = golden[f"case{case}_tags"].astype(np.float32)
    return heat, np.ascontiguousarray(tags.transpose(0, 3, 1, 2))


def blob(maps, keypoint, x, y, height):
    rows, columns = np.mgrid[: maps.shape[0], : maps.shape[1]]
    peak = height * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)
    maps[:, :, keypoint] = np.maximum(maps[:, :, keypoint], peak)


def empty_maps(size=32, count=3, dims=1):
    return np.zeros((size, size, count), np.float32), np.zeros((size, size, count, dims), np.float32)


@pytest.mark.parametrize("case", range(4))
def test_each_step_equals_the_reference(golden, case):
    heat, tags = planes_of(golden, case)
    candidates = decoder.find_candidates(heat, tags, DEFAULT)
    grouped = decoder.group(candidates, DEFAULT, keypoints.load("coco").grouping)
    expected = golden[f"case{case}_grouped"]
    assert grouped.shape == expected.shape
    np.testing.assert_array_equal(grouped[:, :, :2], expected[:, :, :2])
    np.testing.assert_allclose(grouped, expected, atol=1e-5)
    adjusted = golden[f"case{case}_adjusted"]
    np.testing.assert_allclose(decoder.adjust(expected, heat), adjusted, atol=1e-5)
    np.testing.assert_allclose(decoder.refine(adjusted, heat, tags), golden[f"case{case}_refined"], atol=1e-5)


@pytest.mark.parametrize("case", range(4))
def test_decode_equals_the_reference(golden, case):
    heatmaps = golden[f"case{case}_heatmaps"].transpose(1, 2, 0)  # float16, not contiguous
    tags = golden[f"case{case}_tags"].transpose(1, 2, 0, 3)
    people, scores = decode(heatmaps, tags)
    assert people.dtype == scores.dtype == np.float32
    np.testing.assert_allclose(people, golden[f"case{case}_refined"], atol=1e-5)
    np.testing.assert_allclose(scores, golden[f"case{case}_scores"], atol=1e-5)
    unrefined, _ = decode(heatmaps, tags, refine=False)
    np.testing.assert_allclose(unrefined, golden[f"case{case}_adjusted"], atol=1e-5)


def test_two_people_by_hand():
    heatmaps, tags = empty_maps()
    tags[:, 16:] = 5.0
    blob(heatmaps, 0, 8, 10, 0.9)
    blob(heatmaps, 0, 24, 11, 0.8)
    blob(heatmaps, 1, 25, 20, 0.75)
    blob(heatmaps, 1, 7, 21, 0.5)
    blob(heatmaps, 2, 9, 30, 0.6)
    heatmaps[10, 9, 0] += 0.01  # the first person's keypoint 0 leans to the right
    heatmaps[11, 8, 0] += 0.01  # and down
    people, scores = decode(heatmaps, tags)
    assert people.shape == (2, 3, 4)
    np.testing.assert_allclose(people[0, 0], [8.75, 10.75, 0.9, 0], atol=1e-6)
    np.testing.assert_allclose(people[0, 1, 2:], [0.5, 0], atol=1e-6)
    np.testing.assert_allclose(people[1, 1], [25.25, 20.25, 0.75, 5], atol=1e-6)
    np.testing.assert_allclose(people[0, 2, 2:], [0.6, 0], atol=1e-6)
    np.testing.assert_allclose(scores, [(0.9 + 0.5 + 0.6) / 3, (0.8 + 0.75) / 3], atol=1e-6)
    # Keypoint 2 of the second person: the rest of the first one's blob, on the first column with the second's tags.
    np.testing.assert_array_equal(people[1, 2, :2], [16.25, 30.25])
    assert people[1, 2, 2] == heatmaps[30, 16, 2]
    assert people[1, 2, 3] == 0


def test_without_refinement_and_adjustment_joints_lie_at_cell_centres():
    heatmaps, tags = empty_maps()
    blob(heatmaps, 1, 7, 21, 0.5)
    people, scores = decode(heatmaps, tags, DecoderSettings(adjust=False, refine=False))
    np.testing.assert_allclose(people, [[[0, 0, 0, 0], [7.5, 21.5, 0.5, 0], [0, 0, 0, 0]]])
    np.testing.assert_allclose(scores, [0.5 / 3], atol=1e-6)


def test_nobody():
    people, scores = decode(*empty_maps(count=17, dims=2))
    assert people.shape == (0, 17, 5)
    assert scores.shape == (0,)
    assert people.dtype == scores.dtype == np.float32


def test_peaks_at_the_border_count_whatever_lies_outside():
    heatmaps, tags = empty_maps(size=8, count=1)
    heatmaps -= 3
    heatmaps[0, 0] = 0.4
    heatmaps[7, 7] = 0.3
    people, _ = decode(heatmaps, tags)
    np.testing.assert_allclose(people[:, 0, :3], [[0.25, 0.25, 0.4], [7.75, 7.75, 0.3]])


def test_flat_maps_give_as_many_people_as_allowed():
    heatmaps, tags = np.full((48, 48, 2), 0.5, np.float32), np.zeros((48, 48, 2), np.float32)
    people, scores = decode(heatmaps, tags)
    assert people.shape == (30, 2, 4)
    np.testing.assert_allclose(scores, 0.5)


def test_equal_peaks_come_in_the_order_of_a_heap():
    # Expected: what std::partial_sort of libstdc++, and with it torch.topk on a CPU, makes of these values.
    values = np.zeros(640, np.float32)
    values[20:200:20] = [1, 2, 2, 1, 3, 2, 3, 1, 2]
    order = decoder._heap_order(values, 10)
    assert order[:9].tolist() == [100, 140, 120, 180, 40, 60, 160, 80, 20]


def test_only_the_first_people_can_be_joined():
    heatmaps, tags = empty_maps(size=64, count=2)
    tags[:] = np.arange(64)[:, None, None, None] * 3.0
    for n in range(6):
        blob(heatmaps, 0, 20, 10 * n + 5, 0.9 - 0.1 * n)
        blob(heatmaps, 1, 40, 10 * n + 5, 0.9)
    heatmaps[5::10, 40, 1] -= 0.02 * np.arange(6)
    everyone, _ = decode(heatmaps, tags, refine=False)
    assert len(everyone) == 6
    assert (everyone[:, :, 2] > 0).all()
    few, _ = decode(heatmaps, tags, refine=False, max_people=4)
    assert len(few) == 4
    stranger = heatmaps.copy()
    stranger[:, :, 0] = 0
    blob(stranger, 0, 20, 55, 0.9)
    opened, _ = decode(stranger, tags, refine=False, max_people=1)
    assert len(opened) == 2, "a candidate with another tag opens a person of its own"


def test_grouping_order_decides_who_opens_people():
    heatmaps, tags = empty_maps(count=2)
    tags[:, 16:] = 5.0
    blob(heatmaps, 0, 8, 8, 0.5)
    blob(heatmaps, 1, 24, 8, 0.9)
    first, _ = decode(heatmaps, tags, refine=False)
    second, _ = decode(heatmaps, tags, refine=False, grouping=(1, 0))
    np.testing.assert_array_equal(first, second[::-1])
    with pytest.raises(UsageError, match="each of 0 to 1 once"):
        decode(heatmaps, tags, grouping=(0, 0))


def test_one_keypoint_and_tags_without_their_last_dimension():
    heatmaps, tags = empty_maps(count=1)
    blob(heatmaps, 0, 8, 8, 0.5)
    people, scores = decode(heatmaps, tags[..., 0])
    np.testing.assert_allclose(people, [[[8.25, 8.25, 0.5, 0]]])
    np.testing.assert_allclose(scores, [0.5])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_maps_that_are_not_finite_are_refused(bad, which):
    maps = empty_maps()
    maps[which][3, 3, 1] = bad
    with pytest.raises(UsageError, match=("heatmaps", "tags")[which] + ": hold NaN or infinity"):
        decode(*maps)


@pytest.mark.parametrize(
    ("heatmaps", "tags"),
    [
        ((8, 8, 3), (8, 8, 3, 0)),
        ((0, 8, 3), (0, 8, 3, 1)),
        ((8, 8, 3), (8, 8, 2, 1)),
        ((8, 8), (8, 8)),
        ((1, 8, 8, 3), (1, 8, 8, 3)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(heatmaps, tags):
    with pytest.raises(UsageError):
        decode(np.zeros(heatmaps), np.zeros(tags))


@pytest.mark.parametrize(
    "setting", [{"nms_kernel": 4}, {"nms_kernel": 0}, {"threshold": -0.1}, {"tag_threshold": 0}, {"max_people": 0}]
)
def test_impossible_settings_are_refused(setting):
    with pytest.raises(UsageError, match=next(iter(setting))):
        DecoderSettings(**setting)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    count=st.integers(1, 5),
    dims=st.integers(1, 3),
    steps=st.sampled_from([1, 3, 1000]),  # few steps: many equal values
    max_people=st.integers(1, 6),
)
def test_random_maps(seed, height, width, count, dims, steps, max_people):
    rng = np.random.default_rng(seed)
    heatmaps = np.round(rng.normal(0, 0.4, (height, width, count)) * steps) / steps
    tags = np.round(rng.normal(0, 2, (height, width, count, dims)) * steps) / steps
    people, scores = decode(heatmaps, tags, max_people=max_people)
    assert people.shape == (len(scores), count, 3 + dims)
    assert people.dtype == scores.dtype == np.float32
    assert np.isfinite(people).all()
    assert (people[..., 2] >= 0).all()
    assert (people[..., 2] <= max(heatmaps.max(), 0) + 1e-6).all()
    assert ((people[..., :2] >= 0) & (people[..., :2] <= (width, height))).all()
    grouped, _ = decode(heatmaps, tags, max_people=max_people, refine=False)
    detected = grouped[..., 2] > 0
    assert detected.any(axis=1).all()
    assert (detected.sum(axis=0) <= max_people).all()
    assert (grouped[detected][:, 2] > DEFAULT.threshold).all()
    np.testing.assert_array_equal(people[detected], grouped[detected])
    np.testing.assert_allclose(scores, grouped[..., 2].mean(axis=1), atol=1e-6)
    x, y = grouped[..., 0].astype(int), grouped[..., 1].astype(int)
    read = heatmaps[y, x, np.arange(count)]
    np.testing.assert_allclose(grouped[..., 2][detected], read[detected], atol=1e-6)
