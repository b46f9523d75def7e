"""The properties file on disk: read whole, changed under a lock, replaced at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from pathlib import Path

from wkgpu.dataset.metadata.properties import PROPERTIES_NAME, DatasetProperties
from wkgpu.dataset.metadata.voxel_size import VoxelSize
from wkgpu.errors import AlreadyExistsError, NotFoundError
from wkgpu.storage.formats import format_of, refuse_unread
from wkgpu.storage.stores.files import Replacing, Version
from wkgpu.storage.stores.local.local_store import LocalStore
from wkgpu.storage.stores.store import Store

_MAX_PROPERTIES_BYTES = 256 << 20  # of a file that is read; the largest ones known have a few megabytes


class PropertiesFile:
    """The ``datasource-properties.json`` of a dataset.

    Parameters
    ----------
    folder : Path
        The dataset's folder.
    store : Store, optional
        What the folder is in; by default the local file system.

    Examples
    --------
    >>> file = PropertiesFile(folder)  # doctest: +SKIP
    >>> with file.change() as properties:  # doctest: +SKIP
    ...     properties.name = "cortex"
    """

    def __init__(self, folder: Path, store: Store | None = None) -> None:
        self._store = LocalStore(folder, follows_links=True) if store is None else store
        self.path = folder / PROPERTIES_NAME

    def exists(self) -> bool:
        """Whether the file exists."""
        return self._store.exists(PROPERTIES_NAME)

    def check_writable(self) -> None:
        """Raise a `ReadOnlyError` for what is never changed, whatever its permissions are."""

    def create(self, properties: DatasetProperties) -> None:
        """Write the first properties of a dataset, in a folder that may not exist yet.

        Raises
        ------
        AlreadyExistsError
            If the file exists, because another process was faster.
        """
        try:
            self._store.write(PROPERTIES_NAME, properties.to_bytes(), replacing="nothing")
        except AlreadyExistsError as error:
            raise AlreadyExistsError(f"{self.path} exists. Use Dataset.open(), or exist_ok=True.") from error

    def load(self) -> DatasetProperties:
        """Read the file.

        Raises
        ------
        NotFoundError, StorageAccessError, PropertiesError
            If it does not exist, cannot be read, or says no properties.
        """
        return self._read()[0]

    @contextmanager
    def change(self) -> Iterator[DatasetProperties]:
        """Yield the properties as they are now, and write them afterwards, unless the block raises.

        No other thread or process changes the file in this time, so that no change is lost: keep the block short, and
        in it decide by the properties that it was given.

        Raises
        ------
        NotFoundError, ReadOnlyError, StorageAccessError, PropertiesError
            If the file does not exist, cannot be written or read, or says no properties.
        OutdatedFileError
            If the store has no locks, and another process has changed the file.
        """
        has_locks = self._store.has_locks
        with self._locked():
            properties, version = self._read()
            before = deepcopy(properties.document)
            yield properties
            if properties.document != before:
                replacing: Replacing = "anything" if has_locks else version
                data = properties.to_bytes()
                self._store.write(PROPERTIES_NAME, data, replacing=replacing, is_locked=has_locks)

    @contextmanager
    def held(self) -> Iterator[DatasetProperties]:
        """Yield the properties as they are now, and let no other process or thread change them in this time.

        Raises
        ------
        NotFoundError, ReadOnlyError, StorageAccessError, PropertiesError
            If the file does not exist, cannot be written or read, or says no properties.
        """
        with self._locked():
            yield self.load()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if not self._store.has_locks:
            yield
            return
        with self._store.lock(PROPERTIES_NAME):
            self._store.remove_abandoned(PROPERTIES_NAME)
            yield

    def _read(self) -> tuple[DatasetProperties, Version]:
        found = self._store.read(PROPERTIES_NAME, _MAX_PROPERTIES_BYTES)
        if found is None:
            raise NotFoundError(f"{self.path} does not exist.")
        return DatasetProperties.parse(found[0], self.path), found[1]


def create_properties(folder: Path, name: str | None, voxel_size: VoxelSize, exist_ok: bool) -> PropertiesFile:
    """Make the properties file of a new dataset; with `exist_ok`, one that exists is as good.

    Raises
    ------
    AlreadyExistsError
        If the folder holds a dataset and `exist_ok` is False, or it holds anything else.
    """
    file = PropertiesFile(folder)
    if not file.exists():
        if _holds_something_else(folder) and not file.exists():  # another process may make it just now
            raise AlreadyExistsError(
                f"{folder} exists, is not empty and has no {PROPERTIES_NAME}; choose an empty or a new folder."
            )
        with suppress(AlreadyExistsError):  # another process may be faster
            file.create(DatasetProperties.new(file.path, folder.name if name is None else name, voxel_size))
            return file
    if not exist_ok:
        raise AlreadyExistsError(f"{folder} is a dataset already; use Dataset.open(), or exist_ok=True.")
    return file


def _holds_something_else(folder: Path) -> bool:
    """Whether a path is a file, or a folder with more than the properties that another process is about to write."""
    if not folder.is_dir():
        return folder.exists()
    return any(PROPERTIES_NAME not in entry.name for entry in folder.iterdir())


def find_properties(folder: Path) -> PropertiesFile:
    """Return the properties file of a dataset.

    Raises
    ------
    NotFoundError, UnsupportedError
        That say what the folder is instead.
    """
    file = PropertiesFile(folder)
    if os.path.lexists(file.path):  # what is no file, is said when it is read
        return file
    if not folder.exists():
        raise NotFoundError(f"{folder} does not exist; there is no dataset to open.")
    if format_of(folder) is not None:
        raise NotFoundError(f"{folder} has no {PROPERTIES_NAME}; it is a single mag. Open it with open_mag().")
    refuse_unread(folder)
    raise NotFoundError(
        f"{folder} has no {PROPERTIES_NAME}, so it is not a dataset. Open single mags with open_mag(), or make a "
        "dataset and use add_layer_for_existing_files()."
    )
