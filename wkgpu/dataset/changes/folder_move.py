"""A folder that gets another name, and at every moment is found under the name that is listed.

For a moment the old name is a link to the new one: folder and link are exchanged at once, then the properties file is
saved, and then the link is deleted. The journal holds the inode of the link. What a crash leaves is a folder that is
found under both names, or a link that leads to itself; `settle_move` deletes the link, or exchanges both once more.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from wkgpu.storage.stores.local.os_errors import wrap_os_errors
from wkgpu.storage.stores.local.transaction import clear

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_SPARE = "from-"  # where the link waits in the hidden folder if a file system does not exchange; the old name follows


class Hidden(Protocol):
    """The hidden folder in which a change of a folder works; see `wkgpu.dataset.folder_change`."""

    place: Path
    content: Path

    def watch(self, path: Path) -> None:
        """Write into the journal what is moved."""

    def _watched(self) -> int | None:
        """Return the inode in the journal."""


def prepare_move(hidden: Hidden) -> None:
    """Make the link, before anything is moved."""
    with wrap_os_errors(f"Cannot make a link beside {hidden.place}"):
        hidden.content.symlink_to(hidden.place.name)
        hidden.watch(hidden.content)


def move(hidden: Hidden, source: Path) -> None:
    """Move a folder to the place, beside it; the old name becomes the link. The properties must be locked.

    Raises
    ------
    ReadOnlyError, StorageAccessError
        If it cannot be moved.
    """
    with wrap_os_errors(f"Cannot rename {source} to {hidden.place}"):
        clear(hidden.place)
        hidden.content.rename(hidden.place)
        _swap(hidden, source, hidden.place)


def settle_move(hidden: Hidden, is_listed: bool) -> None:
    """Delete the link if the place is listed, and exchange folder and link once more if it is not.

    Does nothing for other changes. The properties must be locked.
    """
    with wrap_os_errors(f"Cannot rename {hidden.place}"), suppress(FileNotFoundError):  # it was settled before
        for spare in hidden.content.parent.glob(f"{_SPARE}*"):
            source = hidden.place.with_name(spare.name.removeprefix(_SPARE))
            if os.path.lexists(hidden.place) and not os.path.lexists(source):
                spare.rename(source)
        link = _link_beside(hidden)
        if link is not None and is_listed:
            link.unlink()
        elif link is not None and hidden.place.exists():
            _swap(hidden, hidden.place, link)


def _link_beside(hidden: Hidden) -> Path | None:
    """Return the link of the journal, if it is at the old name."""
    inode, place = hidden._watched(), hidden.place
    with os.scandir(place.parent) as entries:
        for entry in entries:
            if entry.name != place.name and entry.inode() == inode and entry.is_symlink():
                return Path(entry) if os.readlink(entry) == place.name else None  # noqa: PTH115
    return None


def _swap(hidden: Hidden, folder: Path, link: Path) -> None:
    """Exchange a folder and a link at once; where the file system cannot, for a moment there is nothing at one name."""
    if not _exchange(folder, link):
        spare = hidden.content.with_name(f"{_SPARE}{folder.name}")
        link.rename(spare)
        folder.rename(link)
        spare.rename(folder)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two files at once, if the file system can do that."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError):  # no glibc from 2.28 on
        return False
    return bool(rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)
