"""The ``zarr.json`` of a group on disk: read whole, replaced at once."""

from __future__ import annotations

from pathlib import Path

from wkgpu.dataset.metadata.json_document import Document, document_to_bytes, parse_document
from wkgpu.dataset.metadata.ome import GROUP_NAME
from wkgpu.storage.stores.local.local_store import LocalStore

_MAX_BYTES = 64 << 20  # of a file that is read, whose attributes may hold anything


class GroupFile:
    """The ``zarr.json`` of a folder.

    Parameters
    ----------
    folder : Path
        The folder of the group.
    follows_links : bool
        Whether it is written if it is a link.
    """

    def __init__(self, folder: Path, follows_links: bool = False) -> None:
        self._store = LocalStore(folder, follows_links=follows_links)
        self.path = folder / GROUP_NAME

    def exists(self) -> bool:
        """Whether the file exists."""
        return self._store.exists(GROUP_NAME)

    def load(self) -> Document | None:
        """Read the file; None where it does not exist.

        Raises
        ------
        StorageAccessError, PropertiesError
            If it cannot be read, or is no JSON object.
        """
        found = self._store.read(GROUP_NAME, _MAX_BYTES)
        return None if found is None else parse_document(found[0], self.path)

    def save(self, document: Document) -> None:
        """Write the file.

        Raises
        ------
        ReadOnlyError, StorageAccessError
            If it cannot be written.
        """
        self._store.write(GROUP_NAME, document_to_bytes(document))
