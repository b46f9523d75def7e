"""Memory of outputs that is kept when the last array on it dies, and given to the next read.

Fresh pages are a main cost of a large read: the system has to find and clear each of them when it is first touched.
"""

from __future__ import annotations

import threading
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wkgpu.forking import child_safe
from wkgpu.settings import config

_ALIGNMENT = 64  # a cache line: streamed stores need it
_WORTH_KEEPING = 64 << 10  # the C library gives larger blocks back to the system, or takes them from it, each time


class OutputMemory:
    """Blocks of memory that return when their arrays are gone; at most `wkgpu.config.pool_bytes` of them are kept."""

    def __init__(self) -> None:
        self._blocks: dict[int, list[_Block]] = {}  # by size, in the order in which they came back
        # Blocks come back from garbage collection, which can begin while this very thread holds the lock.
        self._lock = child_safe(threading.RLock())

    def array(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> NDArray[Any]:
        """Return an uninitialised array in Fortran order; a large one is aligned to a cache line."""
        nbytes = prod(shape) * dtype.itemsize
        if nbytes < _WORTH_KEEPING:
            return np.empty(shape, dtype, order="F")
        return np.ndarray(shape, dtype, np.asarray(_Lease(self._take(nbytes), self)), order="F")

    def has(self, nbytes: int) -> bool:
        """Whether an array of so many bytes would need no new memory."""
        return bool(self._blocks.get(_rounded(nbytes)))

    def clear(self) -> None:
        """Give all kept memory back to the system."""
        with self._lock:
            self._blocks.clear()

    @property
    def held(self) -> int:
        """Bytes that are kept for the next reads."""
        # Counted each time: a sum that is carried along would be wrong after an interrupt between two statements. Of a
        # copy, because blocks can come back concurrently.
        return sum(size * len(blocks) for size, blocks in self._blocks.copy().items())

    def _take(self, nbytes: int) -> _Block:
        size = _rounded(nbytes)
        with self._lock:
            blocks = self._blocks.get(size)
            if blocks:
                return blocks.pop()
        return _Block(size)

    def give_back(self, block: _Block) -> None:
        """Keep a block, dropping those of other sizes that have been kept the longest."""
        with self._lock:
            if block.nbytes <= config.pool_bytes:
                self._blocks.setdefault(block.nbytes, []).append(block)
            while self.held > config.pool_bytes:
                size, blocks = next(iter(self._blocks.items()))
                if blocks:
                    blocks.pop(0)
                else:
                    del self._blocks[size]


class _Block:
    """Memory that begins at a cache line."""

    __slots__ = ("_memory", "interface", "nbytes")

    def __init__(self, nbytes: int) -> None:
        memory = np.empty(nbytes + _ALIGNMENT, np.uint8)
        begin = -memory.ctypes.data % _ALIGNMENT
        self._memory = memory
        self.nbytes = nbytes
        self.interface = memory[begin : begin + nbytes].__array_interface__


class _Lease:
    """What an array of `OutputMemory` stands on; it dies with the last array and gives the block back."""

    __slots__ = ("__array_interface__", "_block", "_memory")

    def __init__(self, block: _Block, memory: OutputMemory) -> None:
        self._block = block
        self._memory = memory
        self.__array_interface__ = block.interface

    def __del__(self) -> None:
        if hasattr(self, "_memory"):  # else an interrupt came while it was made
            self._memory.give_back(self._block)


def _rounded(nbytes: int) -> int:
    """Round up to an eighth of the size's power of two, so that outputs of nearly one size share blocks."""
    step = max(1 << (nbytes.bit_length() - 4), 4096)
    return -(-nbytes // step) * step


output_memory = OutputMemory()
