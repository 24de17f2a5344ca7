"""Batches, futures and threads: the same people as one picture after the other."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import painted
from ehrnet_tf.runtime import PoseEstimator
from ehrnet_tf.runtime.runners import KerasRunner

FILE = Path(__file__).parents[1] / "golden" / "android" / "painted_int8.tflite"


@pytest.fixture(scope="module")
def estimator():
    return PoseEstimator(FILE)


@pytest.fixture(scope="module")
def pictures():
    shifts = [(x, y) for x in (-6, 0, 6) for y in (-4, 0, 4)]
    return [painted.picture(shift) for shift in shifts] + [painted.wide_picture()]


@pytest.fixture(scope="module")
def expected(estimator, pictures):
    found = [estimator(picture) for picture in pictures]
    assert all(len(poses) == 2 for poses in found)
    assert np.abs(found[0].keypoints - found[8].keypoints).max() > 5
    return found


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.keypoints, other.keypoints)
        assert one.image_size == other.image_size


def test_a_batch(estimator, pictures, expected):
    assert_same(estimator.batch(pictures), expected)
    assert estimator.batch([]) == []


def test_a_batch_of_a_network_that_takes_several_pictures_at_once(pictures):
    model = painted.paint(painted.tiny(keypoints=painted.PEOPLE))
    from ehrnet_tf.runtime.metadata import model_metadata

    estimator = PoseEstimator(KerasRunner(model, metadata=model_metadata(model, keypoints=painted.SET)))
    for found, alone in zip(estimator.batch(pictures), [estimator(picture) for picture in pictures], strict=True):
        np.testing.assert_allclose(found.keypoints, alone.keypoints, atol=1e-2)


def test_futures(estimator, pictures, expected):
    assert_same([future.result() for future in [estimator.submit(p) for p in pictures]], expected)
    with pytest.raises(Exception, match="no picture"):
        estimator.submit(np.zeros(3)).result()


def test_coroutines(estimator, pictures, expected):
    async def all_of_them():
        return await asyncio.gather(*(asyncio.wrap_future(estimator.submit(p)) for p in pictures))

    assert_same(asyncio.run(all_of_them()), expected)


def test_many_threads_share_an_estimator(estimator, pictures, expected):
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert_same(list(pool.map(estimator, pictures)), expected)


def test_the_network_runs_for_one_thread_at_a_time(estimator, monkeypatch):
    inside, most = 0, 0
    guard = threading.Lock()
    run = type(estimator.runner)._run_for

    def watched(self, images, outputs):
        nonlocal inside, most
        with guard:
            inside += 1
            most = max(most, inside)
        time.sleep(0.01)
        try:
            return run(self, images, outputs)
        finally:
            with guard:
                inside -= 1

    monkeypatch.setattr(type(estimator.runner), "_run_for", watched)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(estimator, [painted.picture()] * 12))
    assert most == 1
