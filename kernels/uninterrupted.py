"""Work that an interrupt must not end half-way, in a thread where Ctrl+C does not come.

`KeyboardInterrupt` is raised in the main thread, between any two calls of Python code. In the midst of an import of
Numba, or of a compilation, it leaves locks taken, so that all other threads wait for good, or a half-made state with
which nothing can be compiled any more. So the main thread lets another one do such work, and only waits: an interrupt
ends the waiting at once, and the work continues. What needs its result next waits for the locks that it holds.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from _thread import start_new_thread
from queue import SimpleQueue

_running = []


def uninterrupted(work):
    """Return what ``work()`` returns, or raise what it raises; an interrupt does not end it."""
    if threading.get_ident() != threading.main_thread().ident:
        return work()
    outcomes = SimpleQueue()
    try:
        start_new_thread(_do, (work, outcomes))
    except RuntimeError:  # "can't start new thread"
        return work()
    result, error = outcomes.get()
    if error is None:
        return result
    try:
        raise error
    finally:
        del error  # else this frame, and what the work uses, lives until a garbage collection


def _do(work, outcomes):
    _running.append(work)
    try:
        outcome = work(), None
    except BaseException as error:
        outcome = None, error
    _running.pop()
    outcomes.put(outcome)


@atexit.register
def _end_work():
    """Let work end before the process does: LLVM may crash otherwise."""
    while _running:
        time.sleep(0.01)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_running.clear)
