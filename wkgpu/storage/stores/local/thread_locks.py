"""Exclusive locks among the threads of this process, instead of file locks: they do not reach other processes."""

from __future__ import annotations

import gc
import threading
import time
import weakref

from wkgpu.forking import call_in_child, child_safe

_POLLING_SECONDS = 1.0  # between garbage collections
_MAX_PAUSE_SECONDS = 5e-3


class HeldRange:
    """Locks of a file that a thread holds, from a number to before another one.

    They are free again when this object is released, and also when it is deleted: so no interrupt can leave them held.
    """

    __slots__ = ("__weakref__", "begin", "end", "path")

    def __init__(self, path: str, begin: int, end: int) -> None:
        self.path = path
        self.begin = begin
        self.end = end

    def release(self) -> None:
        """Give the locks back."""
        self.end = self.begin

    def excludes(self, other: HeldRange) -> bool:
        """Whether the two have a lock in common."""
        return self.path == other.path and self.begin < other.end and other.begin < self.end


_held: list[weakref.ref[HeldRange]] = []
_guard = child_safe(threading.Lock())
call_in_child(_held.clear)  # the threads that held them do not live in the child


def hold_range(path: str, begin: int, end: int, wait: bool = True) -> HeldRange:
    """Hold locks of a file.

    Parameters
    ----------
    path : str
        Real path of the file. It is a name and no more: the file is not opened.
    begin, end : int
        The first of the locks, and the first behind them.
    wait : bool
        Whether to wait until they are free.

    Raises
    ------
    BlockingIOError
        If they are not free, and `wait` is False.
    """
    wanted = HeldRange(path, begin, end)
    collect_at = time.monotonic() + _POLLING_SECONDS
    pause = 1e-4
    while not _try_to_hold(wanted):
        if not wait:
            raise BlockingIOError(f"Another thread holds locks {begin} to {end} of {path}.")
        if time.monotonic() > collect_at:
            gc.collect()  # an interrupt (Ctrl+C) may have left a held range in a cycle with its traceback
            collect_at = time.monotonic() + _POLLING_SECONDS
        time.sleep(pause)
        pause = min(2 * pause, _MAX_PAUSE_SECONDS)
    return wanted


def _try_to_hold(wanted: HeldRange) -> bool:
    with _guard:
        others = [(reference, held) for reference in _held if (held := reference()) is not None]
        if any(held.excludes(wanted) for _, held in others):
            return False
        _held[:] = [*(reference for reference, held in others if held.begin < held.end), weakref.ref(wanted)]
    return True
