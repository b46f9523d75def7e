"""Trees of files in a folder that links must not lead out of."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from wkgpu.errors import StorageAccessError
from wkgpu.storage.stores.local.links import first_link
from wkgpu.storage.stores.local.os_errors import os_error_to_wkgpu


def files_in(folder: Path) -> Iterator[str]:
    """Yield the paths in a folder of its regular files, through no link."""
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if not path.is_symlink() and path.is_file():
                yield path.relative_to(folder).as_posix()


def holds_files(folder: Path) -> bool:
    """Tell whether there is anything in a folder, or in the folders in it, besides folders."""
    return any(
        files or any(Path(parent, name).is_symlink() for name in folders) for parent, folders, files in os.walk(folder)
    )


def folders_of(files: Iterable[str]) -> set[str]:
    """Return the folders that files are in, by the paths of both in a folder."""
    return {str(PurePosixPath(file).parent) for file in files}


def check_unlinked(folder: Path, files: Iterable[str]) -> None:
    """Raise a `StorageAccessError` if a file in a folder is reached through a linked folder."""
    for parent in folders_of(files):
        if (link := first_link(f"{folder}/{parent}", str(folder))) is not None:
            raise _linked(link)


def make_folder_of(folder: Path, file: str) -> None:
    """Make the folder of a file in a folder; a link on the way is an error, because it could lead out of it."""
    path = folder
    for part in PurePosixPath(file).parent.parts:
        path = path / part
        if path.is_symlink():
            raise _linked(path)
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise os_error_to_wkgpu(f"Cannot make the folder {path}", error) from error


def remove_empty_folders(folder: Path, files: Iterable[str]) -> None:
    """Remove the folders that files were in, if nothing else is in them."""
    folders = {parent for file in files for parent in PurePosixPath(file).parents if parent.parts}
    for inner in sorted(folders, key=lambda inner: -len(inner.parts)):
        with suppress(OSError):  # it holds something
            (folder / inner).rmdir()


def flush(folder: Path) -> None:
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
        raise os_error_to_wkgpu(f"Cannot flush {folder} to the disk", error) from error


def _linked(path: Path | str) -> StorageAccessError:
    return StorageAccessError(
        errno.ELOOP, f"{path} is a link; files are only swapped in folders of the mag itself. Replace it by a folder"
    )
