"""What reads a volume into the memory of the host, for another library to bring it to the GPU: the peers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.volumes import Shape

Read = Callable[[Shape, Shape], NDArray[Any]]


class Host(NamedTuple):
    """A library that reads boxes.

    Attributes
    ----------
    name
        Of the library.
    read
        Reads a box, by its first voxel and its voxels (x, y, z), and returns it with a channel axis.
    note
        Why it is not webknossos, where it is not.
    """

    name: str
    read: Read
    note: str


def host_reader(path: Path) -> Host:
    """Open a dataset with webknossos, or where that is missing with wkw, which it reads with, or on the CPU."""
    try:
        mag = peers.open_mag(peers.library("webknossos"), path)
        return Host("webknossos", lambda offset, size: mag.read(absolute_offset=offset, size=size), "")
    except Exception as error:
        missing = f"webknossos does not work here ({type(error).__name__}: {_first_line(error)})"
    if peers.installed_wkw() is not None:
        dataset = peers.open_wkw(path)
        return Host("wkw", dataset.read, f"{missing}: wkw instead, with which it reads")
    own = peers.open_mag(peers.library("wkgpu"), path).to("cpu")
    return Host(
        "wkgpu on the CPU",
        lambda offset, size: own.read(absolute_offset=offset, size=size),
        f"{missing}, nor is wkw installed",
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0]
