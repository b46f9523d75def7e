"""Hidden folders in which a folder or a file is made before it gets its place, or that it is moved to when it goes.

A *workspace* ``.NAME.HEX.wkgpu`` lies beside the place of ``NAME``. As long as a process is at work it holds the lock
of the workspace's journal. What an interrupt or a crash has left is free, and may be settled by any process.

The journal holds one thing: the inode of what is moved between the workspace and the place. Whether that belongs to the
place is not written here; whoever settles a workspace knows it. A dataset may come from anywhere, and so may what looks
like a workspace: the place follows from the workspace's own name, only real folders and files are looked at, and what
is at the place is only moved if it is what the journal says.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wkgpu.errors import AlreadyExistsError, NotFoundError
from wkgpu.storage.stores.local.deletion import discard
from wkgpu.storage.stores.local.locks import file_lock
from wkgpu.storage.stores.local.os_errors import os_error_to_wkgpu

_NAME = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{12}\.wkgpu")
_JOURNAL = "journal"
_CONTENT = "content"
_MAX_JOURNAL_BYTES = 64


class Workspace:
    """One workspace; see `new_workspace` and `workspaces_in`.

    Parameters
    ----------
    path : Path
        The hidden folder.

    Attributes
    ----------
    place : Path
        Where the folder or file belongs.
    content : Path
        Where it is made, or moved to.
    """

    def __init__(self, path: Path) -> None:
        match = _NAME.fullmatch(path.name)
        assert match is not None
        self.path = path
        self.place = path.parent / match["name"]
        self.content = path / _CONTENT
        self._journal = path / _JOURNAL

    @contextmanager
    def locked(self, wait: bool = True) -> Iterator[None]:
        """Hold the workspace, so that no other process looks at it.

        Raises
        ------
        NotFoundError
            If it is gone.
        BlockingIOError
            If another process holds it, and `wait` is False.
        """
        if not _is(self._journal, stat.S_ISREG):
            with suppress(OSError):  # a crash came before there was a journal; with one, it would not be empty
                self.path.rmdir()
            raise NotFoundError(f"{self._journal} does not exist.")
        with file_lock(self._journal, wait=wait):
            yield

    def watch(self, path: Path) -> None:
        """Write into the journal that `path` is what is moved. Must come before the first move."""
        with open(_opened(self._journal, os.O_WRONLY | os.O_TRUNC), "wb", buffering=0) as file:
            file.write(str(path.lstat().st_ino).encode())
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
        check_free(self.place)
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
        """Delete the workspace with its content, under a name that no place has. Must be locked.

        So the name of the place is free for others before the files are deleted, which may take its time.

        Raises
        ------
        ReadOnlyError, StorageAccessError
            If it cannot be deleted.
        """
        doomed = self.path.with_name(f".deleted.{secrets.token_hex(6)}.wkgpu")
        try:
            os.close(_opened(self._journal, os.O_WRONLY | os.O_TRUNC))  # the inode becomes free for others
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
        with open(_opened(self._journal, os.O_RDONLY), "rb") as file:
            text = file.read(_MAX_JOURNAL_BYTES)
        return int(text) if text.isdigit() else None


@contextmanager
def new_workspace(place: Path) -> Iterator[Workspace]:
    """Make a workspace beside a place, and hold it. Missing folders around it are made.

    What the block leaves of it stays; see `Workspace.discard`.

    Raises
    ------
    ReadOnlyError, StorageAccessError
        If it cannot be made.
    """
    while True:
        workspace = Workspace(place.parent / f".{place.name}.{secrets.token_hex(6)}.wkgpu")
        try:
            workspace.path.parent.mkdir(parents=True, exist_ok=True)
            workspace.path.mkdir()
            with suppress(FileNotFoundError):  # another process took it for one that a crash has left
                (workspace.path / _JOURNAL).touch()
        except OSError as error:
            raise os_error_to_wkgpu(f"Cannot make a folder beside {place}", error) from error
        held = workspace.locked()
        try:
            held.__enter__()
        except NotFoundError:
            continue
        break
    try:
        yield workspace
    finally:
        held.__exit__(None, None, None)


def workspaces_in(folder: Path) -> list[Workspace]:
    """Return the workspaces in a folder, of all processes."""
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except OSError:  # there is no such folder, or it cannot be read
        return []
    matches = [match for name in sorted(names) if (match := _NAME.fullmatch(name))]
    return [Workspace(folder / match.string) for match in matches if match["name"] not in (".", "..")]


def check_free(place: Path) -> None:
    """Check that there is nothing at a place, or an empty folder.

    Raises
    ------
    AlreadyExistsError
        If there is something.
    """
    if os.path.lexists(place) and (not _is(place, stat.S_ISDIR) or any(place.iterdir())):
        raise AlreadyExistsError(f"{place} exists and is not empty; choose another place or remove it.")


def _is(path: Path, kind: Callable[[int], bool]) -> bool:
    """Whether there is something of a kind at a path, and not a link to it."""
    try:
        return kind(path.lstat().st_mode)
    except OSError:
        return False


def _opened(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
