"""Deleting files, links and whole folders, as all of storage does it."""

from __future__ import annotations

import shutil
from pathlib import Path

from wkgpu.storage.stores.local.os_errors import os_error_to_wkgpu


def discard(folder: Path) -> None:
    """Delete a file, a link, or a folder with all that it holds; what does not exist needs nothing.

    Raises
    ------
    ReadOnlyError, StorageAccessError
        If it cannot be deleted.
    """
    try:
        if folder.is_symlink() or not folder.is_dir():
            folder.unlink(missing_ok=True)
        else:
            shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise os_error_to_wkgpu(f"Cannot delete {folder}, which is not needed any more", error) from error
