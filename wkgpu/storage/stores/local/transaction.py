"""Folders, and files that belong together, which come, go or are replaced all at once, whatever ends the process.

A transaction works in a hidden folder beside its *place*. There, *content* is what comes or has gone, and the *journal*
says as JSON what is moved, so that any process can settle what an interrupt or a crash has left. There are two kinds:

- A folder or a file comes or goes. The process holds the lock of the journal, which is the inode of what is moved
  between the content and the place. Whether that belongs to the place is not written there; what settles it knows.
- Files are replaced. The process holds a lock of the place, which is the file that is replaced last. The content is the
  tree of new files, and from the moment at which there is a journal they can only be moved to their places, by any
  process. The journal lists old files without a successor, which are deleted.

A dataset may come from anywhere, and so may what looks like a transaction: the place follows from the name of the
hidden folder, only real folders and files are looked at, what is at the place of the first kind is only moved if it is
what the journal says, and of the second kind only files are moved and deleted that the format of the folder knows.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wkgpu.errors import AlreadyExistsError, FormatError, NotFoundError
from wkgpu.storage.stores.local.atomic_file import atomic_write_bytes
from wkgpu.storage.stores.local.deletion import discard
from wkgpu.storage.stores.local.file_bytes import write_all
from wkgpu.storage.stores.local.folder_tree import files_in, holds_files, make_folder_of, remove_empty_folders
from wkgpu.storage.stores.local.hidden import DELETED, SWAP, hidden_beside, hidden_place, is_transaction
from wkgpu.storage.stores.local.locks import file_lock
from wkgpu.storage.stores.local.os_errors import os_error_to_wkgpu
from wkgpu.storage.stores.local.regular_file import read_regular

_JOURNAL = "journal"
_CONTENT = "content"
_OF_EARLIER_VERSIONS = ".rewriting", "new", "swap.json"  # hidden folder, content and journal where files are replaced
_MAX_JOURNAL_BYTES = 1 << 30
_MAX_INODE_BYTES = 64


class Transaction:
    """One transaction; see `new_transaction`, `transactions_in` and `replacement_of`.

    Attributes
    ----------
    place : Path
        Where the folder or file belongs; of many files, the one that is replaced last.
    content : Path
        Where it is made, or moved to; of many files, the folder in which they are made.
    journal : Path
        Of many files it exists from the moment on at which all of them are going to be replaced.
    """

    def __init__(self, path: Path, place: Path, content: str = _CONTENT, journal: str = _JOURNAL) -> None:
        self.path = path
        self.place = place
        self.content = path / content
        self.journal = path / journal

    # ---- A folder or a file comes or goes

    @contextmanager
    def locked(self, wait: bool = True) -> Iterator[None]:
        """Hold the transaction, so that no other process looks at it.

        Raises
        ------
        NotFoundError
            If it is gone.
        BlockingIOError
            If another process holds it, and `wait` is False.
        """
        if not _is(self.journal, stat.S_ISREG):
            with suppress(OSError):  # a crash came before there was a journal; with one, it would not be empty
                self.path.rmdir()
            raise NotFoundError(f"{self.journal} does not exist.")
        with file_lock(self.journal, wait=wait):
            yield

    def watch(self, path: Path) -> None:
        """Write into the journal that `path` is what is moved. Must come before the first move."""
        with open(_opened(self.journal, os.O_WRONLY | os.O_TRUNC), "wb", buffering=0) as file:
            write_all(file.fileno(), json.dumps(path.lstat().st_ino).encode(), 0)
            os.fsync(file.fileno())

    def place_content(self) -> None:
        """Move the content to its place.

        Raises
        ------
        AlreadyExistsError
            If there is something.
        ReadOnlyError, StorageAccessError
            If it cannot be moved.
        """
        clear(self.place)
        try:
            self.watch(self.content)
            self.content.rename(self.place)
        except OSError as error:
            raise os_error_to_wkgpu(f"Cannot move {self.content} to {self.place}", error) from error

    def take_away(self) -> None:
        """Move what is at the place here, if it is what the journal says.

        Raises
        ------
        ReadOnlyError, StorageAccessError
            If it cannot be moved.
        """
        try:
            if self.place.lstat().st_ino == self._watched():
                self.place.rename(self.content)
        except FileNotFoundError:
            return
        except OSError as error:
            raise os_error_to_wkgpu(f"Cannot delete {self.place}", error) from error

    def discard(self) -> None:
        """Delete the hidden folder with its content, under a name that no place has. Must be locked.

        So the name of the place is free for others before the files are deleted, which may take its time.

        Raises
        ------
        ReadOnlyError, StorageAccessError
            If it cannot be deleted.
        """
        doomed = hidden_beside(self.path.with_name(DELETED))
        try:
            os.close(_opened(self.journal, os.O_WRONLY | os.O_TRUNC))  # the inode becomes free for others
            self.path.rename(doomed)
        except FileNotFoundError:  # it went with the layer's folder
            return
        except OSError as error:
            raise os_error_to_wkgpu(f"Cannot delete {self.path}", error) from error
        with suppress(FileNotFoundError):
            for path in doomed.iterdir():  # the content, and what it was written to before it was whole
                if path.name != _JOURNAL:
                    discard(path)
            discard(doomed / _JOURNAL)
            with suppress(OSError):
                doomed.rmdir()

    def _watched(self) -> int | None:
        with open(_opened(self.journal, os.O_RDONLY), "rb") as file:
            text = file.read(_MAX_INODE_BYTES)
        return int(text) if text.isdigit() else None

    # ---- Files are replaced

    @property
    def is_committed(self) -> bool:
        """Whether its files are going to be moved to their places, or are being moved just now."""
        return self.journal.exists()

    def replace_files(self, old: list[str], is_member: Callable[[str], bool]) -> None:
        """Move all files of the content to their places beside the place, and delete old ones without a successor.

        The files must be on the disk. The place, if it is replaced, comes last.

        Parameters
        ----------
        old : list of str
            Paths of the old files, relative to the folder of the place.
        is_member : callable
            Tells of such a path whether it may be replaced or deleted. Only the place need not be one.

        Raises
        ------
        ReadOnlyError, StorageAccessError
            If files cannot be moved. If the journal was written before, the next process tries again.
        """
        made = set(files_in(self.content))
        for file in sorted(made):
            make_folder_of(self.place.parent, file)  # what can fail does so before it is committed
        atomic_write_bytes(self.journal, json.dumps({"remove": sorted(set(old) - made)}).encode())
        try:
            self.finish(is_member)
        except BaseException:  # an interrupt, mostly: the second attempt ends what the first began
            self.finish(is_member)
            raise

    def finish(self, is_member: Callable[[str], bool]) -> None:
        """Do what the journal says, from wherever another attempt has stopped; see `replace_files`."""
        folder = self.place.parent
        for inner in (self.path, self.content):
            if inner.is_symlink() or (inner.exists() and not inner.is_dir()):
                raise FormatError(f"{inner} is no folder of its mag; it was not written by wkgpu. Delete it.")
        try:
            removed = self._removed(is_member)
            for file in filter(is_member, files_in(self.content)):
                make_folder_of(folder, file)
                (self.content / file).replace(folder / file)
            for file in removed:
                make_folder_of(folder, file)
                (folder / file).unlink(missing_ok=True)
            remove_empty_folders(folder, removed)
            with suppress(FileNotFoundError):
                (self.content / self.place.name).replace(self.place)
            self.journal.unlink(missing_ok=True)
        except OSError as error:
            raise os_error_to_wkgpu(f"Cannot finish the swap of the files of {folder}", error) from error

    def _removed(self, is_member: Callable[[str], bool]) -> list[str]:
        """Return the files that the journal says to delete."""
        try:
            data = read_regular(self.journal, _MAX_JOURNAL_BYTES, os.O_NOFOLLOW)
        except FileNotFoundError:  # another process has just finished
            return []
        try:
            removed = json.loads(data)["remove"]
            if all(isinstance(path, str) and is_member(path) for path in removed):
                return list(removed)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise FormatError(f"{self.journal} cannot be read: {error!r}. Restore it from a backup.") from error
        raise FormatError(f"{self.journal} names other files than shards of its mag; it was not written by wkgpu.")


@contextmanager
def new_transaction(place: Path) -> Iterator[Transaction]:
    """Begin a transaction in which a folder or a file comes or goes, and hold it. Missing folders around it are made.

    What the block leaves of it stays; see `Transaction.discard`.

    Raises
    ------
    ReadOnlyError, StorageAccessError
        If it cannot be made.
    """
    while True:
        transaction = Transaction(hidden_beside(place), place)
        try:
            transaction.path.parent.mkdir(parents=True, exist_ok=True)
            transaction.path.mkdir()
            with suppress(FileNotFoundError):  # another process took it for one that a crash has left
                transaction.journal.touch()
        except OSError as error:
            raise os_error_to_wkgpu(f"Cannot make a folder beside {place}", error) from error
        held = transaction.locked()
        try:
            held.__enter__()
        except NotFoundError:
            continue
        break
    try:
        yield transaction
    finally:
        held.__exit__(None, None, None)


def transactions_in(folder: Path) -> list[Transaction]:
    """Return the transactions in which folders or files of a folder come or go, of all processes."""
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except OSError:  # there is no such folder, or it cannot be read
        return []
    found = [(name, hidden_place(name)) for name in sorted(names) if is_transaction(name)]
    return [Transaction(folder / name, folder / place) for name, place in found if place is not None]


def replacement_of(place: Path) -> Transaction:
    """Return the transaction that replaces a file, and others with it, whether it has begun or not."""
    return Transaction(hidden_beside(place, SWAP), place)


def earlier_replacement_of(place: Path) -> Transaction:
    """Return what `replacement_of` is for earlier versions of wkgpu."""
    name, content, journal = _OF_EARLIER_VERSIONS
    return Transaction(place.with_name(name), place, content, journal)


def check_free(place: Path) -> None:
    """Check that there is nothing at a place, or a folder without files.

    Folders are left where another process has deleted the one in which something was being made.

    Raises
    ------
    AlreadyExistsError
        If there is something.
    """
    if os.path.lexists(place) and (not _is(place, stat.S_ISDIR) or holds_files(place)):
        raise AlreadyExistsError(f"{place} exists and is not empty; choose another place or remove it.")


def clear(place: Path) -> None:
    """Remove a folder without files from a place.

    Raises
    ------
    AlreadyExistsError
        If there is something else.
    """
    check_free(place)
    for parent, _, _ in os.walk(place, topdown=False):
        with suppress(OSError):  # another process has just made something in it, which is found when it is replaced
            Path(parent).rmdir()


def _is(path: Path, kind: Callable[[int], bool]) -> bool:
    """Whether there is something of a kind at a path, and not a link to it."""
    try:
        return kind(path.lstat().st_mode)
    except OSError:
        return False


def _opened(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
