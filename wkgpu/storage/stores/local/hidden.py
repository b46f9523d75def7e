"""Names of hidden files and folders in which something is made, replaced or deleted: all of them are of one scheme.

``.NAME.KEY.wkgpu`` lies beside ``NAME``. It is a file where a file is made, and a folder where more than that comes or
goes. The key has twelve hexadecimal digits: random ones, or always the same ones where a lock of the place is held, so
that there is at most one. What a crash has left there is replaced, finished or removed by the next writer.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

LOCKED_FILE = "000000000000"
"""The key of the hidden file that a process writes which has the lock of its place."""
SWAP = "000000000001"
"""The key of the hidden folder of a file that is replaced together with others."""
_HIDDEN_NAME = re.compile(r"\.(?P<name>.+)\.(?P<key>[0-9a-f]{12})\.wkgpu", re.DOTALL)
_EARLIER_HIDDEN_NAME = re.compile(
    r"\.(?P<name>.+?)(\.[0-9a-f]{12})?\.(tmp|partial|new|deleted|replaced)|\.rewriting", re.DOTALL
)
DELETED = "deleted"
"""The name in the hidden name of what is deleted: it has no place any more."""


def hidden_beside(place: Path, key: str | None = None) -> Path:
    """Return a hidden path beside a file or folder.

    Parameters
    ----------
    key : str, optional
        `LOCKED_FILE` or `SWAP`; by default a random one.

    Examples
    --------
    >>> hidden_beside(Path("a/shard"), LOCKED_FILE)
    PosixPath('a/.shard.000000000000.wkgpu')
    """
    return place.with_name(f".{place.name}.{key or secrets.token_hex(6)}.wkgpu")


def is_hidden(name: str) -> bool:
    """Tell whether a name is one of those that wkgpu, or an earlier version of it, works in.

    Examples
    --------
    >>> [is_hidden(name) for name in (".1.0123456789ab.wkgpu", ".shard.partial", ".rewriting", ".notes", "1")]
    [True, True, True, False, False]
    """
    return bool(_HIDDEN_NAME.fullmatch(name) or _EARLIER_HIDDEN_NAME.fullmatch(name))


def hidden_place(name: str) -> str | None:
    """Return the name of the place that a hidden name belongs to, if it has one.

    Examples
    --------
    >>> hidden_place(".2-2-1.0123456789ab.wkgpu"), hidden_place(".shard.partial"), hidden_place(".notes")
    ('2-2-1', 'shard', None)
    """
    match = _HIDDEN_NAME.fullmatch(name) or _EARLIER_HIDDEN_NAME.fullmatch(name)
    place = None if match is None else match["name"]
    return None if place in (".", "..") else place


def is_transaction(name: str) -> bool:
    """Tell whether a name is that of a folder with a lock of its own, in which another folder comes or goes."""
    match = _HIDDEN_NAME.fullmatch(name)
    return match is not None and match["key"] not in (LOCKED_FILE, SWAP) and match["name"] not in (".", "..")


def holds_hidden_folders(folder: Path) -> bool:
    """Tell whether there are folders that wkgpu works in, or that a crash has left."""
    try:
        return any(is_hidden(entry.name) and entry.is_dir(follow_symlinks=False) for entry in os.scandir(folder))
    except OSError:
        return False


def remove_abandoned_files(place: Path) -> None:
    """Delete the hidden files beside a file that crashes have left. The caller holds the lock of the file.

    A process that makes the file for the first time has no lock; it finds that another one was faster.
    """
    with suppress(OSError):  # they are harmless
        for entry in os.scandir(place.parent):
            if hidden_place(entry.name) == place.name and not entry.is_dir(follow_symlinks=False):
                with suppress(OSError):
                    os.unlink(entry.path)  # noqa: PTH108
