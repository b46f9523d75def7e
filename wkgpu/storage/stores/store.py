"""The protocol of a store: files by their keys, whatever file system, service or memory holds them.

A *key* is a relative path with slashes, such as ``color/1/shard``; ``""`` is the folder of the store itself. A store
says by its *capabilities* what it can do besides reading whole files and ranges; what it cannot do raises an
`UnsupportedError`, and the caller asks before. A new store is a subclass of `Store` in a file of its own.

Made for stores that are far away, too:

- Files are opened many at once, and with them come the ends of each file that the caller reads first, such as the index
  of a shard. A remote store asks for all of them concurrently, one request for each file.
- Ranges are read many at once.
- A file is replaced whole, and only if it still has the version that was read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

from wkgpu.errors import ArgumentError, NotFoundError, StorageAccessError, UnsupportedError
from wkgpu.storage.stores.files import Buffer, Entry, Replacing, Source, Version, WritableFile, too_large


class Store(ABC):
    """Files by their keys. The class attributes are its capabilities, which an object may answer by itself.

    Attributes
    ----------
    has_descriptors : bool
        Whether sources and files have descriptors, which compiled code and CUDA's libraries read and write.
    has_locks : bool
        Whether `lock` keeps other processes out. Without locks, `replacing` a version is what notices them.
    changes_in_place : bool
        Whether ranges of an existing file can be written.
    can_write, can_list : bool
        Whether files can be made and deleted, and whether folders can be listed (over HTTP they cannot).
    can_move_folders : bool
        Whether whole folders and sets of files can be put in their places at once.
    can_clone_ranges : bool
        Whether `WritableFile.copy_range` from a file of this store may share bytes with it instead of copying them.
    follows_links : bool
        Whether files are written that are links, or lie in linked folders, where a store has links.
    coalesce_bytes : int
        Largest gap between two ranges of a file that is read through, because that is cheaper than another request.
    max_open_sources : int
        How many files a caller may have open at once; further ones are opened when others were closed.
    """

    has_descriptors: ClassVar[bool] = False
    has_locks: ClassVar[bool] = False
    changes_in_place: ClassVar[bool] = False
    can_write: ClassVar[bool] = False
    can_list: ClassVar[bool] = False
    can_move_folders: ClassVar[bool] = False
    can_clone_ranges: ClassVar[bool] = False
    follows_links: bool = False

    @property
    @abstractmethod
    def coalesce_bytes(self) -> int:
        """See above."""

    @property
    def max_open_sources(self) -> int:
        """See above."""
        return 1 << 20

    def is_scarce(self) -> bool:
        """Whether so many files are open that a caller should rather close some before it opens another one."""
        return False

    @abstractmethod
    def url_of(self, key: str) -> str:
        """Return the path or the URL of a file, as users know it and messages name it."""

    # ---- Reading

    @abstractmethod
    def version(self, key: str) -> Version | None:
        """Return the state of a file; None where it does not exist, or is no regular file.

        Raises
        ------
        StorageAccessError
            If that cannot be said.
        """

    def exists(self, key: str) -> bool:
        """Whether there is a file."""
        return self.version(key) is not None

    @abstractmethod
    def open(self, key: str, *, wait: bool = True) -> Source | None:
        """Open a file; None where it does not exist.

        Parameters
        ----------
        wait : bool
            Whether to wait where too many files are open. A caller that has some open itself closes them instead.

        Raises
        ------
        StorageAccessError
            If it cannot be opened, or is not a regular file.
        """

    def open_many(
        self, keys: Sequence[str], *, first_nbytes: int = 0, last_nbytes: int = 0, wait: bool = True
    ) -> list[Source | None]:
        """Open files, of which those that do not exist are None. Either all of them are open then, or none.

        Parameters
        ----------
        first_nbytes, last_nbytes : int
            How much of the beginning or of the end of each file the caller is going to read first, such as an index.
            A store whose requests take long fetches this with the files, and answers these reads from memory.
        wait : bool
            As for `open`.

        Raises
        ------
        StorageAccessError
            If one of them cannot be opened, or is not a regular file.
        """
        opened: list[Source | None] = []
        try:
            for key in keys:
                opened.append(self.open(key, wait=wait))  # noqa: PERF401 - those that are open are closed below
        except BaseException:
            for source in opened:
                if source is not None:
                    source.close()
            raise
        return opened

    def read(self, key: str, max_nbytes: int) -> tuple[bytes, Version] | None:
        """Return all bytes of a small file and its state; None where it does not exist.

        Raises
        ------
        StorageAccessError
            If it is larger than ``max_nbytes``, is not a regular file, or cannot be read.
        """
        (source,) = self.open_many([key], first_nbytes=max_nbytes)
        if source is None:
            return None
        with source:
            if source.nbytes > max_nbytes:
                raise too_large(self.url_of(key), source.nbytes, max_nbytes)
            return source.read(0, source.nbytes), source.version

    def read_start(self, key: str, nbytes: int) -> tuple[bytes, Version] | None:
        """Return the first bytes of a file, fewer if it is shorter, and its state; None where it does not exist."""
        (source,) = self.open_many([key], first_nbytes=nbytes)
        if source is None:
            return None
        with source:
            return source.read(0, nbytes), source.version

    def entries(self, key: str) -> Iterable[Entry]:
        """Return what is in a folder, in any order; of a folder that does not exist nothing.

        Raises
        ------
        UnsupportedError
            If the store has no listings.
        """
        raise self._lacks("list folders")

    # ---- Writing

    def new_file(
        self, key: str, *, replacing: Replacing = "anything", is_locked: bool = False, durable: bool | None = None
    ) -> WritableFile:
        """Return a file to write in a ``with`` block, which appears at its end. Missing folders around it are made.

        Parameters
        ----------
        replacing : Version, "anything" or "nothing"
            What it may replace.
        is_locked : bool
            Whether the caller has the lock of this file, so that no other process makes it at the same time.
        durable : bool, optional
            Whether to wait until the disk has it; by default as the settings say.

        Raises
        ------
        AlreadyExistsError, OutdatedFileError
            When the block ends, if the file exists, or has another state than the one to replace.
        ReadOnlyError, StorageAccessError
            If it cannot be written, or something else than a regular file is there.
        """
        raise self._lacks("write files")

    def write(
        self, key: str, data: Buffer, *, replacing: Replacing = "anything", is_locked: bool = False,
        durable: bool | None = True,
    ) -> None:  # fmt: skip
        """Write a small file at once: a reader, also after a power failure, sees the old one or the new one.

        Raises
        ------
        AlreadyExistsError, OutdatedFileError, ReadOnlyError, StorageAccessError
            As `new_file`.
        """
        with self.new_file(key, replacing=replacing, is_locked=is_locked, durable=durable) as new:
            new.write(data, 0)

    def is_swapping(self, key: str, *, also_earlier: bool = False) -> bool:
        """Whether a file is being replaced together with others, or a crash has interrupted that.

        A caller that finds this calls `finish_swap`. It is quick, so that it may come before each read.

        Parameters
        ----------
        also_earlier : bool
            Whether to look also for what earlier versions of wkgpu have left, as is done when a file is opened first.
        """
        return False

    def has_changed(self, key: str, version: Version | None) -> bool:
        """Whether a file has another version, is gone, or is being replaced with others; as quick as `is_swapping`.

        No file has the version None.
        """
        if version is None or self.is_swapping(key):  # before its version: it may be the last one to be replaced
            return True
        try:
            return self.version(key) != version
        except StorageAccessError:
            return True

    def finish_swap(self, key: str, is_member: Callable[[str], bool]) -> None:  # noqa: B027 - of few stores
        """Finish it, or wait for the process that is at it.

        Parameters
        ----------
        is_member : callable
            Tells of a path, relative to the folder of the file, whether it may be replaced or deleted with the file.

        Raises
        ------
        FormatError
            If it is not finished, and this process may not write there.
        """

    def leftovers(self, key: str = "") -> list[str]:
        """Return the keys of what is hidden in a folder, and in all folders in it, because a process works there.

        What a crash has left is among them; it is replaced, finished or removed by the next writer.
        """
        return []

    def remove_abandoned(self, key: str) -> None:  # noqa: B027 - most stores have nothing of that kind
        """Delete what crashed writers of a file have left beside it. The caller holds the lock of the file."""

    def change(self, key: str) -> WritableFile:
        """Return an existing file that is changed in place in a ``with`` block.

        Raises
        ------
        UnsupportedError
            If the store cannot do that.
        ReadOnlyError, StorageAccessError
            If it cannot be written.
        """
        raise self._lacks("change files in place")

    def copy(self, source: Location, key: str) -> None:
        """Copy a file, also one of another store; the new one appears when it is whole.

        Raises
        ------
        NotFoundError, ReadOnlyError, StorageAccessError
            If it does not exist, or cannot be read or written.
        """
        opened = source.open()
        with opened, self.new_file(key) as new:
            new.copy_range(opened, 0, 0, opened.nbytes)
            new.truncate(opened.nbytes)

    def delete(self, key: str) -> None:
        """Delete a file, or a folder with all that is in it; what does not exist needs nothing.

        Raises
        ------
        ReadOnlyError, StorageAccessError
            If it cannot be deleted.
        """
        raise self._lacks("delete files")

    def lock(self, key: str, number: int = 0, count: int = 1, wait: bool = True) -> AbstractContextManager[None]:
        """Hold exclusive locks of a file, which belong to the file and not to its state.

        Parameters
        ----------
        number, count : int
            The first of its locks, 0 to 2**62, and how many.
        wait : bool
            Whether to wait until they are free, or to raise a `BlockingIOError`.

        Raises
        ------
        UnsupportedError
            If the store has no locks.
        NotFoundError, ReadOnlyError, StorageAccessError
            If the file does not exist or cannot be locked.
        """
        raise self._lacks("lock files")

    def all_locks(self, key: str) -> AbstractContextManager[None]:
        """Hold all locks of a file. While they are waited for, nobody else gets one who asks for it later.

        Raises
        ------
        UnsupportedError, NotFoundError, ReadOnlyError, StorageAccessError
            As `lock`.
        """
        return self.lock(key, 0, 1 << 62)

    def _lacks(self, what: str) -> UnsupportedError:
        return UnsupportedError(f"{self.url_of('')}: a {type(self).__name__} cannot {what}.")


@dataclass(frozen=True)
class Location:
    """A file or a folder of a store. It can be pickled, and prints as the path or URL that users know.

    Examples
    --------
    >>> from wkgpu.storage.stores.local.local_store import LocalStore
    >>> str(Location(LocalStore("/data/cortex"), "color") / "1" / "shard")
    '/data/cortex/color/1/shard'
    """

    store: Store
    key: str = ""

    def __post_init__(self) -> None:
        parts = self.key.split("/") if self.key else []
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise ArgumentError(f"{self.key!r} is no key of a file; give a relative path without '.' and '..'.")

    def __truediv__(self, name: str) -> Location:
        return Location(self.store, f"{self.key}/{name}" if self.key else name)

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]

    @property
    def parent(self) -> Location:
        """The folder that it is in; of the store's own folder that folder."""
        return Location(self.store, self.key.rpartition("/")[0])

    def open(self) -> Source:
        """Open the file.

        Raises
        ------
        NotFoundError, StorageAccessError
            If it does not exist, or cannot be opened.
        """
        source = self.store.open(self.key)
        if source is None:
            raise NotFoundError(f"{self} does not exist.")
        return source

    def __str__(self) -> str:
        return self.store.url_of(self.key)
