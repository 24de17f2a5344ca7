"""Two steps of the live decoder by themselves: greedy grouping and the sub-pixel fit."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ehrnet_tf.decoding import DecoderSettings, decoder, live

DEFAULT = DecoderSettings()


def greedy_plainly(candidates, chosen, grouping):
    """The nearest pair of a candidate and a person first, again and again; people as lists of (keypoint, candidate)."""
    people = []
    for keypoint in grouping:
        left = list(range(len(candidates[keypoint])))
        free = list(range(min(len(people), chosen.max_people)))
        while True:
            best = None
            for new in left:
                for person in free:
                    mean = np.mean([candidates[k][i][3:] for k, i in people[person]], axis=0, dtype=float)
                    distance = np.linalg.norm(candidates[keypoint][new][3:] - mean)
                    cost = 4 * np.rint(distance) + person / 1000 - candidates[keypoint][new][2]
                    if distance < chosen.tag_threshold and (best is None or cost < best[0]):
                        best = cost, new, person
            if best is None:
                break
            people[best[2]].append((keypoint, best[1]))
            left.remove(best[1])
            free.remove(best[2])
        people += [[(keypoint, new)] for new in left]
    result = np.zeros((len(people), len(candidates), candidates[0].shape[1]), np.float32)
    for person, joints in enumerate(people):
        for keypoint, new in joints:
            result[person, keypoint] = candidates[keypoint][new]
    return result


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    counts=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    dims=st.integers(1, 3),
    spread=st.sampled_from([0.3, 1.0, 3.0]),
    max_people=st.integers(1, 8),
    tag_threshold=st.sampled_from([0.5, 1.0, 3.0]),
)
def test_group_greedily_equals_a_plain_search_for_the_nearest_pair(
    seed, counts, dims, spread, max_people, tag_threshold
):
    rng = np.random.default_rng(seed)
    candidates = []
    for count in counts:
        found = rng.normal(0, spread, (count, 3 + dims)).astype(np.float32)
        found[:, 2] = np.sort(rng.uniform(0.1, 1, count))[::-1]
        candidates.append(found)
    grouping = rng.permutation(len(counts)).tolist()
    chosen = DecoderSettings(max_people=max_people, tag_threshold=tag_threshold)
    people = live.group_greedily(candidates, chosen, grouping)
    np.testing.assert_array_equal(people, greedy_plainly(candidates, chosen, grouping))


def test_a_near_pair_is_kept_that_the_optimal_assignment_gives_up():
    known = np.array([[0, 0, 0.9, 0], [9, 0, 0.8, 10]], np.float32)
    # The first is 0.9 from person 0. Rounded distances 1 + 12 > 2 + 9: the optimum would pair it with person 1.
    new = np.array([[1, 5, 0.7, 0.9], [2, 5, 0.6, -1.6]], np.float32)
    assert len(decoder.group([known, new], DEFAULT, (0, 1))) == 4
    people = live.group_greedily([known, new], DEFAULT, (0, 1))
    assert len(people) == 3
    np.testing.assert_array_equal(people[0], [known[0], new[0]])
    np.testing.assert_array_equal(people[2], [np.zeros(4), new[1]])


def test_of_people_with_equal_tags_the_first_gets_the_hottest_candidate():
    known = np.array([[0, 0, 0.9, 3], [9, 0, 0.8, 3], [18, 0, 0.7, 3]], np.float32)
    new = np.array([[0, 5, 0.6, 3], [9, 5, 0.5, 3]], np.float32)
    people = live.group_greedily([known, new], DEFAULT, (0, 1))
    np.testing.assert_array_equal(people[:, 1], [new[0], new[1], np.zeros(4)])


def test_a_candidate_joins_by_the_mean_of_all_tags_so_far():
    tags = [0.0, 0.8, 1.3, 1.6]  # means 0, 0.4, 0.7; the last is 0.9 from the mean, 1.6 from the first
    candidates = [np.array([[k, k, 0.5, tag]], np.float32) for k, tag in enumerate(tags)]
    assert len(live.group_greedily(candidates, DEFAULT, range(4))) == 1
    candidates[3][0, 3] = 1.8  # 1.1 from the mean
    assert len(live.group_greedily(candidates, DEFAULT, range(4))) == 2


def fit_plainly(windows):
    """(n, 3, 3) → offsets (n, 2), determinants (n,), whether there is a maximum (n,), by numpy's own least squares."""
    y, x = (part.ravel() - 1.0 for part in np.indices((3, 3)))
    design = np.column_stack((np.ones(9), x, y, x * x / 2, y * y / 2, x * y))
    _, b, c, d, e, f = np.linalg.lstsq(design, np.log(windows.reshape(-1, 9)).T, rcond=None)[0]
    determinant = d * e - f * f
    hessians = np.array([[d, f], [f, e]]).transpose(2, 0, 1)
    offsets = np.linalg.solve(hessians, -np.array([b, c]).T[:, :, None])[:, :, 0]
    return offsets.clip(-1, 1), determinant, (determinant > 0) & (d < 0)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), lowest=st.sampled_from([0.01, 0.3, 0.8]))
def test_fit_equals_a_least_squares_fit_to_logarithms(seed, lowest):
    windows = np.random.default_rng(seed).uniform(lowest, 1, (60, 3, 3)).astype(np.float32)
    windows[:30, 1, 1] = 1  # half of them peaks
    expected, determinant, top = fit_plainly(windows.astype(float))
    clear = np.abs(determinant) > 0.02 * np.log(lowest) ** 2
    expected[~top] = 0
    found = live.fit(windows)
    assert found.shape == (60, 2)
    np.testing.assert_allclose(found[clear], expected[clear], atol=1e-3)
    assert (np.abs(found) <= 1).all()


def test_fit_where_there_is_no_top_or_no_neighbour():
    plain, needle = np.full((3, 3), 0.4), np.zeros((3, 3))
    needle[1, 1] = 0.4
    trough = np.abs(np.indices((3, 3))[1] - 1) * 0.1 + 0.4
    corner = np.array([[0.4, 0.4, 0.2], [0.4, 0.4, 0.2], [0, 0, 0]])  # what lies beyond the edge is as the edge
    offset = live.fit(np.array([plain, needle, trough, corner], np.float32))
    np.testing.assert_allclose(offset[:3], 0, atol=1e-6)
    assert np.isfinite(offset).all() and -1 <= offset[3, 0] < 0


def test_fit_stays_in_the_middle_of_a_ridge():
    rng = np.random.default_rng(0)
    top = rng.integers(60, 250, 200) / 255  # such as an int8 network gives
    window = np.empty((200, 3, 3), np.float32)
    window[:, 1], window[:, ::2] = top[:, None], (top - rng.integers(1, 30, 200) / 255)[:, None, None]
    np.testing.assert_allclose(live.fit(window), 0, atol=1e-3)
    np.testing.assert_allclose(live.fit(window.transpose(0, 2, 1)), 0, atol=1e-3)


def test_a_neighbour_counts_a_thousandth_of_the_peak_at_least():
    window = np.full((3, 3, 3), 0.5, np.float32) * np.array([1, 1, 1e-20], np.float32)[:, None, None]
    window[:, :, 2] = np.array([0.5e-3, 0, 0])[:, None]
    offset = live.fit(window)
    np.testing.assert_allclose(offset[1], offset[0], atol=1e-5)
    np.testing.assert_allclose(offset[2], offset[0], atol=1e-5)
