"""A call that a thread of its own makes, while the caller does something else.

`concurrent.futures` waits with `threading.Condition`, which is Python code: an interrupt (Ctrl+C) in it can leave its
lock held, and then both threads wait for good. Here a lock of C is all that they share.
"""

from __future__ import annotations

import operator
from _thread import allocate_lock, start_new_thread
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

_Result = TypeVar("_Result")


class Ahead(Generic[_Result]):
    """Makes one call in another thread, or at once if the system has no thread to give.

    Examples
    --------
    >>> coming = Ahead(lambda: 6 * 7)
    >>> coming.start()
    >>> coming.result()
    42
    """

    def __init__(self, function: Callable[[], _Result]) -> None:
        self._function = function
        self._results: list[_Result] = []
        self._error: BaseException | None = None
        self._running = allocate_lock()

    def start(self) -> None:
        """Begin with the call."""
        steps: list[Callable[[], object]] = [self._running.acquire, partial(start_new_thread, self._run, ())]
        try:
            # In one step for the interpreter, so that the lock is never held without a thread that gives it back.
            list(map(operator.call, steps))
        except RuntimeError:  # "can't start new thread"
            self._run()

    def _run(self) -> None:
        try:
            self._results.append(self._function())
        except BaseException as error:
            self._error = error
        finally:
            self._running.release()

    def wait(self) -> None:
        """Wait until the call has ended, if it was begun."""
        with self._running:
            pass

    def result(self) -> _Result:
        """Wait, and return or raise once what the call has returned or raised. It is not kept."""
        self.wait()
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # else the traceback, and what its frames hold, would live until a collection
        return self._results.pop()
