"""An opened shard file, whose index and whose bytes come from one and the same state of the file."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from wkgpu.errors import OutdatedFileError, StorageAccessError
from wkgpu.storage.shard_index import ShardIndex, Version, shard_indexes, version_of
from wkgpu.storage.stores.local.open_files import held, patiently
from wkgpu.storage.stores.local.regular_file import open_regular

IndexReader = Callable[[int, int, str], ShardIndex]
"""Reads and checks an index: (file descriptor, bytes of the file, path)."""


class FileKey(NamedTuple):
    """Names one state of a file."""

    path: str
    version: Version


class ShardFile:
    """A shard, open for reading.

    The descriptor stays on the file that was opened: when another file replaces it, the old one is read, whole.

    Attributes
    ----------
    key : FileKey
        The file, and the state that it had when it was opened.
    descriptor : int
        -1 when it is closed.
    index : ShardIndex
        Where its chunks lie.
    """

    __slots__ = ("descriptor", "index", "key")

    def __init__(self, key: FileKey, descriptor: int, index: ShardIndex) -> None:
        self.key = key
        self.descriptor = descriptor
        self.index = index

    @property
    def path(self) -> str:
        """Path of the file."""
        return self.key.path

    @property
    def nbytes(self) -> int:
        """Bytes of the file."""
        return self.key.version[2]

    def close(self) -> None:
        """Close the file, if it is open."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            held.discard(descriptor)  # before another thread opens a file and gets its number
            os.close(descriptor)


def open_shard(path: str, read_index: IndexReader) -> ShardFile | None:
    """Open a shard, with its index from the cache or read again; None where it does not exist.

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
        raise _unreadable(path, error) from error
    try:
        version = version_of(status)
        index = shard_indexes.get(path, version)
        if index is None:
            index = read_index(descriptor, status.st_size, path)
            shard_indexes.put(path, version, index)
    except BaseException:
        os.close(descriptor)
        raise
    held.add(descriptor)
    return ShardFile(FileKey(path, version), descriptor, index)


def reopen(file: ShardFile, wait: bool = True) -> None:
    """Open a closed shard once more.

    Parameters
    ----------
    wait : bool
        Whether to wait until other threads have closed files, where there are too many.

    Raises
    ------
    OutdatedFileError
        If the file is gone, or is another one than it was.
    StorageAccessError
        If it cannot be opened.
    """
    path, version = file.key
    try:
        descriptor, status = patiently(partial(open_regular, path)) if wait else open_regular(path)
    except FileNotFoundError as error:
        raise OutdatedFileError(f"{path} was deleted while it was read; read again.") from error
    except StorageAccessError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from error
    if version_of(status) != version:
        os.close(descriptor)
        raise OutdatedFileError(f"{path} was replaced while it was read; read again.")
    held.add(descriptor)
    file.descriptor = descriptor


def _unreadable(path: str, error: OSError) -> StorageAccessError:
    hint = " Its folder is a file." if error.errno == errno.ENOTDIR else ""
    return StorageAccessError(error.errno, f"Cannot read the shard {path}: {error.strerror}.{hint}")
