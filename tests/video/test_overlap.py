import signal
import threading
import time

import pytest

from ehrnet_tf.video.overlap import Ahead, Behind, Silence


def test_all_items_come_in_order():
    ahead = Ahead(range(1000), depth=3)
    assert list(ahead) == list(range(1000)) and ahead.dropped == 0


def test_no_more_than_the_depth_is_made_ahead():
    made = []

    def items():
        for i in range(100):
            made.append(i)
            yield i

    ahead = Ahead(items(), depth=3)
    taken = iter(ahead)
    next(taken)
    time.sleep(0.3)
    assert len(made) <= 1 + 3 + 1
    ahead.stop()
    assert len(made) < 20


def test_the_newest_is_taken_and_the_last_is_not_lost():
    go, done = threading.Event(), threading.Event()

    def items():
        yield 0
        go.wait(10)
        yield from range(1, 50)
        done.set()

    ahead = Ahead(items(), newest=True)
    taken = iter(ahead)
    assert next(taken) == 0
    go.set()
    done.wait(10)
    assert list(taken) == [49] and ahead.dropped == 48


def test_a_maker_that_hangs_is_given_up():
    hanging = threading.Event()

    def items():
        yield 0
        hanging.wait(10)

    ahead = Ahead(items(), newest=True, patience=0.1)
    taken = iter(ahead)
    assert next(taken) == 0
    with pytest.raises(Silence, match=r"nothing for 0\.1 s"):
        next(taken)
    assert ahead.stop(limit=0.05) is False
    hanging.set()
    assert ahead.stop() is True


def test_errors_come_out_where_items_are_taken():
    def items():
        yield 1
        raise OSError("gone")

    taken = iter(Ahead(items()))
    assert next(taken) == 1
    with pytest.raises(OSError, match="gone"):
        next(taken)


def test_all_items_are_used_in_order_before_the_end():
    used = []

    def use(item):
        time.sleep(0.001)
        used.append(item)

    with Behind(use, depth=2) as behind:
        for i in range(50):
            behind.put(i)
    assert used == list(range(50))


def test_what_was_handed_over_can_be_waited_for():
    used = []

    def use(item):
        if item == 4:
            raise OSError("full")
        used.append(item)

    with pytest.raises(OSError, match="full"), Behind(use) as behind:
        for i in range(4):
            behind.put(i)
            behind.wait()
            assert used[-1] == i
        behind.put(4)
        behind.wait()


def test_an_error_of_the_writer_reaches_the_caller():
    def use(item):
        if item == 3:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), Behind(use, depth=1) as behind:
        for i in range(1000):
            behind.put(i)
            time.sleep(0.001)


def test_what_was_handed_over_is_used_when_the_block_is_left_by_an_interrupt():
    used = []
    with pytest.raises(KeyboardInterrupt), Behind(used.append) as behind:
        behind.put(1)
        behind.put(2)
        raise KeyboardInterrupt
    assert used == [1, 2]


def test_an_interrupt_while_the_last_is_used_does_not_lose_it():
    used = []

    def use(item):
        time.sleep(0.3)
        used.append(item)

    timer = threading.Timer(0.1, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
    with pytest.raises(KeyboardInterrupt), Behind(use) as behind:
        behind.put(1)
        timer.start()
    assert used == [1]
