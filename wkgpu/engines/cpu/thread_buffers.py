"""Working memory of the threads of an engine, used again by each thread's next task."""

from __future__ import annotations

import threading
from types import TracebackType

import numpy as np

from wkgpu.errors import TooLargeError

_ALIGNMENT = 64  # a cache line
_KEPT_BYTES = 8 << 20  # larger blocks, for unusually large chunks, are given back after use


def aligned(nbytes: int) -> int:
    """Round up to whole cache lines."""
    return -(-nbytes // _ALIGNMENT) * _ALIGNMENT


class _Block:
    """Memory that begins at a cache line."""

    __slots__ = ("_address", "_memory", "cut", "nbytes")

    def __init__(self, nbytes: int) -> None:
        try:
            self._memory = np.empty(nbytes + _ALIGNMENT, np.uint8)
        except MemoryError as error:
            raise TooLargeError(f"There are no {nbytes} bytes of memory to decode or encode chunks in.") from error
        begin = self._memory.__array_interface__["data"][0]
        self._address = begin + -begin % _ALIGNMENT
        self.nbytes = nbytes
        self.cut: tuple[tuple[int, ...], tuple[int, ...]] = (), ()
        """The sizes of the last loan, and its addresses: mostly those of the next one as well."""

    def addresses(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Return where buffers of these many bytes begin, one behind the other."""
        found, address = [], self._address
        for size in sizes:
            found.append(address)
            address += aligned(size)
        self.cut = sizes, tuple(found)
        return self.cut[1]


class _Kept(threading.local):
    block: _Block | None = None


class ThreadBuffers:
    """Lends each thread the memory that it used last, if that is large enough."""

    def __init__(self) -> None:
        self._kept = _Kept()

    def borrow(self, *sizes: int) -> _Loan:
        """Lend buffers of these many bytes until the end of a ``with`` block, which gets their aligned addresses."""
        return _Loan(self._kept, sizes)


class _Loan:
    __slots__ = ("_block", "_kept", "_sizes")

    def __init__(self, kept: _Kept, sizes: tuple[int, ...]) -> None:
        self._kept = kept
        self._sizes = sizes

    def __enter__(self) -> tuple[int, ...]:
        block = self._kept.block
        self._kept.block = None  # taken: a loan within this one gets memory of its own
        if block is not None and block.cut[0] == self._sizes:
            self._block = block
            return block.cut[1]
        nbytes = sum(map(aligned, self._sizes))
        if block is None or block.nbytes < nbytes:
            block = _Block(nbytes)
        self._block = block
        return block.addresses(self._sizes)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._block.nbytes <= _KEPT_BYTES:
            self._kept.block = self._block
