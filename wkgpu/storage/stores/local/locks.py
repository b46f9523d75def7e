"""Exclusive locks on files across threads and processes, which leave nothing behind.

Where the system has them (Linux) these are open-file-description locks on single bytes: they belong to the opened file
and not to the process, so that two threads exclude each other too; the bytes need not exist in the file, so that one
lock file serves as many locks as there are numbers; and they end with the process, however it ends. Elsewhere the
whole file is locked with ``flock``, which is coarser and just as safe. Reference: fcntl(2), "Open file description
locks".

One that asks for many locks gets them when all are free at once, which they might never be while others come and go. So
it holds one more lock, the *gate*, until it has them, and all others pass the gate first.

Some file systems have no locks. There writing is an error, unless the setting `locking` is off: then threads of this
process still exclude each other, and other processes are not excluded.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import io
import os
import struct
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from wkgpu.errors import NotFoundError, ReadOnlyError, StorageAccessError
from wkgpu.settings import config
from wkgpu.storage.stores.local.open_files import patiently
from wkgpu.storage.stores.local.thread_locks import hold_range

LOCKS_BYTES = sys.platform == "linux"
"""Whether the locks of one file are independent of each other; elsewhere each is a lock on the whole file."""
_GATE = 1 << 62  # behind the locks that callers have
_POLLING_SECONDS = 1.0  # before a garbage collection, which takes too long for each lock that is held for a moment
_WITHOUT_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL})
_HINT = (
    ". Its file system has no file locks (such as Lustre without -o flock, or NFS without a lock daemon). Mount it "
    "with locks; or, if no other process writes there at the same time, set wkgpu.config.locking = False, or "
    "WKGPU_LOCKING=off"
)
_has_warned = False
_FLOCK = struct.Struct("@hhqqi4x")  # struct flock on 64-bit Linux: type, whence, start, length, process (must be 0)


@dataclass(frozen=True)
class _FileLock:
    """A lock that a thread waits for or has: where, which bytes, and which thread of which process."""

    file: weakref.ref[io.FileIO]
    place: tuple[int, int]
    owner: tuple[int, int]
    byte: int
    count: int

    def is_in_the_way_of(self, other: _FileLock) -> bool:
        """Whether it is one of the same thread that excludes another one."""
        overlap = self.byte < other.byte + other.count and other.byte < self.byte + self.count
        return (self.place, self.owner) == (other.place, other.owner) and (overlap or not LOCKS_BYTES)


_locks: dict[int, _FileLock] = {}  # by descriptor


@contextmanager
def file_lock(path: Path | str, byte: int = 0, count: int = 1, wait: bool = True) -> Iterator[None]:
    """Hold locks of a file, from the number ``byte`` on.

    Parameters
    ----------
    path : Path
        An existing, writable file. It may be replaced by renaming while another process waits for its lock: the lock
        that is then held is that of the new file.
    byte, count : int
        Which of the file's locks, 0 to 2**62, and how many.
    wait : bool
        Whether to wait until they are free.

    Raises
    ------
    BlockingIOError
        If they are not free, and `wait` is False.
    NotFoundError, ReadOnlyError, StorageAccessError
        Where the file does not exist, is not writable, or its file system has no locks and the setting `locking` is on.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file, file_lock(file.name):
    ...     print("alone")
    alone
    """
    if not config.locking:
        with _thread_lock(path, byte, count, wait):
            yield
        return
    file = _locked_file(path, byte, count, wait)
    try:
        yield
    finally:
        _give_back(file)


@contextmanager
def _thread_lock(path: Path | str, byte: int, count: int, wait: bool) -> Iterator[None]:
    global _has_warned
    if not _has_warned:
        _has_warned = True
        warnings.warn(
            "The setting locking is off, so other processes are not kept out: let none write to the same shard files, "
            "or change the same properties file, at the same time.",
            RuntimeWarning,
            stacklevel=2,
        )
    held = hold_range(os.path.realpath(path), *((byte, byte + count) if LOCKS_BYTES else (0, 1 << 62)), wait)
    try:
        _open(path).close()  # the same errors as with a lock, also where the file was deleted while this one waited
        yield
    finally:
        held.release()


def _locked_file(path: Path | str, byte: int, count: int, wait: bool) -> io.FileIO:
    while True:
        file = _open(path)
        try:
            status = os.fstat(file.fileno())
            place, owner = (status.st_dev, status.st_ino), (os.getpid(), threading.get_ident())
            lock = _locks[file.fileno()] = _FileLock(weakref.ref(file), place, owner, byte, count)
            _acquire_in_turn(file, lock, wait)
            if _is_current(status, path):
                return file
        except BlockingIOError:
            file.close()
            raise
        except OSError as error:
            file.close()
            hint = _HINT if error.errno in _WITHOUT_LOCKS else ""
            raise StorageAccessError(error.errno, f"Cannot lock {path}: {error.strerror}{hint}") from error
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


def _acquire_in_turn(file: io.FileIO, lock: _FileLock, wait: bool) -> None:
    """Acquire a lock behind all who wait for many of them."""
    if not LOCKS_BYTES:
        _acquire(file, lock, wait)
        return
    gate = replace(lock, byte=_GATE, count=1)
    _acquire(file, gate, wait)
    try:
        if lock.count > 1:
            _acquire(file, lock, wait)
    finally:
        _unlock(file, gate)
    if lock.count == 1:
        _acquire(file, lock, wait)


def _acquire(file: io.FileIO, lock: _FileLock, wait: bool) -> None:
    try:
        return _try_to_acquire(file, lock, wait=False)
    except BlockingIOError:
        if not wait:
            raise
    _give_abandoned_back(file, lock)
    give_up = time.monotonic() + _POLLING_SECONDS
    pause = 1e-4
    while time.monotonic() < give_up:
        with suppress(BlockingIOError):
            return _try_to_acquire(file, lock, wait=False)
        time.sleep(pause)
        pause = min(2 * pause, 5e-3)
    gc.collect()  # an interrupt (Ctrl+C) may have left a lock of this process in a cycle with its traceback
    return _try_to_acquire(file, lock, wait=True)


def _try_to_acquire(file: io.FileIO, lock: _FileLock, wait: bool) -> None:
    if sys.platform == "linux":
        command = fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK
        fcntl.fcntl(file, command, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, lock.byte, lock.count, 0))
    else:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def _give_abandoned_back(file: io.FileIO, lock: _FileLock) -> None:
    """Give back the locks that are in the way and that this thread has itself.

    It would wait for itself. Such a lock is left over from a ``with`` block that an interrupt (Ctrl+C) has ended in the
    moment in which it would have given the lock back; the error's traceback keeps it open.
    """
    for held in list(_locks.values()):
        other = held.file()
        if other is not None and other is not file and not other.closed and held.is_in_the_way_of(lock):
            _give_back(other)


def _give_back(file: io.FileIO) -> None:
    """Unlock and close a file; closing alone would not do, if a process that was forked since then has it open too."""
    if file.closed:  # it was abandoned, and this is its late end
        return
    try:
        _unlock(file, _locks[file.fileno()])
    finally:
        file.close()


def _unlock(file: io.FileIO, lock: _FileLock) -> None:
    if sys.platform == "linux":
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, lock.byte, lock.count, 0))
    else:
        fcntl.flock(file, fcntl.LOCK_UN)


def _is_current(held: os.stat_result, path: Path | str) -> bool:
    """Whether the locked file is still the one at its path, and not one that a rename has replaced."""
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)
