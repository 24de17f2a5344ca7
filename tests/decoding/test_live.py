"""The live decoder: scenes with known answers, random maps, and its parts against plain definitions."""

import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ehrnet_tf.decoding import DecoderSettings, decode_live
from ehrnet_tf.errors import UsageError

DEFAULT = DecoderSettings()


def gaussian(maps, keypoint, x, y, height=1.0, sigma=2.0):
    """Draws a peak at x, y in the continuous frame: the centre of cell j lies at j + 0.5."""
    rows, columns = np.indices(maps.shape[:2]) + 0.5
    peak = height * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    maps[:, :, keypoint] = np.maximum(maps[:, :, keypoint], peak)


def empty_maps(size=32, count=3, dims=1):
    return np.zeros((size, size, count), np.float32), np.zeros((size, size, count, dims), np.float32)


def two_people(dims=1):
    """Maps 40x40 of two people left and right of column 20, and their places."""
    heatmaps, tags = empty_maps(40, 3, dims)
    tags[:, 20:] = 5.0
    places = np.array([[(8.3, 9.7), (10.02, 20.5), (7.5, 30.99)], [(30.85, 8.15), (28.6, 21.4), (33.25, 31.75)]])
    heights = np.array([[0.9, 0.5, 0.6], [0.8, 0.75, 0.4]])
    for person, joints in enumerate(places):
        for k, (x, y) in enumerate(joints):
            gaussian(heatmaps, k, x, y, heights[person, k])
    return heatmaps, tags, places, heights


@pytest.mark.parametrize("dims", [1, 2, 4])
def test_two_people_by_hand(dims):
    heatmaps, tags, places, heights = two_people(dims)
    people, scores = decode_live(heatmaps, tags)
    assert people.shape == (2, 3, 3 + dims)
    np.testing.assert_allclose(people[:, :, :2], places, atol=0.05)
    read = heatmaps[places[..., 1].astype(int), places[..., 0].astype(int), [0, 1, 2]]
    np.testing.assert_array_equal(people[:, :, 2], read)
    np.testing.assert_allclose(people[:, :, 2], heights, atol=0.07)
    np.testing.assert_array_equal(people[:, :, 3:], np.full((2, 3, dims), [[[0]], [[5]]]))
    np.testing.assert_allclose(scores, read.mean(axis=1), atol=1e-6)


def test_people_stand_in_the_order_of_opening():
    heatmaps, tags, places, _ = two_people()
    heatmaps[:, :20] /= 4
    people, _ = decode_live(heatmaps, tags)
    np.testing.assert_allclose(people[:, :, :2], places[::-1], atol=0.05)


def test_tags_without_their_last_dimension_and_in_other_types():
    heatmaps, tags, _, _ = two_people()
    people, scores = decode_live(heatmaps, tags)
    for other in (tags[..., 0], tags.astype(np.float16), tags.astype(np.float64), tags.astype(np.int32)):
        again, same = decode_live(heatmaps, other)
        np.testing.assert_array_equal(again, people)
        np.testing.assert_array_equal(same, scores)
    again, _ = decode_live(heatmaps.transpose(1, 0, 2).copy().transpose(1, 0, 2), tags)
    np.testing.assert_array_equal(again, people)


def test_inputs_stay_as_they_were():
    heatmaps, tags, _, _ = two_people()
    copies = heatmaps.copy(), tags.copy()
    decode_live(heatmaps, tags, region=(2, 2, 38, 38))
    np.testing.assert_array_equal(heatmaps, copies[0])
    np.testing.assert_array_equal(tags, copies[1])


def test_coarse_tags_are_read_under_the_cells_centres():
    heatmaps, tags, _, _ = two_people()
    people, _ = decode_live(heatmaps, tags)
    again, _ = decode_live(heatmaps, tags[::2, ::2])
    np.testing.assert_array_equal(again, people)
    heatmaps, _ = empty_maps(12, 1)
    for y in (3, 10):
        for x in (1, 8):
            heatmaps[y, x] = 0.5 + y / 100
    tags = np.arange(24.0).reshape(4, 6, 1)  # three rows and two columns of heat-map cells to one of tags
    people, _ = decode_live(heatmaps, tags, tag_threshold=0.1)
    np.testing.assert_array_equal(people[:, 0, 3], [18, 22, 6, 10])


def test_tags_of_another_ratio():
    heatmaps = np.zeros((3, 9, 1), np.float32)
    heatmaps[1, ::3, 0] = 0.9, 0.8, 0.7
    heatmaps[1, 2::3, 0] = 0.6, 0.5, 0.4
    people, _ = decode_live(heatmaps, np.arange(2.0).reshape(2, 1, 1), nms_kernel=1)
    np.testing.assert_array_equal(people[:, 0, 3], 1)  # the middle of the second of three rows lies on the border
    people, _ = decode_live(heatmaps, np.arange(4.0).reshape(1, 4, 1), nms_kernel=1)
    np.testing.assert_array_equal(people[:, 0, 3], [0, 1, 2, 1, 2, 3])  # columns 0, 3, 6, 2, 5, 8 of nine


def test_cells_outside_the_region_count_as_empty():
    heatmaps, tags, places, _ = two_people()
    people, scores = decode_live(heatmaps, tags, region=(3, 0, 38, 20))
    assert people.shape == (1, 3, 4)
    np.testing.assert_allclose(people[0, :, :2], places[0], atol=0.05)
    np.testing.assert_allclose(scores, decode_live(heatmaps, tags)[1][:1])
    whole, _ = decode_live(heatmaps, tags, region=(0, 0, 40, 40))
    np.testing.assert_array_equal(whole, decode_live(heatmaps, tags)[0])
    assert decode_live(heatmaps, tags, region=(0, 18, 40, 21), threshold=0.3)[0].shape == (0, 3, 4)
    assert decode_live(heatmaps, tags, region=(5, 5, 5, 9))[0].shape == (0, 3, 4), "a region of no cells"


def test_a_region_reads_the_tags_of_its_own_cells():
    heatmaps, tags, places, _ = two_people()
    people, _ = decode_live(heatmaps, tags[::2, ::2], region=(3, 20, 38, 40))
    np.testing.assert_allclose(people[0, :, :2], places[1], atol=0.05)
    np.testing.assert_array_equal(people[0, :, 3], 5)


@pytest.mark.parametrize("adjust", [True, False])
def test_a_higher_cell_beyond_the_region_is_as_if_it_were_not(adjust):
    heatmaps, tags = empty_maps(16, 1)
    heatmaps[6:9, 4:] = np.arange(0.2, 1.4, 0.1)[:, None]
    heatmaps[7, 4:] += 0.05
    people, _ = decode_live(heatmaps, tags, region=(0, 0, 16, 10), adjust=adjust)
    assert people.shape == (1, 1, 4)
    x, y, score, _ = people[0, 0]
    assert score == heatmaps[7, 9, 0]
    assert y == pytest.approx(7.5, abs=1e-5)
    assert 9 <= x <= 10 and (adjust or x == 9.5)
    clean = np.where(np.arange(16)[:, None] < 10, heatmaps, 0)
    assert decode_live(clean, tags, region=(0, 0, 16, 10), adjust=adjust)[0].tolist() == people.tolist()


def test_nobody():
    people, scores = decode_live(*empty_maps(count=17, dims=2))
    assert people.shape == (0, 17, 5)
    assert scores.shape == (0,)
    assert people.dtype == scores.dtype == np.float32


@pytest.mark.parametrize("count", [1, 133])
def test_any_number_of_keypoints(count):
    heatmaps, tags = empty_maps(16, count)
    tags[8:] = 3
    for k in range(count):
        gaussian(heatmaps, k, 3.25 + k % 9, 3.5, 0.9, sigma=1)
        gaussian(heatmaps, k, 12.75 - k % 9, 12.5, 0.8, sigma=1)
    people, scores = decode_live(heatmaps, tags)
    assert people.shape == (2, count, 4)
    np.testing.assert_allclose(people[0, :, 0], 3.25 + np.arange(count) % 9, atol=0.05)
    np.testing.assert_allclose(people[1, :, 0], 12.75 - np.arange(count) % 9, atol=0.05)
    np.testing.assert_array_equal(people[:, :, 3], np.repeat([[0.0], [3]], count, axis=1))
    np.testing.assert_allclose(scores, people[:, :, 2].mean(axis=1), rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1)])
def test_maps_of_one_pixel_or_one_line(shape):
    heatmaps, tags = np.zeros((*shape, 2), np.float32), np.full((1, 1, 2), 4.0)
    heatmaps[-1, -1] = 0.5, 0.25
    people, scores = decode_live(heatmaps, tags, adjust=False)
    np.testing.assert_allclose(people, [[[shape[1] - 0.5, shape[0] - 0.5, h, 4] for h in (0.5, 0.25)]])
    assert np.abs(decode_live(heatmaps, tags)[0] - people).max() <= 0.5
    np.testing.assert_allclose(scores, [0.375])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_maps_that_are_not_finite_are_refused(bad, dtype):
    heatmaps, tags, _, _ = two_people()
    heatmaps, tags = heatmaps.astype(dtype), tags.astype(dtype)
    broken = heatmaps.copy()
    broken[39, 0, 1] = bad
    with pytest.raises(UsageError, match="heatmaps: hold NaN or infinity"):
        decode_live(broken, tags)
    with pytest.raises(UsageError, match="heatmaps: hold NaN or infinity"):
        decode_live(broken, tags, region=(0, 10, 30, 30))
    tags[9, 8, 0] = bad
    with pytest.raises(UsageError, match="tags: hold NaN or infinity"):
        decode_live(heatmaps, tags)


def test_what_float32_cannot_hold_is_refused():
    heatmaps, tags = empty_maps()
    heatmaps, tags = heatmaps.astype(float), tags.astype(float)
    for maps in ((heatmaps + 1e300, tags), (heatmaps + 1, tags + 1e300)):
        with warnings.catch_warnings(), pytest.raises(UsageError, match="NaN or infinity"):
            warnings.simplefilter("ignore")
            decode_live(*maps)


def test_huge_heat_is_no_infinity():
    heatmaps, tags = empty_maps()
    heatmaps[9, 9] = 3e38  # its square overflows
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        people, scores = decode_live(heatmaps, tags, refine=False)
    np.testing.assert_array_equal(people[0, :, :2], 9.5)
    assert np.isfinite(people).all() and len(scores) == 1


@pytest.mark.parametrize(
    ("heatmaps", "tags"),
    [
        ((8, 8, 3), (4, 4, 3, 0)),
        ((0, 8, 3), (4, 4, 3, 1)),
        ((8, 8, 3), (0, 4, 3)),
        ((8, 8, 0), (4, 4, 0)),
        ((8, 8, 3), (4, 4, 2, 1)),
        ((8, 8), (8, 8)),
        ((8, 8, 3), (4, 4)),
        ((1, 8, 8, 3), (1, 8, 8, 3)),
        ((8, 8, 3), (1, 8, 8, 3, 1)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(heatmaps, tags):
    with pytest.raises(UsageError, match="heatmaps"):
        decode_live(np.zeros(heatmaps), np.zeros(tags))


def test_impossible_settings_and_groupings_are_refused():
    maps = empty_maps()
    with pytest.raises(UsageError, match="nms_kernel"):
        decode_live(*maps, nms_kernel=4)
    with pytest.raises(UsageError, match="each of 0 to 2 once"):
        decode_live(*maps, grouping=(0, 1))


def test_grouping_order_decides_who_opens_people():
    heatmaps, tags, places, _ = two_people()
    heatmaps[:, 20:, 0] = 0
    first, _ = decode_live(heatmaps, tags)
    second, _ = decode_live(heatmaps, tags, grouping=(1, 0, 2))
    np.testing.assert_array_equal(first, second[::-1])
    np.testing.assert_allclose(first[0, :, :2], places[0], atol=0.05)


def test_of_equal_neighbours_the_first_is_the_candidate():
    heatmaps, tags = empty_maps(16, 1)
    heatmaps[4, 4:6] = heatmaps[9:11, 9] = 0.5  # as an integer network gives where a joint lies between two cells
    people, _ = decode_live(heatmaps, tags)
    np.testing.assert_allclose(people[:, 0, :2], [[5, 4.5], [9.5, 10]])


def test_equal_maps_give_one_person():
    heatmaps, tags = np.full((48, 40, 2), 0.5, np.float32), np.zeros((24, 20, 2), np.float32)
    people, scores = decode_live(heatmaps, tags)
    np.testing.assert_array_equal(people, [[[0.5, 0.5, 0.5, 0]] * 2])
    np.testing.assert_array_equal(scores, 0.5)
    assert decode_live(np.zeros_like(heatmaps), tags)[0].shape == (0, 2, 4)


def test_thousands_of_equal_peaks_give_as_many_people_as_allowed():
    heatmaps, tags = np.zeros((256, 256, 2), np.float32), np.zeros((128, 128, 2), np.float32)
    heatmaps[::3, ::3] = 0.7
    people, scores = decode_live(heatmaps, tags)
    assert people.shape == (30, 2, 4)
    np.testing.assert_allclose(scores, 0.7)
    assert decode_live(heatmaps, tags, max_people=3)[0].shape == (3, 2, 4)


def test_more_than_thirty_people():
    heatmaps, tags = empty_maps(48, 2)
    y, x = (part.ravel()[:35] for part in np.mgrid[3:48:7, 3:48:7])
    heatmaps[y, x, 0] = np.linspace(0.9, 0.6, 35)
    heatmaps[y, x, 1] = np.linspace(0.6, 0.9, 35)
    tags[y, x, :, 0] = 3.0 * np.arange(35)[:, None]
    everyone, _ = decode_live(heatmaps, tags, max_people=40)
    np.testing.assert_array_equal(everyone[:, :, 3], np.repeat(3.0 * np.arange(35)[:, None], 2, axis=1))
    people, _ = decode_live(heatmaps, tags, refine=False)
    assert (people[:30, 0, 2] > 0).all(), "thirty candidates a keypoint"
    assert len(people) == 35, "of keypoint 1's thirty, five belong to nobody of keypoint 0's and open people"
    np.testing.assert_array_equal(np.sort(people[30:, 1, 3]), 3.0 * np.arange(30, 35))
    assert ((people[:, :, 2] > 0).sum(axis=0) == 30).all()
    assert (people[:5, 1, 2] == 0).all()
    refined, _ = decode_live(heatmaps, tags)
    assert (refined[:30, :, 2] > 0).all()
    np.testing.assert_array_equal(refined[30:], people[30:], "only the first thirty are refined")
    np.testing.assert_array_equal(refined[:5, 1, 2], heatmaps[y[:5], x[:5], 1])
    few, _ = decode_live(heatmaps, tags, max_people=2, refine=False)
    assert (few[:, :, 2] > 0).tolist() == [[True, False], [True, False], [False, True], [False, True]]


def test_only_candidates_above_the_threshold_that_top_their_window():
    heatmaps, tags = empty_maps(16, 1)
    heatmaps[4, 4], heatmaps[4, 6], heatmaps[9, 9], heatmaps[13, 2] = 0.5, 0.4, 0.2, 0.1
    tags[4, 6] = 5
    assert decode_live(heatmaps, tags)[0][:, 0, 2].tolist() == pytest.approx([0.5, 0.2])
    assert len(decode_live(heatmaps, tags, nms_kernel=3)[0]) == 3
    assert len(decode_live(heatmaps, tags, nms_kernel=13)[0]) == 1
    assert len(decode_live(heatmaps, tags, threshold=0.05)[0]) == 3
    assert len(decode_live(heatmaps, tags, threshold=0.2)[0]) == 1, "the heat must be greater"
    assert len(decode_live(heatmaps, tags, nms_kernel=1, threshold=0)[0]) == 4
    assert len(decode_live(heatmaps - 1, tags, threshold=0)[0]) == 0


@pytest.fixture
def shoulder():
    """Two people; the first lacks keypoint 1, but a slope of the second's peak has the first's tag."""
    heatmaps, tags = empty_maps(32, 2)
    gaussian(heatmaps, 0, 8.5, 8.5, 0.9)
    gaussian(heatmaps, 0, 24.5, 8.5, 0.8)
    gaussian(heatmaps, 1, 20.5, 20.5, 0.7)
    tags[:, 18:] = 5
    return heatmaps, tags


def test_refinement_takes_the_hottest_cell_of_the_persons_own_tag(shoulder):
    heatmaps, tags = shoulder
    people, scores = decode_live(heatmaps, tags)
    heat = heatmaps[20, 17, 1]
    assert heat == pytest.approx(0.7 * np.exp(-9 / 8))
    np.testing.assert_allclose(people[0, 1], [17.75, 20.25, heat, 0])
    np.testing.assert_allclose(people[1, 1], [20.5, 20.5, 0.7, 5], atol=1e-3)
    np.testing.assert_allclose(scores, [0.9 / 2, (0.8 + 0.7) / 2], atol=1e-6)
    unrefined, same = decode_live(heatmaps, tags, refine=False)
    np.testing.assert_array_equal(unrefined[0, 1], 0)
    np.testing.assert_array_equal(same, scores)
    np.testing.assert_array_equal(np.delete(unrefined.reshape(4, 4), 1, 0), np.delete(people.reshape(4, 4), 1, 0))
    moved, _ = decode_live(heatmaps, tags, region=(1, 1, 32, 32))
    np.testing.assert_allclose(moved, people, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"threshold": 0.2}, True),
        ({"threshold": 0.25}, False),  # the slope reaches 0.227
        ({"tag": 0.49}, True),
        ({"tag": 0.6}, False),
        ({"tag": -0.6}, False),
    ],
)
def test_refinement_wants_heat_above_the_threshold_and_a_tag_alike(shoulder, change, found):
    heatmaps, tags = shoulder
    tags[12:, :18] = change.get("tag", 0)
    people, _ = decode_live(heatmaps, tags, threshold=change.get("threshold", 0.1))
    assert (people[:, :, 2] > 0).tolist() == [[True, found], [True, True]]


def test_without_adjustment_joints_lie_at_cell_centres():
    heatmaps, tags, places, _ = two_people()
    people, scores = decode_live(heatmaps, tags, adjust=False)
    np.testing.assert_array_equal(people[:, :, :2], np.floor(places) + 0.5)
    adjusted, same = decode_live(heatmaps, tags)
    np.testing.assert_array_equal(people[:, :, 2:], adjusted[:, :, 2:])
    np.testing.assert_array_equal(scores, same)


def refine_plainly(person, plane, plane_tags):
    """x, y and heat of the cell with the highest heat - round(distance to the person's mean tag), if above 0."""
    own = person[person[:, 2] > 0, 3:]
    distance = np.linalg.norm(plane_tags - own.sum(axis=0) / np.float32(len(own)), axis=2)
    value = np.where(plane > DEFAULT.threshold, plane - np.rint(distance), 0)
    y, x = np.unravel_index(value.argmax(), value.shape)
    return [x, y, plane[y, x]] if value[y, x] > 0 else [0, 0, 0]


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    tag_size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    count=st.integers(1, 5),
    dims=st.integers(1, 3),
    steps=st.sampled_from([1, 3, 1000]),  # few steps: many equal values
    max_people=st.integers(1, 6),
    kernel=st.sampled_from([1, 3, 5, 7]),
)
@example(0, (9, 9), (5, 5), 300, 1, 1000, 4, 5)
def test_random_maps(seed, size, tag_size, count, dims, steps, max_people, kernel):
    rng = np.random.default_rng(seed)
    heatmaps = (np.round(rng.normal(0, 0.4, (*size, count)) * steps) / steps).astype(np.float32)
    tags = np.round(rng.normal(0, 2, (*tag_size, count, dims)) * steps) / steps
    options = {"max_people": max_people, "nms_kernel": kernel}
    people, scores = decode_live(heatmaps, tags, **options)
    assert people.shape == (len(scores), count, 3 + dims)
    assert people.dtype == scores.dtype == np.float32
    assert np.isfinite(people).all()
    assert (people[..., :2] >= -0.5).all() and (people[..., :2] <= np.array(size[::-1]) + 0.5).all()
    assert (people[people[..., 2] == 0] == 0).all(), "an absent joint is all 0"
    grouped, same = decode_live(heatmaps, tags, refine=False, adjust=False, **options)
    np.testing.assert_array_equal(same, scores)
    np.testing.assert_allclose(scores, grouped[..., 2].mean(axis=1), atol=1e-6)
    detected = grouped[..., 2] > 0
    assert detected.any(axis=1).all()
    assert (detected.sum(axis=0) <= max_people).all()
    assert (people[..., 2] != 0).sum() >= detected.sum()
    assert (people[..., 2][people[..., 2] != 0] > DEFAULT.threshold).all()
    np.testing.assert_array_equal(people[detected][:, 2:], grouped[detected][:, 2:])
    assert np.abs(people[detected][:, :2] - grouped[detected][:, :2]).max(initial=0) <= 1
    rows, columns = ((2 * np.arange(n) + 1) * m // (2 * n) for n, m in zip(size, tag_size, strict=True))
    cell_tags = tags[rows][:, columns].astype(np.float32)
    for person, joint in np.argwhere(~detected):
        x, y, score, *rest = people[person, joint]
        assert not np.any(rest)
        expected = refine_plainly(grouped[person], heatmaps[:, :, joint], cell_tags[:, :, joint])
        assert [int(x), int(y), score] == (expected if person < max_people else [0, 0, 0])
    # Every candidate is the first maximum of its window, and none of the hottest is forgotten.
    reach = kernel // 2
    padded = np.pad(heatmaps, ((reach, reach), (reach, reach), (0, 0)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (0, 1))
    near = slice(max(0, reach - 1), reach + 2)
    earlier = windows[..., near, near].reshape(*heatmaps.shape, -1)[..., : 4 if reach else 0]
    first = (heatmaps == windows.max(axis=(3, 4))) & (earlier < heatmaps[..., None]).all(axis=3)
    tops = np.where(first & (heatmaps > 0.1), heatmaps, 0)
    for k in range(count):
        expected = np.sort(tops[:, :, k].ravel())[::-1][:max_people]
        np.testing.assert_array_equal(np.sort(grouped[detected[:, k], k, 2])[::-1], expected[expected > 0])
