"""Files that appear, or replace another one, all at once: written beside it and renamed over it."""

from __future__ import annotations

import os
import stat
from contextlib import nullcontext, suppress
from pathlib import Path
from types import TracebackType

from wkgpu.errors import AlreadyExistsError, OutdatedFileError, WkgpuError
from wkgpu.settings import config
from wkgpu.storage.stores.files import Buffer, Replacing, Source, Version, WritableFile
from wkgpu.storage.stores.local.file_bytes import copy_range, write_all
from wkgpu.storage.stores.local.hidden import LOCKED_FILE, hidden_beside
from wkgpu.storage.stores.local.locks import file_lock
from wkgpu.storage.stores.local.open_files import patiently
from wkgpu.storage.stores.local.os_errors import os_error_to_wkgpu, wrap_os_errors
from wkgpu.storage.stores.local.regular_file import not_a_file, version_of


class AtomicFile(WritableFile):
    """A new file that is put in its place at the end of a ``with`` block, unless that raises.

    Parameters
    ----------
    path : Path
        The file to make or to replace, whose permissions the new one takes over. Missing folders are made. To replace
        what a link leads to, give its real path.
    is_locked : bool
        Whether the caller holds a lock of the file. Then what a crash has left is replaced by the next writer, and
        never piles up. Where two have the lock, because another program has replaced the file that carries it, the
        first one of them gets an `OutdatedFileError`.
    durable : bool, optional
        Whether to wait until the disk has the file before it replaces the old one; by default as the settings say.
    replacing : Version, "anything" or "nothing"
        What it may replace.

    Attributes
    ----------
    descriptor : int
        The new file, open for reading and writing.

    Raises
    ------
    ReadOnlyError, StorageAccessError
        Where the folder or the file cannot be written, or where there is a folder, a link, a pipe or a device: only
        regular files are replaced.
    AlreadyExistsError, OutdatedFileError
        Where there is something, or the file is in another state, than may be replaced.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a" / "file"
    >>> with AtomicFile(path) as new:
    ...     new.write(b"whole", 0)
    >>> path.read_bytes()
    b'whole'
    """

    descriptor: int

    def __init__(
        self, path: Path, *, is_locked: bool = False, durable: bool | None = None, replacing: Replacing = "anything"
    ) -> None:
        self._durable = config.durable_writes if durable is None else durable
        self._path = path
        self._is_locked = is_locked
        self._replacing = replacing
        self._hidden = hidden_beside(path, LOCKED_FILE if is_locked else None)
        self.descriptor = self._inode = -1
        self._is_left_out = self._is_moved = False

    def __enter__(self) -> AtomicFile:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            old = self._old_status()
            self.descriptor = patiently(self._created)
            self._inode = os.fstat(self.descriptor).st_ino
        except OSError as error:
            if isinstance(error, WkgpuError):
                raise
            raise os_error_to_wkgpu(f"Cannot write {self._path}", error) from error
        if old is not None:
            with suppress(OSError):  # it may belong to another user
                os.fchmod(self.descriptor, old.st_mode & 0o7777)
        return self

    def leave_out(self) -> None:
        """See `WritableFile.leave_out`."""
        self._is_left_out = True

    def write(self, data: Buffer, offset: int) -> None:
        """See `WritableFile.write`."""
        with wrap_os_errors(f"Cannot write {self._path}"):
            write_all(self.descriptor, data, offset)

    def truncate(self, nbytes: int) -> None:
        """See `WritableFile.truncate`."""
        with wrap_os_errors(f"Cannot write {self._path}"):
            os.ftruncate(self.descriptor, nbytes)

    def copy_range(self, source: Source, begin: int, offset: int, nbytes: int) -> None:
        """See `WritableFile.copy_range`."""
        if source.descriptor is None:
            super().copy_range(source, begin, offset, nbytes)
            return
        with wrap_os_errors(f"Cannot write {self._path}"):
            copy_range(source.descriptor, begin, self.descriptor, offset, nbytes)

    def _old_status(self) -> os.stat_result | None:
        """Return the status of the file that is to be replaced, None if there is none; all else is an error."""
        try:
            status = self._path.lstat()
        except FileNotFoundError:
            if isinstance(self._replacing, Version):
                raise self._outdated() from None
            return None
        if self._replacing == "nothing":
            raise AlreadyExistsError(f"{self._path} exists; choose another place or remove it.")
        if not stat.S_ISREG(status.st_mode):
            raise not_a_file(self._path, status)
        if self._replacing not in ("anything", version_of(status)):
            raise self._outdated()
        return status

    def _is_own(self) -> bool:
        """Whether the hidden file is still the one that was created, and not that of another writer."""
        try:
            return self._hidden.lstat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def _outdated(self) -> OutdatedFileError:
        return OutdatedFileError(f"{self._path} was changed by another process since it was read. Read it again.")

    def _created(self) -> int:
        """Create the file; what a crash has left there, or another user has put there, is never opened."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(self._hidden, flags, 0o666)
        except FileExistsError:
            self._hidden.unlink()
            return os.open(self._hidden, flags, 0o666)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_moved = False
        try:
            try:
                if kind is None and self._durable:
                    os.fsync(self.descriptor)
            finally:
                os.close(self.descriptor)  # before it replaces anything: some file systems report errors only here
            if kind is None:
                self._commit()
        except OSError as failure:
            if isinstance(failure, WkgpuError):
                raise
            raise os_error_to_wkgpu(f"Cannot write {self._path}", failure) from failure
        finally:
            # Where the file that carries the lock has been replaced, another writer may already have made its own one.
            if not self._is_moved and self._is_own():
                self._hidden.unlink(missing_ok=True)

    def _commit(self) -> None:
        compares = isinstance(self._replacing, Version) and not self._is_locked
        with file_lock(self._path) if compares else nullcontext():
            self._old_status()
            if not self._is_own():
                raise self._outdated()
            if self._is_left_out:
                self._path.unlink(missing_ok=True)
            elif self._replacing == "nothing":
                self._move_to_free_name()
            else:
                self._is_moved = True  # before: an interrupt in between leaves a file that the next writer removes
                try:
                    self._hidden.replace(self._path)
                except OSError:
                    self._is_moved = False
                    raise
        if not self._durable:
            return
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _move_to_free_name(self) -> None:
        """Put the file in its place, unless another process was faster: a rename would replace what that has made."""
        try:
            os.link(self._hidden, self._path)
        except OSError as error:  # of another kind on a file system without hard links
            if isinstance(error, FileExistsError) or os.path.lexists(self._path):
                raise AlreadyExistsError(f"{self._path} exists; another process has just made it.") from error
            self._hidden.replace(self._path)


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write a small file at once and durably: a reader, also after a power failure, sees the old one or the new one.

    Raises
    ------
    ReadOnlyError, StorageAccessError
        Where the folder or the file cannot be written; the old file is then as it was.
    """
    with AtomicFile(path, durable=True) as new:
        new.write(data, 0)
