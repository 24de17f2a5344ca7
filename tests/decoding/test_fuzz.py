"""The exact decoder against its plain description, on maps that nobody has chosen."""

import heapq

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from ehrnet_tf.decoding import DecoderSettings, decode, decoder, reference
from ehrnet_tf.errors import UsageError

SEEDS = st.integers(0, 2**32 - 1)
# The two decoders round differently; once in ten thousand maps the rounding of a distance decides. Hence the same
# examples every time.
SAME = {"deadline": None, "derandomize": True}


def compare(heatmaps, tags, chosen, grouping=None):
    """Decodes both ways; gives the people and the most people that lack one and the same joint before refinement."""
    people, scores = decode(heatmaps, tags, chosen, grouping)
    expected, expected_scores = reference.decode_plainly(heatmaps, tags, chosen, grouping)
    assert people.shape == expected.shape
    assert people.dtype == scores.dtype == np.float32
    np.testing.assert_allclose(people, expected, atol=1e-4)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-4)
    if not len(people):
        return people, 0
    unrefined, _ = decode(heatmaps, tags, chosen, grouping, refine=False)
    return people, (unrefined[:, :, 2] == 0).sum(axis=0).max()


@settings(max_examples=400, **SAME)
@given(
    seed=SEEDS,
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    count=st.integers(1, 5),
    dims=st.integers(1, 4),
    spread=st.sampled_from([0.3, 1.0, 4.0]),
    max_people=st.sampled_from([1, 2, 3, 8, 30]),
    kernel=st.sampled_from([1, 3, 5]),
    threshold=st.sampled_from([0.0, 0.1, 0.5]),
    options=st.fixed_dictionaries({"adjust": st.booleans(), "refine": st.sampled_from([True, True, False])}),
)
@example(1, 40, 39, 3, 1, 4.0, 20, 5, 0.1, {})
@example(2, 1, 1, 1, 4, 1.0, 1, 1, 0.0, {})
@example(3, 1, 40, 2, 2, 1.0, 3, 3, 0.1, {})
def test_random_maps(seed, height, width, count, dims, spread, max_people, kernel, threshold, options):
    rng = np.random.default_rng(seed)
    heatmaps = rng.normal(0, 0.4, (height, width, count)).astype(np.float32)
    tags = rng.normal(0, spread, (height, width, count, dims)).astype(np.float32)
    chosen = DecoderSettings(nms_kernel=kernel, threshold=threshold, max_people=max_people, **options)
    compare(heatmaps, tags, chosen, tuple(rng.permutation(count).tolist()))


@pytest.mark.parametrize(("count", "dims"), [(17, 1), (17, 2), (133, 1)])
def test_as_many_keypoints_as_real_sets_have(count, dims):
    rng = np.random.default_rng(count)
    heatmaps = rng.normal(0, 0.3, (24, 30, count)).astype(np.float32)
    tags = rng.normal(0, 0.7, (24, 30, count, dims)).astype(np.float32)
    people, lacking = compare(heatmaps, tags, DecoderSettings(max_people=11))  # 65 cells a person
    assert people.shape[1:] == (count, 3 + dims)
    assert lacking >= 3, "many look for the same joint at once"


@settings(max_examples=150, **SAME)
@given(
    seed=SEEDS,
    number=st.integers(0, 30),
    size=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    dims=st.integers(1, 2),
    missing=st.sampled_from([0.0, 0.3, 0.7]),
    noise=st.sampled_from([0.0, 0.2]),
)
@example(0, 30, (40, 40), 1, 0.7, 0.2)
@example(1, 0, (20, 20), 1, 0.0, 0.0)
def test_scenes_of_people(seed, number, size, dims, missing, noise):
    rng = np.random.default_rng(seed)
    heatmaps = np.zeros((*size, 4), np.float32)
    tags = np.zeros((*size, 4, dims), np.float32)
    rows, columns = np.indices(size) + 0.5
    for person in range(number):
        for k in range(4):
            if rng.random() < missing:
                continue
            x, y = rng.uniform(0, size[1]), rng.uniform(0, size[0])
            square = (columns - x) ** 2 + (rows - y) ** 2
            heatmaps[..., k] = np.maximum(heatmaps[..., k], rng.uniform(0.2, 1) * np.exp(-square / 8))
            tags[..., k, :][square < 9] = 2 * person + noise * rng.normal(size=dims)
    compare(heatmaps, tags, DecoderSettings())


def test_scenes_in_which_many_lack_the_same_joint():
    """The whole of `refine` with its search in two steps, for maps larger than the sample that it draws."""
    rng = np.random.default_rng(5)
    heatmaps = np.zeros((96, 96, 3), np.float32)
    tags = rng.normal(0, 0.1, (96, 96, 3, 1)).astype(np.float32)
    tags += 3 * (np.arange(96) // 8)[:, None, None, None]  # a person to every eight rows
    heatmaps[4::8, 10, 0] = rng.uniform(0.5, 0.9, 12)
    heatmaps[..., 1] = rng.uniform(0, 0.09, (96, 96))  # never a candidate, always something to find
    heatmaps[..., 2] = 0.09 * rng.uniform(0, 1, (96, 96)) * (np.arange(96)[:, None] > 50)
    people, lacking = compare(heatmaps, tags, DecoderSettings())
    assert (len(people), lacking) == (12, 12)
    assert (people[:, 1, 2] > 0.08).all()
    assert ((people[:, 2, 2] > 0) == (people[:, 0, 1] > 48)).all()


@settings(max_examples=60, **SAME)
@given(
    seed=SEEDS,
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    count=st.integers(1, 4),
    steps=st.sampled_from([1, 2, 5]),
)
def test_equal_values_in_small_maps_go_row_by_row(seed, height, width, count, steps):
    assume(height * width < 64 * 6)
    rng = np.random.default_rng(seed)
    heatmaps = np.round(rng.uniform(0, 1, (height, width, count)) * steps) / steps
    tags = np.round(rng.normal(0, 2, (height, width, count)))
    compare(heatmaps.astype(np.float32), tags.astype(np.float32), DecoderSettings(max_people=6))


def dense_best(heat, tags, mean):
    return int(np.argmax(heat - np.rint(np.sqrt(np.square(tags - mean[:, None]).sum(axis=0)))))


@settings(max_examples=150, deadline=None)
@given(
    seed=SEEDS,
    cells=st.one_of(st.integers(1, 40), st.integers(1000, 5000)),
    dims=st.integers(1, 3),
    people=st.integers(1, 8),
    steps=st.sampled_from([1, 2, 4, 1000]),  # few steps: many equal values
    spread=st.sampled_from([0.5, 2.0, 10.0]),
)
def test_best_cells_are_those_of_a_search_everywhere(seed, cells, dims, people, steps, spread):
    rng = np.random.default_rng(seed)
    heat = (np.round(rng.uniform(-0.2, 1, cells) ** 3 * steps) / steps).astype(np.float32)
    tags = (np.round(rng.normal(0, spread, (dims, cells)) * 4) / 4).astype(np.float32)
    means = (np.round(rng.normal(0, 2 * spread, (people, dims)) * 4) / 4).astype(np.float32)
    found = decoder._best_cells(heat, tags, means)
    assert found.tolist() == [dense_best(heat, tags, mean) for mean in means]
    one_by_one = [int(decoder._best_cells(heat, tags, mean[None])[0]) for mean in means]
    assert found.tolist() == one_by_one, "both ways, for three and more and for fewer"


def test_of_equal_best_cells_the_first_is_taken_on_both_ways():
    assert decoder._WORTH_SORTING == 3
    heat = np.zeros(4096, np.float32)
    heat[[100, 2000, 4000]] = 0.5  # the hottest sixteenth holds zeros as well
    tags = np.zeros((1, 4096), np.float32)
    tags[0, :2000] = 7
    means = np.array([[0], [7], [40], [7]], np.float32)
    for people in (1, 2, 3, 4):
        # For the third all are far away: 0.5 - 33 at cell 100, 0 - 40 at most elsewhere below 2000.
        assert decoder._best_cells(heat, tags, means[:people]).tolist() == [2000, 100, 100, 100][:people]
    assert decoder._best_cells(np.ones(4096, np.float32), np.zeros_like(tags), means).tolist() == [0] * 4
    far = np.where(np.arange(4096) < 4095, 9, 0).astype(np.float32)[None]
    heat = np.where(np.arange(4096) < 1000, 1, 0.1).astype(np.float32)
    # One cold cell has the tag: the search in the hottest cells finds 1 - 9, and must go on.
    assert decoder._best_cells(heat, far, np.zeros((3, 1), np.float32)).tolist() == [4095] * 3


def test_equal_maps_give_as_many_people_as_allowed():
    heatmaps, tags = np.full((256, 256, 1), 0.5, np.float32), np.zeros((256, 256, 1), np.float32)
    people, scores = decode(heatmaps, tags)
    assert people.shape == (30, 1, 4)
    np.testing.assert_array_equal(scores, 0.5)
    assert decode(heatmaps, tags, max_people=7)[0].shape == (7, 1, 4)
    assert len(decode(heatmaps, tags, threshold=0.5)[0]) == 0


@pytest.mark.parametrize("tag", ["one", "each its own"])
def test_thousands_of_equal_peaks(tag):
    heatmaps, tags = np.zeros((256, 256, 2), np.float32), np.zeros((256, 256, 2), np.float32)
    heatmaps[::3, ::3] = 0.7
    if tag != "one":
        tags[:] = 2.0 * np.arange(256 * 256).reshape(256, 256, 1)
    people, scores = decode(heatmaps, tags)
    assert people.shape == (30, 2, 4)
    np.testing.assert_allclose(people[:, :, 2], 0.7)
    np.testing.assert_allclose(scores, 0.7)
    cells = people[:, :, :2].astype(int)
    assert (cells % 3 == 0).all()
    assert len(np.unique(cells[:, 0], axis=0)) == len(np.unique(cells[:, 1], axis=0)) == 30
    if tag != "one":
        np.testing.assert_array_equal(cells[:, 0], cells[:, 1])


@settings(max_examples=30, deadline=None)
@given(
    which=st.integers(0, 1),
    place=st.tuples(st.integers(0, 8), st.integers(0, 10), st.integers(0, 2)),
    bad=st.sampled_from([np.nan, np.inf, -np.inf]),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
)
def test_maps_that_are_not_finite_are_refused(which, place, bad, dtype):
    maps = np.zeros((9, 11, 3), dtype), np.zeros((9, 11, 3), dtype)
    maps[which][place] = bad
    with pytest.raises(UsageError, match=("heatmaps", "tags")[which] + ": hold NaN or infinity"):
        decode(*maps)


class Item:
    """A value that compares by its heat alone, as the elements of the reference's heap do."""

    def __init__(self, heat, index):
        self.heat, self.index = heat, index

    def __lt__(self, other):
        return self.heat < other.heat


def heap_order_plainly(values, count):
    heap = [Item(value, index) for index, value in enumerate(values[:count])]
    heapq.heapify(heap)
    for index in range(count, len(values)):
        if heap[0].heat < values[index]:
            heapq.heapreplace(heap, Item(values[index], index))
    return [heapq.heappop(heap).index for _ in range(count)][::-1]


@settings(max_examples=100, deadline=None)
@given(
    seed=SEEDS,
    length=st.one_of(st.integers(1, 60), st.integers(900, 4000)),
    count=st.integers(1, 40),
    highest=st.sampled_from([0, 1, 3, 100]),
    rising=st.booleans(),
)
def test_heap_order_equals_a_plain_loop(seed, length, count, highest, rising):
    assume(count <= length)
    values = np.random.default_rng(seed).integers(0, highest + 1, length).astype(np.float32)
    if rising:
        values = np.sort(values)  # the heap's lowest changes within every chunk
    order = decoder._heap_order(values, count)
    assert order.tolist() == heap_order_plainly(values.tolist(), count)
    assert len(set(order.tolist())) == count
    np.testing.assert_array_equal(values[order], np.sort(values)[::-1][:count])
