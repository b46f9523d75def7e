"""A folder that takes the place of another one, so that whatever happens one of the two is there.

Linux exchanges two folders in one step. Where the system or the file system cannot, the old folder is renamed aside and
then the new one into its place; a crash between these two steps leaves the old one aside, whole, and
`open_restored` puts it back.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from contextlib import suppress
from pathlib import Path

from wkgpu.errors import NotFoundError, WkgpuError
from wkgpu.storage.access import refusal
from wkgpu.storage.locks import file_lock
from wkgpu.storage.stored_array import StoredArray, open_array

REWRITING_LOCK = 1 << 61  # of a mag's header; the locks of shards have numbers below 2**60
_ANCHOR = "header.wkw"  # the file of a mag that carries its locks
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


def folder_aside(path: Path) -> Path:
    """Where the old folder is between the two steps, and a new one before them: hidden, beside it."""
    return path.with_name(f".{path.name}.replaced")


def folder_in_progress(path: Path) -> Path:
    """Where the new folder is made."""
    return path.with_name(f".{path.name}.rewriting")


def swap_in(new: Path, path: Path) -> Path:
    """Put a folder in the place of another one on the same file system.

    Returns
    -------
    Path
        Where the old folder is now.

    Raises
    ------
    ReadOnlyError, StorageAccessError
        If a folder cannot be flushed or renamed; then the old one is where it was.
    """
    _flush(new)  # whatever the settings say: the old folder, the only other copy, is going to be deleted
    if _exchange(new, path):
        return new
    aside = folder_aside(path)
    try:
        path.rename(aside)
        try:
            new.rename(path)
        except BaseException:
            aside.rename(path)
            raise
    except OSError as error:
        raise refusal(f"Cannot put {new} in the place of {path}", error) from error
    return aside


def open_restored(path: Path) -> StoredArray:
    """Open the mag in a folder; if a crash has left the folder aside, it is put back before.

    Raises
    ------
    NotFoundError, StorageAccessError, FormatError
        As for `open_array`.
    """
    try:
        return open_array(path)
    except NotFoundError:
        if not _restore(path.resolve()):
            raise
        return open_array(path)


def _restore(path: Path) -> bool:
    """Put a folder back that does not exist because a crash has left it aside; returns whether it is there now."""
    aside = folder_aside(path)
    if aside.exists():
        # Whoever swaps the folders just now holds the lock: he is waited for, not interrupted.
        with suppress(WkgpuError, OSError), file_lock(aside / _ANCHOR, REWRITING_LOCK):
            if not path.exists():
                aside.rename(path)
    return path.exists()


def discard(folder: Path) -> None:
    """Delete a folder, if it exists.

    Raises
    ------
    ReadOnlyError, StorageAccessError
        If it cannot be deleted.
    """
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise refusal(f"Cannot delete {folder}, which is not needed any more", error) from error


def _flush(folder: Path) -> None:
    """Wait until the disk has a folder, and all that is in it."""
    try:
        for parent, _, files in os.walk(folder):
            for path in (*(Path(parent, file) for file in files), Path(parent)):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
    except OSError as error:
        raise refusal(f"Cannot flush {folder} to the disk", error) from error


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change their names in one step; False where that does not work."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # no Linux
        return False
    done: int = rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return done == 0
