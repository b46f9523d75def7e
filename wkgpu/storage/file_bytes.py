"""Bytes of files at offsets: whole reads, whole writes, and copies from file to file."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from wkgpu.errors import ChunkError
from wkgpu.settings import config
from wkgpu.storage.access import reporting_as

_COMPARED_BYTES = 256 << 10  # of each file at a time: both stay within a core's cache


def read_exactly(descriptor: int, nbytes: int, offset: int, path: str | Path) -> bytes:
    """Read up to ``nbytes``; fewer only where the file ends.

    Raises
    ------
    StorageAccessError
        Where the system reports an error.
    """
    parts = []
    with reporting_as(f"Cannot read {path}"):
        while nbytes > 0:
            part = os.pread(descriptor, nbytes, offset)
            if not part:
                break
            parts.append(part)
            nbytes -= len(part)
            offset += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def write_all(descriptor: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Write all of ``data`` at a file offset: ``os.pwrite`` may stop early, for example at 2 GiB."""
    rest = memoryview(data).cast("B")
    while rest:
        done = os.pwrite(descriptor, rest, offset)
        rest = rest[done:]
        offset += done


def copy_range(source: int, begin: int, target: int, offset: int, nbytes: int) -> None:
    """Copy bytes from file to file, within the system where it can do that."""
    within_system = hasattr(os, "copy_file_range")
    while nbytes > 0:
        done = 0
        if within_system:
            try:
                done = os.copy_file_range(source, target, nbytes, begin, offset)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise
                within_system = False
        if done == 0:  # also where a file system copies nothing and reports no error
            within_system = False
            part = os.pread(source, min(nbytes, 1 << 20), begin)
            if not part:
                raise ChunkError(
                    f"A shard became shorter while it was copied: {nbytes} bytes at offset {begin} are gone."
                )
            write_all(target, part, offset)
            done = len(part)
        begin += done
        offset += done
        nbytes -= done


def have_equal_bytes(one: int, other: int, nbytes: int) -> bool:
    """Whether two open files of one size have the same bytes; all threads look, up to the first difference."""
    threads = max(min(config.threads, nbytes // (4 * _COMPARED_BYTES)), 1)
    differs = False

    def compare(thread: int) -> None:
        nonlocal differs
        mine, others = bytearray(_COMPARED_BYTES), bytearray(_COMPARED_BYTES)
        for offset in range(thread * _COMPARED_BYTES, nbytes, threads * _COMPARED_BYTES):
            if differs:
                return
            # What a file has lost meanwhile is no longer equal, and what lies behind the end stays as it was.
            if os.preadv(one, [mine], offset) != os.preadv(other, [others], offset) or mine != others:
                differs = True

    if threads == 1:
        compare(0)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(compare, range(threads)))
    return not differs
