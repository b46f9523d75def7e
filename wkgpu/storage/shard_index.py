"""Where the chunks of a shard lie in its file, and a cache of that for the shards that were read last."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from wkgpu.forking import cached_property, child_safe
from wkgpu.kernels import planning
from wkgpu.storage.codecs import Pipeline
from wkgpu.storage.stores.files import Version

Ints = NDArray[np.int64]


class Extents(NamedTuple):
    """Where chunks lie in a file, int64 (n,) each."""

    offset: Ints
    nbytes: Ints
    """Encoded bytes; 0 for a chunk that is not stored."""


class ShardIndex(Protocol):
    """Answers where chunks lie in one shard file. Its values have been checked against the file's size."""

    @property
    def nbytes(self) -> int:
        """Memory that the index takes."""
        ...

    @property
    def codecs(self) -> Pipeline:
        """How the chunks of this file are encoded, whatever the codecs of its mag are."""
        ...

    @property
    def description(self) -> tuple[int, int, int, int]:
        """What compiled code asks: kind, begin, end and entries, as in `wkgpu.kernels.planning`."""
        ...

    def extents(self, ordinals: Ints) -> Extents:
        """Where chunks lie, by their position in the shard."""
        ...


@dataclass(frozen=True)
class TableIndex:
    """A jump table: chunk ``n`` lies from ``begins[n]`` to ``ends[n]``."""

    begins: Ints
    ends: Ints
    codecs: Pipeline

    @property
    def nbytes(self) -> int:
        """Memory that the table takes."""
        begin, end, *_ = self.description[1:]  # which may overlap: the end of a chunk is where the next one begins
        return abs(end - begin) + self.begins.nbytes

    @cached_property
    def description(self) -> tuple[int, int, int, int]:
        """See `ShardIndex.description`."""
        begin, end = (table.__array_interface__["data"][0] for table in (self.begins, self.ends))
        return planning.TABLE, begin, end, min(len(self.begins), len(self.ends))

    def extents(self, ordinals: Ints) -> Extents:
        """See `ShardIndex.extents`."""
        begins = self.begins[ordinals]
        return Extents(begins, self.ends[ordinals] - begins)


@dataclass(frozen=True)
class UniformIndex:
    """Chunks of equal length, one after another."""

    data_offset: int
    chunk_bytes: int
    codecs: Pipeline = ()
    entries: int = 1 << 62
    """Chunks, where the file may have fewer than its shard."""

    @property
    def nbytes(self) -> int:
        """Memory that the index takes, about."""
        return 64

    @cached_property
    def description(self) -> tuple[int, int, int, int]:
        """See `ShardIndex.description`."""
        return planning.UNIFORM, self.data_offset, self.chunk_bytes, self.entries

    def extents(self, ordinals: Ints) -> Extents:
        """See `ShardIndex.extents`."""
        nbytes = np.full(len(ordinals), self.chunk_bytes, np.int64)
        return Extents(ordinals * self.chunk_bytes + self.data_offset, nbytes)


class ShardIndexCache:
    """Least-recently-used shard indexes, each valid for one state of its file, and for one layout.

    Reading the 32,768 entries of a 1024³ shard again for every small patch is what makes other readers slow. The
    state is the file's inode, size and times of change. A file that changed a moment ago is not remembered: it could
    change once more within one tick of the file system's clock and look the same.

    The layout is what else an index is made of, such as what the metadata of an array say, which may be corrected while
    the files stay as they are.

    Parameters
    ----------
    capacity : int
        Bytes of indexes that are kept.
    """

    _RECENT_NANOSECONDS = 20_000_000

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held: int | None = 0  # bytes; None while they change: an interrupt there has them counted again
        self._entries: OrderedDict[str, tuple[Version, Hashable, ShardIndex]] = OrderedDict()
        self._lock = child_safe(threading.Lock())

    def get(self, path: str, version: Version, layout: Hashable = None) -> ShardIndex | None:
        """Return the index of a file, if it was kept, and state and layout are still the same."""
        with self._lock:
            entry = self._entries.get(path)
            if entry is None or entry[0] != version or not (entry[1] is layout or entry[1] == layout):
                return None
            self._entries.move_to_end(path)
            return entry[2]

    def put(self, path: str, version: Version, index: ShardIndex, layout: Hashable = None) -> None:
        """Keep the index of a file that is in this state, and of this layout."""
        if time.time_ns() - version.changed_ns < self._RECENT_NANOSECONDS:
            return
        with self._lock:
            held = self._begin_change() - self._forget(path)
            self._entries[path] = (version, layout, index)
            held += index.nbytes
            while held > self._capacity and len(self._entries) > 1:
                held -= self._forget(next(iter(self._entries)))
            self._held = held

    def discard(self, path: str) -> None:
        """Forget a file that this process has replaced."""
        with self._lock:
            held = self._begin_change()
            self._held = held - self._forget(path)

    def _begin_change(self) -> int:
        held, self._held = self._held, None
        return sum(index.nbytes for *_, index in self._entries.values()) if held is None else held

    def _forget(self, path: str) -> int:
        """Drop an entry, and return the bytes that it took."""
        entry = self._entries.pop(path, None)
        return 0 if entry is None else entry[2].nbytes


shard_indexes = ShardIndexCache(capacity=256 << 20)
"""The indexes that this process keeps, for all formats."""
