"""An opened shard file, whose index and whose bytes come from one and the same state of the file."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass

from wkgpu.errors import StorageAccessError
from wkgpu.storage.shard_index import ShardIndex, shard_indexes
from wkgpu.storage.stores.local.open_files import held
from wkgpu.storage.stores.local.regular_file import open_regular

IndexReader = Callable[[int, int, str], ShardIndex]
"""Reads and checks an index: (file descriptor, bytes of the file, path)."""


@dataclass(frozen=True)
class ShardFile:
    """A shard, open for reading.

    The descriptor stays on the file that was opened: when somebody replaces the shard, this one goes on reading the
    old one, whole.
    """

    path: str
    descriptor: int
    nbytes: int
    index: ShardIndex

    def close(self) -> None:
        """Close the file."""
        held.discard(self.descriptor)  # before another thread opens a file and gets its number
        os.close(self.descriptor)


def open_shard(path: str, read_index: IndexReader) -> ShardFile | None:
    """Open a shard, with its index from the cache or read anew; None where it does not exist.

    Raises
    ------
    StorageAccessError
        Where it cannot be opened, or is not a file.
    FormatError
        Where the index is bad.
    """
    try:
        descriptor, status = open_regular(path)
    except FileNotFoundError:
        return None
    except StorageAccessError:
        raise
    except OSError as error:
        hint = " Its folder is a file." if error.errno == errno.ENOTDIR else ""
        raise StorageAccessError(error.errno, f"Cannot read the shard {path}: {error.strerror}.{hint}") from error
    try:
        index = shard_indexes.get(path, status)
        if index is None:
            index = read_index(descriptor, status.st_size, path)
            shard_indexes.put(path, status, index)
    except BaseException:
        os.close(descriptor)
        raise
    held.add(descriptor)
    return ShardFile(path, descriptor, status.st_size, index)
