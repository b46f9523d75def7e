"""An opened shard file, whose index and whose bytes come from one and the same state of the file."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable
from functools import partial
from typing import NamedTuple

from wkgpu.storage.shard_index import ShardIndex, shard_indexes
from wkgpu.storage.stores.files import Source, Version
from wkgpu.storage.stores.local import open_files
from wkgpu.storage.stores.staged_files import staged
from wkgpu.storage.stores.store import Store

IndexReader = Callable[[Source], ShardIndex]
"""Reads and checks the index of an open file."""


class FileKey(NamedTuple):
    """Names one state of a file."""

    path: str
    """As users know it: a path, or a URL."""
    version: Version


class ShardFile:
    """A shard, open for reading.

    It stays the file that was opened: when another file replaces it, the old one is read, whole.

    Attributes
    ----------
    key : FileKey
        The file, and the state that it had when it was opened.
    source : Source
        The file in its store.
    index : ShardIndex
        Where its chunks lie.
    descriptor : int
        -1 when it is closed, and when its store has no descriptors and nothing has been staged.
    """

    __slots__ = ("descriptor", "index", "key", "source")

    def __init__(self, key: FileKey, source: Source, index: ShardIndex) -> None:
        self.key = key
        self.index = index
        self.source = source
        descriptor = source.descriptor
        self.descriptor = -1 if descriptor is None else descriptor

    @property
    def path(self) -> str:
        """Path of the file."""
        return self.key.path

    @property
    def nbytes(self) -> int:
        """Bytes of the file."""
        return self.source.nbytes

    def stage(self, ranges: Iterable[tuple[int, int]], wait: bool = True) -> None:
        """Read ranges of the file into memory that has a descriptor, if its store has none.

        Parameters
        ----------
        ranges : iterable of (offset, nbytes)
            All that will be read of it.
        wait : bool
            Whether to wait until other threads have closed files, where there are too many.
        """
        if self.descriptor < 0:
            stage = partial(staged, self.source, ranges, self.path)
            self.descriptor = open_files.patiently(stage) if wait else stage()
            open_files.held.add(self.descriptor)

    def close(self) -> None:
        """Close the file, if it is open."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0 and self.source.descriptor is None:
            open_files.held.discard(descriptor)  # before another thread opens a file and gets its number
            os.close(descriptor)
        self.source.close()


def open_shard(
    store: Store, key: str, read_index: IndexReader, layout: Hashable = None, wait: bool = False
) -> ShardFile | None:
    """Open a shard, with its index from the cache or read again; None where it does not exist.

    Parameters
    ----------
    layout : hashable
        What the index is made of besides the file.
    wait : bool
        Whether to wait until other threads have closed files, where there are too many.

    Raises
    ------
    StorageAccessError
        Where it cannot be opened, or is not a file.
    FormatError
        Where the index is bad.
    """
    source = store.open(key, wait=wait)
    if source is None:
        return None
    path, version = store.url_of(key), source.version
    try:
        index = shard_indexes.get(path, version, layout)
        if index is None:
            index = read_index(source)
            shard_indexes.put(path, version, index, layout)
    except BaseException:
        source.close()
        raise
    return ShardFile(FileKey(path, version), source, index)
