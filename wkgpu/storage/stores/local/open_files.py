"""Files that are open at once, of which a process may have only so many (``ulimit -n``).

Reads hold many shards open, and leave three quarters of what the process may have to others. An open that fails all the
same is tried again when they may have closed some.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

try:
    import resource
except ImportError:  # not on every system
    resource = None  # type: ignore[assignment]

_File = TypeVar("_File")

EXHAUSTED = (errno.EMFILE, errno.ENFILE)
"""Error numbers: the process, or the whole system, has as many files open as it may."""
_SHARE = 4  # of the files that a process may have, the part that is for shards; a GPU library opens each twice more
_FEW = 16  # open shards that any process may have; to ask for its limit is a system call
_MANY = 1 << 20
_SECONDS = 1.0
_SECONDS_FOR_READS = 10.0

held: set[int] = set()
"""Descriptors of the shards that are open."""


def is_scarce() -> bool:
    """Whether so many shards are open that a read should rather close some before it opens another one."""
    return len(held) >= _FEW and len(held) >= max_held()


def max_held() -> int:
    """Return how many shards a process may hold open at once, unless it is a few."""
    return max(_FEW, _limit() // _SHARE)


def patiently(open_file: Callable[[], _File]) -> _File:
    """Open a file; where there are too many, wait until other threads have closed some.

    Raises
    ------
    OSError
        As ``open_file`` does; after some seconds of waiting it names the limit.
    """
    try:
        return open_file()
    except OSError as error:
        if error.errno not in EXHAUSTED:
            raise
    begin, pause = time.monotonic(), 1e-3
    while True:
        time.sleep(pause)
        try:
            return open_file()
        except OSError as error:
            if error.errno not in EXHAUSTED:
                raise
            if time.monotonic() - begin > (_SECONDS_FOR_READS if held else _SECONDS):
                said = str(error.strerror).rstrip(".")
                raise type(error)(
                    error.errno,
                    f"{said}. This process may have {_limit()} files open at once; close some, or raise the limit with "
                    "ulimit -n",
                ) from error
        pause = min(2 * pause, 0.05)


def _limit() -> int:
    if resource is None:
        return _MANY
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MANY if limit == resource.RLIM_INFINITY else limit
