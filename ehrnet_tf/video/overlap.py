"""Reading, computing and writing at the same time, in three threads, with bounded memory."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_END = object()


class Silence(Exception):
    """Nothing came for longer than patience lasts."""


class _Failure:
    def __init__(self, error: BaseException):
        self.error = error


class Ahead:
    """The items of an iterable, made ahead of time by a thread.

    Args:
      items: gone through by the thread.
      depth: how many may wait.
      newest: whether an item that nobody has taken gives way to a newer one, so that none is old; else all are kept,
        in order.
      patience: seconds to wait for an item; None: for ever. Then going through them raises Silence.

    Attributes:
      dropped: how many gave way.
    """

    def __init__(self, items: Iterable[Any], depth: int = 4, newest: bool = False, patience: float | None = None):
        self.dropped = 0
        self._newest, self._patience = newest, patience
        self._items = items
        self._waiting: queue.Queue = queue.Queue(1 if newest else depth)
        self._stopped, self._ended = threading.Event(), threading.Event()
        threading.Thread(target=self._work, name="reader", daemon=True).start()

    def __iter__(self) -> Iterator[Any]:
        while True:
            try:
                item = self._waiting.get(timeout=self._patience)
            except queue.Empty:
                raise Silence(f"nothing for {self._patience:g} s") from None
            if item is _END:
                return
            if isinstance(item, _Failure):
                raise item.error
            yield item

    def stop(self, limit: float | None = 2.0) -> bool:
        """Ends the thread after the item that it is at; what waits is lost.

        Args:
          limit: seconds; a thread that hangs in making an item longer than that is left alone; None: never.

        Returns:
          Whether the thread has ended, so that what it used may be freed.
        """
        self._stopped.set()  # no `put` blocks from now on
        return self._ended.wait(limit)

    def _work(self) -> None:
        try:
            for item in self._items:
                self._put(item, self._newest)
                if self._stopped.is_set():
                    return
            end: Any = _END
        except BaseException as error:  # raised again where the items are taken
            end = _Failure(error)
        finally:
            self._ended.set()  # nothing of the iterable runs from now on
        self._put(end, False)

    def _put(self, item: Any, replace: bool) -> None:
        while not self._stopped.is_set():
            try:
                return self._waiting.put(item, timeout=0.05)
            except queue.Full:
                if replace:
                    try:
                        self._waiting.get_nowait()
                        self.dropped += 1
                    except queue.Empty:
                        pass


class Behind:
    """Calls a function with items in a thread, in order; used as a context manager, which waits for the last of them.

    An error of the function is raised by the next `put`, or at the end; later items are not passed on.

    Args:
      use: the function.
      depth: how many items may wait; `put` then blocks.
    """

    def __init__(self, use: Callable[[Any], None], depth: int = 4):
        self._use = use
        self._waiting: queue.Queue = queue.Queue(depth)
        self._error: BaseException | None = None
        self._ended = threading.Event()  # Thread.join, once interrupted, takes a thread that runs for one that ended
        threading.Thread(target=self._work, name="writer", daemon=True).start()

    def put(self, item: Any) -> None:
        """Hands an item over.

        Raises:
          BaseException: what the function raised for an earlier one.
        """
        while True:
            if self._error is not None:
                raise self._error
            try:
                return self._waiting.put(item, timeout=0.1)
            except queue.Full:
                continue

    def wait(self) -> None:
        """Waits until all that was handed over is used.

        Raises:
          BaseException: what the function raised.
        """
        self._waiting.join()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Behind:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            self._finish()
        except KeyboardInterrupt:  # what was handed over is used all the same
            self._finish()
            raise
        if self._error is not None and self._error is not error:
            raise self._error

    def _finish(self) -> None:
        self._waiting.put(_END)
        self._ended.wait()

    def _work(self) -> None:
        while True:
            item = self._waiting.get()
            if item is _END:
                return self._ended.set()
            if self._error is None:
                try:
                    self._use(item)
                except BaseException as error:  # raised again where items are put
                    self._error = error
            self._waiting.task_done()
