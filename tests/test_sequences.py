"""Time, presence and extents."""

import numpy as np
import pytest

from ehrnet_tf.errors import UsageError
from ehrnet_tf.sequences import Clock, extents, found


def test_time_never_runs_backwards():
    clock = Clock()
    given = [100.0, 100.5, 100.5, 99.0, 99.25, -7, -6]
    assert [clock.advance(seconds) for seconds in given] == [0, 0.5, 0.5, 0.5, 0.75, 0.75, 1.75]


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), None, "soon", np.zeros(2)])
def test_times_that_are_no_numbers_are_refused_and_leave_the_clock_alone(seconds):
    clock = Clock()
    clock.advance(1)
    with pytest.raises(UsageError, match="finite number of seconds"):
        clock.advance(seconds)
    assert clock.advance(1.5) == 0.5


def test_what_is_there_and_how_large():
    people = np.array(
        [
            [[10, 20, 0.5], [40, 25, 1], [99, 99, 0]],
            [[np.nan, 5, 1], [7, 5, 1], [np.inf, 5, 1]],
            [[1, 2, np.nan], [3, 4, np.inf], [5, 6, -1]],
        ],
        np.float32,
    )
    present = found(people)
    assert present.tolist() == [[True, True, False], [False, True, False], [False] * 3]
    sizes = extents(people, present)
    assert sizes.tolist() == [[30, 5], [0, 0], [0, 0]]
    assert sizes.dtype == np.float32
