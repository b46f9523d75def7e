"""A folder of a local file system as a store."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from wkgpu.errors import AlreadyExistsError, ReadOnlyError, StorageAccessError, WkgpuError
from wkgpu.settings import config
from wkgpu.storage.stores.files import Buffer, Entry, Replacing, Source, Version, WritableFile
from wkgpu.storage.stores.local import open_files
from wkgpu.storage.stores.local.atomic_file import AtomicFile
from wkgpu.storage.stores.local.deletion import discard
from wkgpu.storage.stores.local.file_bytes import copy_range, read_into, write_all
from wkgpu.storage.stores.local.file_copy import copy_file
from wkgpu.storage.stores.local.file_swap import all_locks, finish_swap, holds_earlier_swap, journal_of
from wkgpu.storage.stores.local.hidden import is_hidden, remove_abandoned_files
from wkgpu.storage.stores.local.links import HOW_TO_ALLOW, first_link
from wkgpu.storage.stores.local.locks import file_lock
from wkgpu.storage.stores.local.open_files import patiently
from wkgpu.storage.stores.local.os_errors import os_error_to_wkgpu, wrap_os_errors
from wkgpu.storage.stores.local.regular_file import identity_of, not_a_file, open_regular, version_of
from wkgpu.storage.stores.local.transaction import Transaction, new_transaction, transactions_in
from wkgpu.storage.stores.store import Location, Store


class LocalSource(Source):
    """A local file that is open for reading. Its descriptor stays on the file that was opened."""

    __slots__ = ("_path", "descriptor", "key", "nbytes", "version")

    descriptor: int

    def __init__(self, path: str, key: str) -> None:
        self._path = path
        self.key = key
        self.descriptor, status = open_regular(path)
        self.nbytes = status.st_size
        self.version = version_of(status)
        open_files.held.add(self.descriptor)

    def read_many_into(self, ranges: Iterable[tuple[int, memoryview]]) -> None:
        """See `Source.read_many_into`."""
        for offset, buffer in ranges:
            read_into(self.descriptor, buffer, offset, self._path)

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            open_files.held.discard(descriptor)  # before another thread opens a file and gets its number
            os.close(descriptor)


class ChangedFile(WritableFile):
    """A local file that is changed in place."""

    descriptor: int

    def __init__(self, path: Path) -> None:
        self._path = path
        self.descriptor = -1

    def __enter__(self) -> ChangedFile:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = patiently(partial(os.open, self._path, flags))
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                os.close(descriptor)
                raise not_a_file(self._path, status)
        except OSError as error:
            if isinstance(error, WkgpuError):
                raise
            raise os_error_to_wkgpu(f"Cannot write {self._path}", error) from error
        self.descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with wrap_os_errors(f"Cannot write {self._path}"):
            try:
                if kind is None and config.durable_writes:
                    os.fsync(self.descriptor)
            finally:
                os.close(self.descriptor)

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


class LocalStore(Store):
    """A folder and what is in it.

    Files are read through links. They are written through links only if that is allowed: the file may belong to another
    dataset, and may be a shard of several mags, whose writers do not know of each other.

    Parameters
    ----------
    root : str or Path
        The folder; it need not exist.
    follows_links : bool
        Whether files are written that are links, or lie in linked folders; without it, as the settings say.
    noun : str
        What messages call the folder, if they call it anything.

    Examples
    --------
    >>> store = LocalStore("/data/cortex")
    >>> store.url_of("color/1/shard")
    '/data/cortex/color/1/shard'
    """

    has_descriptors: ClassVar[bool] = True
    has_locks: ClassVar[bool] = True
    changes_in_place: ClassVar[bool] = True
    can_write: ClassVar[bool] = True
    can_list: ClassVar[bool] = True
    can_move_folders: ClassVar[bool] = True
    can_clone_ranges: ClassVar[bool] = hasattr(os, "copy_file_range")

    def __init__(self, root: str | Path, *, follows_links: bool = False, noun: str = "") -> None:
        self.root = str(root)
        self._inside = f" inside a {noun}" if noun else ""
        self.follows_links = follows_links

    @property
    def coalesce_bytes(self) -> int:
        """As the settings say; see `Store`."""
        return config.coalesce_bytes

    @property
    def max_open_sources(self) -> int:
        """A share of the files that the process may have open; see `Store`."""
        return open_files.max_held()

    def is_scarce(self) -> bool:
        """See `Store.is_scarce`."""
        return open_files.is_scarce()

    def url_of(self, key: str) -> str:
        """Return the path of a file."""
        return f"{self.root}/{key}" if key else self.root

    def path_of(self, key: str) -> Path:
        """Return the path of a file."""
        return Path(self.url_of(key))

    def writable_path(self, key: str) -> Path:
        """Return the real path of a file that is to be written.

        Raises
        ------
        ReadOnlyError
            If a link inside the folder leads to it, and none may be followed.
        """
        path = self.url_of(key)
        link = first_link(path, self.root)
        if link is None:
            return Path(path)
        if not (self.follows_links or config.foreign_writes):
            raise ReadOnlyError(
                f"{link} is a link{self._inside}, so {path} is only read. To change it, replace the link by a "
                f"copy of what it leads to; or {HOW_TO_ALLOW}."
            )
        return Path(os.path.realpath(path))

    def version(self, key: str) -> Version | None:
        """See `Store.version`."""
        try:
            status = os.stat(self.url_of(key))  # noqa: PTH116 - for each plan: this takes a third of Path.stat
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StorageAccessError(error.errno, f"Cannot look at {self.url_of(key)}: {error.strerror}") from error
        return version_of(status) if stat.S_ISREG(status.st_mode) else None

    def open(self, key: str, *, wait: bool = True) -> LocalSource | None:
        """See `Store.open`."""
        path = self.url_of(key)
        try:
            return patiently(partial(LocalSource, path, key)) if wait else LocalSource(path, key)
        except FileNotFoundError:
            return None
        except StorageAccessError:
            raise
        except OSError as error:
            hint = ". Its folder is a file" if error.errno == errno.ENOTDIR else ""
            raise StorageAccessError(error.errno, f"Cannot read {path}: {error.strerror}{hint}") from error

    def entries(self, key: str) -> Iterable[Entry]:
        """See `Store.entries`. What is neither a file nor a folder, also behind a link, is left out.

        What cannot be looked at, such as a link to itself, is listed as a file: it is named when it is opened.
        """
        found = []
        folder = self.url_of(key)
        with wrap_os_errors(f"Cannot list {folder}"), suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                is_folder, is_file = False, True
                with suppress(OSError):
                    is_folder, is_file = entry.is_dir(), entry.is_file()
                if is_folder or is_file:
                    found.append(Entry(entry.name, is_folder))
        return found

    def new_file(
        self, key: str, *, replacing: Replacing = "anything", is_locked: bool = False, durable: bool | None = None
    ) -> AtomicFile:
        """See `Store.new_file`. Where a link is, even one that leads to nothing, there is something."""
        if replacing == "nothing" and (path := self.path_of(key)).is_symlink():
            raise AlreadyExistsError(f"{path} is a link; choose another place or remove it.")
        return AtomicFile(self.writable_path(key), is_locked=is_locked, durable=durable, replacing=replacing)

    def is_swapping(self, key: str, *, also_earlier: bool = False) -> bool:
        """See `Store.is_swapping`."""
        path = self.url_of(key)
        is_found = os.access(_journal_path(path), os.F_OK)
        return is_found or (also_earlier and holds_earlier_swap(Path(path)))

    def has_changed(self, key: str, version: Version | None) -> bool:
        """See `Store.has_changed`; two system calls and little else, because it comes before each plan."""
        path = f"{self.root}/{key}"
        if version is None or os.access(_journal_path(path), os.F_OK):
            return True
        try:
            return identity_of(os.stat(path)) != version.identity  # noqa: PTH116 - a third of Path.stat
        except OSError:
            return True

    def finish_swap(self, key: str, is_member: Callable[[str], bool]) -> None:
        """See `Store.finish_swap`."""
        finish_swap(self.path_of(key), is_member)

    def transaction(self, key: str) -> AbstractContextManager[Transaction]:
        """Begin a transaction in which a folder or a file comes or goes; see `new_transaction`."""
        return new_transaction(self.path_of(key))

    def transactions(self, key: str) -> list[Transaction]:
        """Return the transactions in which folders or files of a folder come or go, of all processes."""
        return transactions_in(self.path_of(key))

    def leftovers(self, key: str = "") -> list[str]:
        """See `Store.leftovers`; links are not followed."""
        found = []
        for parent, names, files in os.walk(self.url_of(key)):
            hidden = {name for name in (*names, *files) if is_hidden(name)}
            found += [os.path.relpath(os.path.join(parent, name), self.root) for name in hidden]  # noqa: PTH118
            names[:] = [name for name in names if name not in hidden]
        return sorted(found)

    def remove_abandoned(self, key: str) -> None:
        """See `Store.remove_abandoned`."""
        remove_abandoned_files(Path(os.path.realpath(self.url_of(key))))

    def change(self, key: str) -> ChangedFile:
        """See `Store.change`."""
        return ChangedFile(self.writable_path(key))

    def copy(self, source: Location, key: str) -> None:
        """See `Store.copy`; with the blocks of a local file where they can be shared, and with its holes."""
        if isinstance(source.store, LocalStore):
            copy_file(source.store.path_of(source.key), self.writable_path(key))
        else:
            super().copy(source, key)

    def delete(self, key: str) -> None:
        """See `Store.delete`. Of a link the link is deleted."""
        discard(self.path_of(key))

    def lock(self, key: str, number: int = 0, count: int = 1, wait: bool = True) -> AbstractContextManager[None]:
        """See `Store.lock`."""
        return file_lock(self.url_of(key), number, count, wait)

    def all_locks(self, key: str) -> AbstractContextManager[None]:
        """See `Store.all_locks`."""
        return all_locks(self.path_of(key))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LocalStore):
            return NotImplemented
        return (self.root, self.follows_links) == (other.root, other.follows_links)

    def __hash__(self) -> int:
        return hash((self.root, self.follows_links))

    def __repr__(self) -> str:
        return f"LocalStore({self.root!r})"


def location_of(path: Path) -> Location:
    """Return a local file or folder as one of the store that its folder is."""
    return Location(LocalStore(path.parent), path.name)


@lru_cache(1024)
def _journal_path(path: str) -> str:
    return str(journal_of(Path(path)))
