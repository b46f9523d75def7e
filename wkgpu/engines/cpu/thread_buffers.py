"""Working memory of the threads of an engine, used again by each thread's next task."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

_ALIGNMENT = 64  # a cache line
_KEPT_BYTES = 8 << 20  # larger blocks, for unusually large chunks, are given back after use


class ThreadBuffers:
    """Lends each thread the memory that it used last, if that is large enough."""

    def __init__(self) -> None:
        self._kept = threading.local()

    @contextmanager
    def borrow(self, *sizes: int) -> Iterator[tuple[int, ...]]:
        """Lend buffers of these many bytes until the end of a ``with`` block, which gets their aligned addresses."""
        padded = [-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes]
        needed = sum(padded) + _ALIGNMENT
        block: NDArray[np.uint8] | None = getattr(self._kept, "block", None)
        self._kept.block = None  # taken: a loan within this one gets memory of its own
        if block is None or block.nbytes < needed:
            block = np.empty(needed, np.uint8)
        address = -(-block.__array_interface__["data"][0] // _ALIGNMENT) * _ALIGNMENT
        addresses = []
        for size in padded:
            addresses.append(address)
            address += size
        try:
            yield tuple(addresses)
        finally:
            if block.nbytes <= _KEPT_BYTES:
                self._kept.block = block
