"""A folder that appears all at once: it is made in a hidden place beside its own, and moved when it is whole."""

from __future__ import annotations

import secrets
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

from wkgpu.errors import AlreadyExistsError, NotFoundError, WkgpuError
from wkgpu.storage.access import refusal
from wkgpu.storage.file_swap import discard
from wkgpu.storage.locks import file_lock

_SUFFIX = ".new"
_LOCK_NAME = "lock"


class NewFolder:
    """Makes a folder in a ``with`` block, and leaves nothing behind if that raises or does not place it.

    The hidden place is locked as long as the block runs. What a crash has left there nobody holds, and the next one who
    makes the same folder removes it; if somebody is still at work, he is waited for.

    Parameters
    ----------
    path : Path
        The folder, which must not exist, or be empty. Missing folders around it are made.

    Attributes
    ----------
    building : Path
        Where to make it.

    Raises
    ------
    AlreadyExistsError
        If the folder holds something.
    ReadOnlyError, StorageAccessError
        If folders cannot be made or moved.

    Examples
    --------
    >>> with NewFolder(Path("cortex/color/1")) as folder:  # doctest: +SKIP
    ...     create_array(folder.building, layout)
    ...     folder.place()
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_placed = False
        self._held = ExitStack()

    def __enter__(self) -> NewFolder:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _remove_litter(self._path)
            if self._path.exists() and (not self._path.is_dir() or any(self._path.iterdir())):
                raise AlreadyExistsError(f"{self._path} exists and is not empty; choose another place or remove it.")
            self._workshop = self._locked_workshop()
        except OSError as error:
            if isinstance(error, WkgpuError):
                raise
            raise refusal(f"Cannot make {self._path}", error) from error
        self.building = self._workshop / self._path.name
        return self

    def _locked_workshop(self) -> Path:
        """Make a hidden folder and lock it."""
        while True:
            workshop = self._path.with_name(f".{self._path.name}.{secrets.token_hex(6)}{_SUFFIX}")
            workshop.mkdir()
            with suppress(FileNotFoundError):  # before it was locked, somebody took it for litter
                (workshop / _LOCK_NAME).touch()
                self._held.enter_context(file_lock(workshop / _LOCK_NAME))
                return workshop

    def place(self) -> None:
        """Move the folder, which is whole now, to its own place."""
        try:
            self.building.rename(self._path)
        except OSError as error:
            raise refusal(f"Cannot move {self.building} to {self._path}", error) from error
        self._is_placed = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._held:
            if kind is not None and self._is_placed:
                with suppress(OSError):
                    self._path.rename(self.building)
            _empty(self._workshop)
        _remove(self._workshop)


def _remove_litter(path: Path) -> None:
    """Remove what crashes have left of a folder that was being made; wait for those who are still at work."""
    for place in path.parent.glob(f".*{_SUFFIX}"):
        if place.name.rpartition(".")[0].rpartition(".")[0] != f".{path.name}" or place.is_symlink():
            continue
        with suppress(WkgpuError, OSError):  # it is in nobody's way
            with suppress(NotFoundError), file_lock(place / _LOCK_NAME):
                _empty(place)
            _remove(place)


def _empty(workshop: Path) -> None:
    """Delete what a hidden folder holds. The lock, which is held, goes last: whoever waits for it then knows."""
    for entry in workshop.iterdir():
        if entry.name != _LOCK_NAME:
            discard(entry)
    (workshop / _LOCK_NAME).unlink(missing_ok=True)


def _remove(workshop: Path) -> None:
    """Delete a hidden folder, unless it is not empty: then somebody has just begun to use it."""
    with suppress(OSError):
        workshop.rmdir()
