"""Files that appear, or replace another one, all at once: written beside it and renamed over it."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from wkgpu.errors import WkgpuError
from wkgpu.settings import config
from wkgpu.storage.stores.local.file_bytes import write_all
from wkgpu.storage.stores.local.open_files import patiently
from wkgpu.storage.stores.local.os_errors import os_error_to_wkgpu
from wkgpu.storage.stores.local.regular_file import not_a_file


class AtomicFile:
    """A new file that takes the place of ``path`` at the end of a ``with`` block, unless that raises.

    Parameters
    ----------
    path : Path
        The file to make or to replace, whose permissions the new one takes over. Missing folders are made. To replace
        what a link leads to, give its real path.
    temporary_name : str, optional
        Name of the new file until then, in the same folder. A fixed name is for files that are written under a lock:
        what a crash has left is then removed by the next writer, and never piles up.
    durable : bool, optional
        Whether to wait until the disk has the file before it replaces the old one; by default as the settings say.

    Attributes
    ----------
    descriptor : int
        The new file, open for reading and writing.

    Raises
    ------
    ReadOnlyError, StorageAccessError
        Where the folder or the file cannot be written, or where there is a folder, a link, a pipe or a device: only
        regular files are replaced.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a" / "file"
    >>> with AtomicFile(path) as new:
    ...     _ = os.write(new.descriptor, b"whole")
    >>> path.read_bytes()
    b'whole'
    """

    def __init__(self, path: Path, temporary_name: str | None = None, durable: bool | None = None) -> None:
        self._durable = config.durable_writes if durable is None else durable
        self._path = path
        self._temporary = path.with_name(temporary_name or f".{path.name}.{secrets.token_hex(6)}.tmp")
        self.descriptor = -1

    def __enter__(self) -> AtomicFile:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            old = self._old_status()
            self.descriptor = patiently(self._created)
        except OSError as error:
            if isinstance(error, WkgpuError):
                raise
            raise os_error_to_wkgpu(f"Cannot write {self._path}", error) from error
        if old is not None:
            with suppress(OSError):  # it may belong to another user
                os.fchmod(self.descriptor, old.st_mode & 0o7777)
        return self

    def _old_status(self) -> os.stat_result | None:
        """Return the status of the file that is to be replaced, None if there is none; all else is an error."""
        try:
            status = self._path.lstat()
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            raise not_a_file(self._path, status)
        return status

    def _created(self) -> int:
        """Create the file; what a crash has left there, or another user has put there, is never opened."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(self._temporary, flags, 0o666)
        except FileExistsError:
            self._temporary.unlink()
            return os.open(self._temporary, flags, 0o666)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
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
            self._temporary.unlink(missing_ok=True)

    def _commit(self) -> None:
        self._old_status()
        self._temporary.replace(self._path)
        if not self._durable:
            return
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write a small file at once and durably: a reader, or whoever looks after a power failure, sees old or new.

    Raises
    ------
    ReadOnlyError, StorageAccessError
        Where the folder or the file cannot be written; the old file is then as it was.
    """
    with AtomicFile(path, durable=True) as new:
        try:
            write_all(new.descriptor, data, 0)
        except OSError as error:
            raise os_error_to_wkgpu(f"Cannot write {path}", error) from error
