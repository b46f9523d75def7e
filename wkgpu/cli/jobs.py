"""How many jobs of a command run at a time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from wkgpu import get_executor


@contextmanager
def executor_of(jobs: int) -> Iterator[Executor | None]:
    """Yield the executor for ``--jobs``: threads, or None for one job after another.

    A job already uses all cores, or the GPU, while it decodes and encodes, and waits for the disk before and after
    that. Threads let one job compute while another one waits, with one engine and without starting anything twice.
    """
    if jobs == 1:
        yield None
        return
    with get_executor("threads", max_workers=jobs) as executor:
        yield executor
