"""A file copied as it is: with the blocks of the old one where the file system can share them, and with its holes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from wkgpu.storage.stores.local.atomic_file import AtomicFile
from wkgpu.storage.stores.local.file_bytes import copy_range
from wkgpu.storage.stores.local.open_files import patiently
from wkgpu.storage.stores.local.os_errors import wrap_os_errors
from wkgpu.storage.stores.local.regular_file import open_regular


def copy_file(source: Path, target: Path) -> None:
    """Copy a file; the new one appears when it is whole. Missing folders around it are made.

    Raises
    ------
    ReadOnlyError, StorageAccessError, ChunkError
        If the file cannot be read or written, or becomes shorter while it is copied.
    """
    with wrap_os_errors(f"Cannot read {source}"):
        descriptor, status = patiently(partial(open_regular, source))
    try:
        with AtomicFile(target) as new, wrap_os_errors(f"Cannot copy {source} to {target}"):
            nbytes = status.st_size
            for begin, end in _stretches(descriptor, nbytes):
                copy_range(descriptor, begin, new.descriptor, begin, end - begin)
            os.ftruncate(new.descriptor, nbytes)
    finally:
        os.close(descriptor)


def _stretches(descriptor: int, nbytes: int) -> Iterator[tuple[int, int]]:
    """Yield where the data of a file begins and ends. Between them a raw shard has holes where nothing was written."""
    if not hasattr(os, "SEEK_DATA"):
        yield 0, nbytes
        return
    end = 0
    while end < nbytes:
        try:
            begin = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # there is nothing but a hole
                return
            raise
        end = min(os.lseek(descriptor, begin, os.SEEK_HOLE), nbytes)
        yield begin, end
