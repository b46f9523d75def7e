"""How much memory this process can still take, whatever limits it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

READ_LESS = (
    "Read a smaller box, work in parts (View.for_each_chunk, View.get_buffered_slice_reader), or pass out=, such as a "
    "numpy.memmap."
)
"""What a message says by default that one can do."""
LARGE_BYTES = 256 << 20
"""Arrays from this size on are compared with the memory that there is; for smaller ones the question costs too much."""
_RESERVE_BYTES = 64 << 20  # for what a read needs beside its output
_UNLIMITED_BYTES = 1 << 60  # version 1 writes the largest whole number of pages where there is no limit
_MEMORY_INFO = Path("/proc/meminfo")
_OWN_PAGES = Path("/proc/self/statm")
_OWN_GROUPS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")
_RECLAIMABLE = ("inactive_file", "active_file", "slab_reclaimable")  # counted as used, and given up when needed


def available_bytes() -> int:
    """Return the bytes that this process can still take, as far as the system tells.

    That is the least of what the machine has, what the control groups of the process (a container, a Slurm job) leave,
    and what its own limits leave (``ulimit -v``, ``ulimit -d``). Swap space does not count.
    """
    limits = (*_of_machine(), *_of_groups(), *_of_process())
    return max(min(limits, default=sys.maxsize) - _RESERVE_BYTES, 0)


def no_room(what: str, nbytes: int, free: int, place: str, advice: str = READ_LESS) -> str:
    """Return the message of an error for an array that is too large.

    Examples
    --------
    >>> no_room("The box", 5 << 30, 1 << 30, "this process")[:65]
    'The box needs 5.0 GiB, and this process can take 1.0 GiB more. Re'
    """
    return f"{what} needs {nbytes / (1 << 30):.1f} GiB, and {place} can take {free / (1 << 30):.1f} GiB more. {advice}"


def _of_machine() -> Iterator[int]:
    with suppress(OSError):
        found = _numbers(_MEMORY_INFO).get("MemAvailable:")
        if found is not None:
            yield found << 10


def _of_process() -> Iterator[int]:
    with suppress(OSError, ImportError):
        import resource  # not on every system

        pages = _OWN_PAGES.read_text().split()
        for limit, column in ((resource.RLIMIT_AS, 0), (resource.RLIMIT_DATA, 5)):
            max_bytes, _ = resource.getrlimit(limit)
            if max_bytes != resource.RLIM_INFINITY:
                yield max_bytes - int(pages[column]) * os.sysconf("SC_PAGE_SIZE")


def _of_groups() -> Iterator[int]:
    with suppress(OSError):
        for line in _OWN_GROUPS.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:  # version 2: one tree for all
                yield from _up(_GROUPS, path, _left_of_group_2)
            elif "memory" in controllers.split(","):
                yield from _up(_GROUPS / "memory", path, _left_of_group_1)


def _up(root: Path, path: str, left: Callable[[Path], int]) -> Iterator[int]:
    """Yield what is left of a group and of those around it; in a container the inner ones may not be shown."""
    folder = root / path.strip("/")
    for group in (folder, *folder.parents):
        with suppress(OSError, ValueError):  # a group without a limit says "max", or has no such file
            yield left(group)
        if group == root:
            return


def _left_of_group_2(group: Path) -> int:
    return _left(group, "memory.max", "memory.current", "")


def _left_of_group_1(group: Path) -> int:
    return _left(group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_")


def _left(group: Path, limit: str, usage: str, prefix: str) -> int:
    max_bytes = int((group / limit).read_text())
    if max_bytes >= _UNLIMITED_BYTES:
        return max_bytes
    numbers = _numbers(group / "memory.stat")
    used = int((group / usage).read_text()) - sum(numbers.get(prefix + key, 0) for key in _RECLAIMABLE)
    return max_bytes - max(used, 0)


def _numbers(file: Path) -> dict[str, int]:
    """Return a file of lines with a name and a number."""
    rows = (line.split() for line in file.read_text().splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
