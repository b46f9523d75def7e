"""Exclusive locks on files across threads and processes, which leave nothing behind.

Where the system has them (Linux) these are open-file-description locks on single bytes: they belong to the opened file
and not to the process, so that two threads exclude each other too; the bytes need not exist in the file, so that one
anchor file serves as many locks as there are numbers; and they end with the process, however it ends. Elsewhere the
whole file is locked with ``flock``, which is coarser and just as safe. Reference: fcntl(2), "Open file description
locks".
"""

from __future__ import annotations

import errno
import fcntl
import gc
import io
import os
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from wkgpu.errors import NotFoundError, ReadOnlyError, StorageAccessError
from wkgpu.storage.open_files import patiently

LOCKS_BYTES = sys.platform == "linux"
"""Whether the locks of one file are independent of each other; elsewhere each is a lock on the whole file."""
_POLLING_SECONDS = 1.0  # before a garbage collection, which takes too long for each lock that is held for a moment
_FLOCK = struct.Struct("@hhqqi4x")  # struct flock on 64-bit Linux: type, whence, start, length, process (must be 0)


@contextmanager
def file_lock(path: Path | str, byte: int = 0, count: int = 1) -> Iterator[None]:
    """Hold locks of a file, from the number ``byte`` on; waits until they are free.

    Parameters
    ----------
    path : Path
        An existing, writable file. It may be replaced by renaming while another process waits for its lock: the lock
        that is then held is that of the new file.
    byte, count : int
        Which of the file's locks, 0 to 2**62, and how many.

    Raises
    ------
    NotFoundError, ReadOnlyError, StorageAccessError
        Where the file does not exist, is not writable, or its file system has no locks.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file, file_lock(file.name):
    ...     print("alone")
    alone
    """
    file = _locked_file(path, byte, count)
    try:
        yield
    finally:
        _release(file.fileno(), byte, count)
        file.close()


def _locked_file(path: Path | str, byte: int, count: int) -> io.FileIO:
    while True:
        file = _open(path)
        try:
            _acquire(file.fileno(), byte, count)
            if _is_current(file.fileno(), path):
                return file
        except OSError as error:
            file.close()
            raise StorageAccessError(
                error.errno, f"Cannot lock {path}: {error.strerror}. To be written, its file system needs file locks"
            ) from error
        except BaseException:
            file.close()
            raise
        file.close()


def _open(path: Path | str) -> io.FileIO:
    try:
        # It closes itself, and so gives its lock back, wherever an interrupt leaves it. A subclass or a descriptor that
        # Python code closes, would not: an interrupt could come between.
        return patiently(partial(io.FileIO, path, "r+"))
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} does not exist; it is needed to lock what is written beside it.") from error
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise ReadOnlyError(f"{path} is not writable ({error.strerror}); its dataset can only be read.") from error
        raise StorageAccessError(error.errno, f"Cannot open {path} to lock it: {error.strerror}") from error


def _acquire(descriptor: int, byte: int, count: int) -> None:
    give_up = time.monotonic() + _POLLING_SECONDS
    pause = 1e-4
    while True:
        with suppress(BlockingIOError):
            return _try_to_acquire(descriptor, byte, count, wait=False)
        if time.monotonic() > give_up:
            break
        time.sleep(pause)
        pause = min(2 * pause, 5e-3)
    gc.collect()  # an interrupt (Ctrl+C) may have left a lock of this process in a cycle with its traceback
    return _try_to_acquire(descriptor, byte, count, wait=True)


def _try_to_acquire(descriptor: int, byte: int, count: int, wait: bool) -> None:
    if sys.platform == "linux":
        command = fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK
        fcntl.fcntl(descriptor, command, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, count, 0))
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def _release(descriptor: int, byte: int, count: int) -> None:
    """Give the lock back; closing the file would not, if a process that was forked meanwhile has it open as well."""
    if sys.platform == "linux":
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, byte, count, 0))
    else:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _is_current(descriptor: int, path: Path | str) -> bool:
    """Whether the locked file is still the one at its path, and not one that a rename has replaced."""
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        return False
    held = os.fstat(descriptor)
    return (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)
