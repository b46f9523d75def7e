"""Folders and files that come and go together with their entries in the properties file.

One rule says what is right, after success, a failure, an interrupt or a crash: *a folder is at its place if and only if
the properties file lists it*. What is added gets its place first and its entry then; what is removed loses its entry
first and its place then. `settle` applies the rule, under the lock of the properties file. The process that makes a
change does so at the end, however that comes; what it leaves is settled by the next one that changes something beside.
A folder that gets another name has both for a moment; see `wkgpu.dataset.changes.folder_move`.

The lock of a transaction is always taken before that of the properties file.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from wkgpu.dataset.changes.folder_move import settle_move
from wkgpu.dataset.metadata.properties_file import PropertiesFile
from wkgpu.errors import AlreadyExistsError, NameTakenError, WkgpuError
from wkgpu.storage.stores.local.local_store import LocalStore
from wkgpu.storage.stores.local.os_errors import os_error_to_wkgpu
from wkgpu.storage.stores.local.transaction import Transaction, check_free


class FolderChange:
    """Holds a transaction for a ``with`` block, and settles it at the end; see `NewFolder` and `FolderRemoval`.

    Parameters
    ----------
    path : Path
        The folder or file that comes or goes. If another process is at work on it, that is waited for.
    file : PropertiesFile, optional
        The file that lists it. Without one, all that has got its place is right there.
    """

    def __init__(self, path: Path, file: PropertiesFile | None) -> None:
        self._path = path
        self._file = file
        self._held = ExitStack()
        self._transaction: Transaction | None = None

    def __enter__(self) -> Self:
        settle_folder(self._path.parent, self._file, self._path.name)
        with ExitStack() as stack:
            transaction = stack.enter_context(LocalStore(self._path.parent).transaction(self._path.name))
            try:
                self._prepare(transaction)
            except BaseException:
                transaction.discard()
                raise
            self._held = stack.pop_all()
        self._transaction = transaction
        return self

    def _prepare(self, transaction: Transaction) -> None:
        """Do what comes before the block."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        transaction = self._transaction
        if transaction is None:
            return
        with self._held:
            try:
                settle(transaction, self._file)
            except WkgpuError:
                if error is None:
                    raise
            except BaseException:  # an interrupt, mostly
                settle(transaction, self._file)
                raise


class NewFolder(FolderChange):
    """Makes a folder or a file in a ``with`` block, and leaves nothing behind if that raises or does not place it.

    Parameters
    ----------
    path : Path
        The folder or file. There must be nothing, or an empty folder. Missing folders around it are made.
    file : PropertiesFile, optional
        The file that lists it when the block ends.

    Raises
    ------
    AlreadyExistsError, NameTakenError
        If there is something already, or another process has just added it.
    ReadOnlyError, StorageAccessError
        If it cannot be made or moved.

    Examples
    --------
    >>> with NewFolder(dataset.path / "color" / "1", dataset._file) as folder:  # doctest: +SKIP
    ...     create_array(folder.building, spec)
    ...     with dataset._changing() as properties:
    ...         properties.layer("color").add_mag(Mag(1), "./color/1", spec.shard_shape)
    ...         folder.place()
    """

    def _prepare(self, transaction: Transaction) -> None:
        try:
            check_free(self._path)
        except AlreadyExistsError as error:
            if self._is_listed():
                raise NameTakenError(
                    f"{self._path} exists and is listed: another process has just added it, or it is a mag of another "
                    "layer, too. Open the dataset again, or delete that mag there first."
                ) from error
            raise

    def _is_listed(self) -> bool:
        if self._file is None:
            return False
        with self._file.held() as properties:  # it is listed a moment after it gets its place
            return properties.lists(self._path)

    @property
    def building(self) -> Path:
        """Where to make it."""
        assert self._transaction is not None
        return self._transaction.content

    def place(self) -> None:
        """Move it, when it is whole, to its own place, while the properties are locked.

        Raises
        ------
        AlreadyExistsError, ReadOnlyError, StorageAccessError
            If there is something, or it cannot be moved.
        """
        assert self._transaction is not None
        self._transaction.place_content()


class FolderRemoval(FolderChange):
    """Deletes a folder at the end of a ``with`` block if the properties file does not list it any more.

    Its name is free for a new one before the old files are deleted. Of a link the link is deleted, never what it points
    to. A folder that does not exist needs nothing.

    Raises
    ------
    ReadOnlyError, StorageAccessError
        If it cannot be moved or deleted.

    Examples
    --------
    >>> with FolderRemoval(dataset.path / "color", dataset._file), dataset._changing() as properties:  # doctest: +SKIP
    ...     properties.remove_layer("color")
    """

    def __enter__(self) -> Self:
        return super().__enter__() if os.path.lexists(self._path) else self

    def _prepare(self, transaction: Transaction) -> None:
        try:
            transaction.watch(self._path)
        except FileNotFoundError:  # another process has just deleted it
            return
        except OSError as error:
            raise os_error_to_wkgpu(f"Cannot delete {self._path}", error) from error


def settle(transaction: Transaction, file: PropertiesFile | None) -> None:
    """Let a folder be at its place if and only if it is listed, and delete the transaction, which must be locked.

    Raises
    ------
    ReadOnlyError, StorageAccessError
        If files cannot be moved or deleted. What is left is settled by the next process.
    """
    if file is not None:
        with file.held() as properties:
            is_listed = properties.lists(transaction.place)
            settle_move(transaction, is_listed)
            if not is_listed:
                transaction.take_away()
    transaction.discard()


def settle_folder(folder: Path, file: PropertiesFile | None, name: str | None = None) -> None:
    """Settle the transactions that interrupts and crashes have left in a folder.

    Parameters
    ----------
    name : str, optional
        If another process is at work on this folder or file, that is waited for.
    """
    for transaction in LocalStore(folder).transactions(""):
        # What cannot be settled stays in its hidden place, and is in the way of nothing.
        with suppress(WkgpuError, BlockingIOError), transaction.locked(wait=transaction.place.name == name):
            settle(transaction, file)
