"""Bytes of files at offsets: whole reads, whole writes, and copies from file to file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from wkgpu.errors import ChunkError, StorageAccessError
from wkgpu.storage.stores.local.os_errors import wrap_os_errors


def read_exactly(descriptor: int, nbytes: int, offset: int, path: str | Path) -> bytes:
    """Read up to ``nbytes``; fewer only where the file ends.

    Raises
    ------
    StorageAccessError
        Where the system reports an error.
    """
    parts = []
    with wrap_os_errors(f"Cannot read {path}"):
        while nbytes > 0:
            part = os.pread(descriptor, nbytes, offset)
            if not part:
                break
            parts.append(part)
            nbytes -= len(part)
            offset += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_into(descriptor: int, buffer: memoryview, offset: int, path: str | Path) -> None:
    """Fill a buffer of bytes from a file offset on.

    Raises
    ------
    StorageAccessError
        Where the system reports an error, or the file ends before.
    """
    rest = buffer
    with wrap_os_errors(f"Cannot read {path}"):
        while rest:
            done = os.preadv(descriptor, [rest], offset)
            if done == 0:
                raise StorageAccessError(errno.ENODATA, f"{path} ends at byte {offset}, {len(rest)} bytes too early")
            rest = rest[done:]
            offset += done


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
