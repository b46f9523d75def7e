"""Folders that disappear together with their entry in the properties file."""

from __future__ import annotations

import secrets
from pathlib import Path
from types import TracebackType

from wkgpu.storage.access import refusal
from wkgpu.storage.file_swap import discard


class FolderRemoval:
    """Deletes a folder at the end of a ``with`` block, or puts it back if that raises.

    `set_aside` renames the folder at once, so that its name is free for a new one before the old files are deleted. A
    link is deleted, never what it points to.

    Raises
    ------
    ReadOnlyError, StorageAccessError
        If the folder cannot be renamed or deleted.

    Examples
    --------
    >>> with FolderRemoval() as removal, dataset._changing() as properties:  # doctest: +SKIP
    ...     properties.remove_layer("color")
    ...     removal.set_aside(dataset.path / "color")
    """

    def __init__(self) -> None:
        self._moved: tuple[Path, Path] | None = None

    def set_aside(self, folder: Path) -> None:
        """Rename the folder until the end of the block; one that does not exist needs nothing."""
        aside = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}.deleted")
        try:
            folder.rename(aside)
        except FileNotFoundError:
            return
        except OSError as error:
            raise refusal(f"Cannot delete {folder}", error) from error
        self._moved = folder, aside

    def __enter__(self) -> FolderRemoval:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._moved is None:
            return
        folder, aside = self._moved
        if kind is not None:
            aside.rename(folder)
            return
        discard(aside)
