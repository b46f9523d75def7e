"""The ``zarr.json`` of a group on disk: read whole, replaced at once."""

from __future__ import annotations

import os
from pathlib import Path

from wkgpu.dataset.metadata.json_document import Document, document_to_bytes, parse_document
from wkgpu.dataset.metadata.ome import GROUP_NAME
from wkgpu.errors import ReadOnlyError
from wkgpu.storage.stores.local.local_store import LocalStore

_MAX_BYTES = 64 << 20  # of a file that is read, whose attributes may hold anything


class GroupFile:
    """The ``zarr.json`` of a folder. Who writes it holds the lock of the dataset's properties file.

    Parameters
    ----------
    folder : Path
        The folder of the group.
    """

    def __init__(self, folder: Path) -> None:
        self._store = LocalStore(folder)
        self.path = folder / GROUP_NAME

    def exists(self) -> bool:
        """Whether there is a file, or a link, even one that leads to nothing."""
        return os.path.lexists(self.path)

    def load(self) -> Document | None:
        """Read the file; None where it does not exist.

        Raises
        ------
        StorageAccessError, PropertiesError
            If it cannot be read, or is no JSON object.
        """
        found = self._store.read(GROUP_NAME, _MAX_BYTES)
        return None if found is None else parse_document(found[0], self.path)

    def check_writable(self) -> None:
        """Raise a `ReadOnlyError` for a link, whatever else may be written through links.

        It leads to the group of another folder, which has other arrays in it.
        """
        if self.path.is_symlink():
            raise ReadOnlyError(
                f"{self.path} is a link, so it may say what is in another folder, and is only read. Replace it by a "
                "copy of what it leads to."
            )

    def save(self, document: Document) -> None:
        """Write the file, and remove what a crash has left of an earlier attempt.

        Raises
        ------
        ReadOnlyError, StorageAccessError
            If it cannot be written.
        """
        self.check_writable()
        self._store.remove_abandoned(GROUP_NAME)
        self._store.write(GROUP_NAME, document_to_bytes(document), is_locked=True)
