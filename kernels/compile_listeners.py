"""Listeners that are told when a kernel is compiled, which takes seconds, once on a machine.

Importing this module does not import Numba; `compilation` passes on what Numba reports.
"""

from __future__ import annotations

import threading
from contextlib import suppress

listeners = []
"""Functions that are called as ``(name, begins)`` by the thread that compiles; what one raises is ignored."""

_nested = threading.local()


def announce(name, begins):
    """Tell all listeners, but not of functions that are compiled for the sake of another one."""
    depth = getattr(_nested, "depth", 0)
    _nested.depth = depth + 1 if begins else max(depth - 1, 0)
    if (depth if begins else _nested.depth) > 0:
        return
    for listener in tuple(listeners):
        with suppress(Exception):  # a display must not keep a kernel from being compiled
            listener(name, begins)
