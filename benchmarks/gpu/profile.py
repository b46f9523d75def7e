"""Where the calling thread spends the time of a read or a write: a stopwatch around pieces of the engine.

A second spent in one piece does not count for the piece that called it. Launches return at once, so that what the GPU
does appears as the time in which the thread waits for it.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import GeneratorType, TracebackType
from typing import Any
from unittest import mock

from benchmarks.gpu.figures import rounded
from wkgpu.engines.cuda.fetching import Fetcher
from wkgpu.engines.cuda.reader import CudaReader
from wkgpu.engines.cuda.slots import Slot
from wkgpu.engines.cuda.writer import CudaWriter
from wkgpu.storage.plans.read_planner import ReadPlanner
from wkgpu.storage.shard_write import ShardWrite

Piece = tuple[str, Any, str]
"""What it counts as, and a function: its owner and its name there."""

REST = "dataset interface and else"
_WAIT = "waiting for the GPU"


def pieces_of(engine: Any, device: Any) -> list[Piece]:
    """Name the pieces of the CUDA engine, of its device and of storage."""
    stream = device.new_stream()
    event = stream.record()
    return [
        ("plan", ReadPlanner, "plans"),
        ("plan", ShardWrite, "__enter__"),
        ("output memory", type(engine), "empty"),
        ("fetch", Fetcher, "fetch"),
        ("fetch", Fetcher, "fetch_to_host"),
        ("tables", CudaReader, "run"),
        ("tables, waiting for threads", CudaWriter, "run"),
        ("slot memory", type(device), "memory"),
        ("slot memory", type(device), "host_memory"),
        ("launch codec", type(device.codec("lz4")), "decode"),
        ("launch codec", type(device.lz4), "decode"),
        ("launch codec", type(device.lz4), "check"),
        ("launch codec", type(device.lz4), "join"),
        ("launch codec", type(device.codec("lz4")), "encode"),
        ("launch kernels", type(stream), "launch"),
        ("queue copies", type(stream), "upload"),
        ("queue copies", type(stream), "download"),
        ("upload of the data", type(device), "asarray"),
        (_WAIT, Slot, "finish"),
        (_WAIT, type(event), "wait"),
        ("store", CudaWriter, "_store"),
        ("untouched chunks", CudaWriter, "_store_untouched"),
        ("replace the shard", ShardWrite, "__exit__"),
    ]


class Profile:
    """Counts, for a ``with`` block, the seconds of each piece in the thread that entered it.

    Examples
    --------
    >>> with Profile(pieces_of(engine, device)) as profile:  # doctest: +SKIP
    ...     mag.read()
    >>> profile.bound()  # doctest: +SKIP
    'waiting for the GPU: 71 % of 41 ms'
    """

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._pieces = list(pieces)
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._running: list[str] = []
        self._since = 0.0
        self._thread = 0
        self._stack = ExitStack()

    def __enter__(self) -> Profile:
        self._thread = threading.get_ident()
        with ExitStack() as stack:
            for name, owner, attribute in self._pieces:
                if hasattr(owner, attribute):
                    wrapped = self._wrapped(name, getattr(owner, attribute))
                    stack.enter_context(mock.patch.object(owner, attribute, wrapped))
            self._stack = stack.pop_all()
        self._running = [REST]
        self._since = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._count()
        self._running = []
        self._stack.close()

    def _count(self) -> None:
        now = time.perf_counter()
        self._seconds[self._running[-1]] += now - self._since
        self._since = now

    @contextmanager
    def _piece(self, name: str) -> Iterator[None]:
        if threading.get_ident() != self._thread or not self._running:
            yield
            return
        self._count()
        self._running.append(name)
        try:
            yield
        finally:
            self._count()
            self._running.pop()

    def _wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            with self._piece(name):
                result = function(*arguments, **options)
            if isinstance(result, GeneratorType):
                return self._each(name, result)
            # What a function returns to be called later, such as the rest of a fetch, is a part of it.
            return self._wrapped(name, result) if callable(result) and name == "fetch" else result

        return run

    def _each(self, name: str, items: Iterator[Any]) -> Iterator[Any]:
        while True:
            with self._piece(name):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item

    @property
    def total(self) -> float:
        """Seconds of the block."""
        return sum(self._seconds.values())

    def milliseconds(self, times: int = 1) -> dict[str, float]:
        """Return the milliseconds of each piece, the longest first, of a block that did something several times."""
        ordered = sorted(self._seconds.items(), key=lambda item: -item[1])
        return rounded({name: seconds / times * 1e3 for name, seconds in ordered})

    def bound(self, times: int = 1) -> str:
        """Say which piece took longest."""
        name, longest = max(self._seconds.items(), key=lambda item: item[1])
        return f"{name}: {longest / self.total * 100:.0f} % of {self.total / times * 1e3:.3g} ms"
