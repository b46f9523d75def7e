"""Regular files, opened for reading: what else may lie at a path would let a reader wait, or never end.

A dataset from elsewhere may hold a pipe, a device, or a link to one, instead of any file. Opening a pipe waits for
a writer, and a device such as ``/dev/zero`` has no end.
"""

from __future__ import annotations

import errno
import os
import stat
from functools import partial
from pathlib import Path

from wkgpu.errors import StorageAccessError
from wkgpu.storage.stores.files import Version, too_large
from wkgpu.storage.stores.local.file_bytes import read_exactly
from wkgpu.storage.stores.local.open_files import patiently

_FILE_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link",
}
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe would wait for a writer


def open_regular(path: str | Path, flags: int = 0) -> tuple[int, os.stat_result]:
    """Open a regular file for reading, through links; returns its descriptor and its status.

    Parameters
    ----------
    flags : int
        More flags for `os.open`, such as ``O_NOFOLLOW``.

    Raises
    ------
    OSError
        What `os.open` raises.
    StorageAccessError
        If there is something else than a regular file.
    """
    descriptor = os.open(path, _FLAGS | flags)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise not_a_file(path, status)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status


def not_a_file(path: str | Path, status: os.stat_result) -> StorageAccessError:
    """Return the error for what is at a path instead of a regular file."""
    kind = _FILE_KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")
    code = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
    return StorageAccessError(code, f"{path} is {kind} where a regular file belongs. Move it away")


def read_regular(path: str | Path, max_bytes: int, flags: int = 0) -> bytes:
    """Return the bytes of a small file.

    Raises
    ------
    StorageAccessError
        If it has more than ``max_bytes`` bytes, is not a regular file, or cannot be read.
    FileNotFoundError
        If it does not exist.
    """
    try:
        descriptor, status = patiently(partial(open_regular, path, flags))
    except (FileNotFoundError, StorageAccessError):
        raise
    except OSError as error:
        raise StorageAccessError(error.errno, f"Cannot read {path}: {error.strerror}") from error
    try:
        wanted = min(max(status.st_size, 1 << 16), max_bytes)
        data = read_exactly(descriptor, wanted + 1, 0, path)
    finally:
        os.close(descriptor)
    if len(data) > wanted:
        raise too_large(str(path), status.st_size, max_bytes)
    return data


def version_of(status: os.stat_result) -> Version:
    """Return what tells this state of a file from all others, also from those of files that take its place."""
    identity = identity_of(status)
    mtime_ns, ctime_ns = identity[3:]
    return Version(identity, mtime_ns if mtime_ns > ctime_ns else ctime_ns)


def identity_of(status: os.stat_result) -> tuple[int, int, int, int, int]:
    """Return the identity of a version: see `Version`."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
