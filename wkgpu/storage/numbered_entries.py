"""Files and folders that are named by numbers, as shards and the folders around them are."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wkgpu.errors import FormatError
from wkgpu.geometry.voxel_box import FARTHEST
from wkgpu.storage.stores.store import Location

SHARD_NUMBER = re.compile(r"0|[1-9][0-9]*")
_MAX_DIGITS = 18


def numbered(
    folder: Location, before: str, after: str, edge: int, wanted: range, *, files: bool
) -> Iterator[tuple[int, Location]]:
    """Yield the number and the place of each entry of a folder that has a wanted number.

    Parameters
    ----------
    before, after : str
        What is in the name before and after the number.
    edge : int
        Voxels for each number.
    files : bool
        Whether files are meant, or folders.

    Raises
    ------
    FormatError
        For a number that no box can reach.
    """
    for name, is_folder in folder.store.entries(folder.key):
        digits = name[len(before) : len(name) - len(after)]
        if SHARD_NUMBER.fullmatch(digits) is None or name != f"{before}{digits}{after}":
            continue  # such as z00, which no reader opens
        place = folder / name
        if is_folder == files:
            if not is_folder:
                folder.store.exists(place.key)  # raises the error of what cannot be looked at, as a link to itself
            continue
        number = checked_number(place, digits, edge)
        if number in wanted:
            yield number, place


def checked_number(place: Location, digits: str, edge: int) -> int:
    """Return a number of a name.

    Raises
    ------
    FormatError
        If voxels of this number, ``edge`` for each, are beyond those that a box can reach.
    """
    if len(digits) > _MAX_DIGITS or int(digits) * edge >= FARTHEST:
        raise FormatError(
            f"{place}: shard number {digits} lies beyond voxel {FARTHEST}, which no box reaches. Move it out of "
            "the mag, or give it its right number."
        )
    return int(digits)
