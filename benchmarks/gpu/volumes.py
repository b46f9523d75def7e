"""Volumes of some GiB, made in seconds and stored as `wkw` stores them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.volumes import Shape, em_volume, segmentation_volume

_MAKERS: dict[str, Callable[[Shape], NDArray[Any]]] = {"em": em_volume, "segmentation": segmentation_volume}


def volume(kind: str, shape: Shape, edge: int) -> NDArray[Any]:
    """Make a volume out of mirrored copies of a smaller one.

    LZ4 looks at one chunk at a time and finds nothing of a copy elsewhere; the ids of each copy are its own.

    Parameters
    ----------
    kind
        "em" (uint8) or "segmentation" (uint32).
    shape
        Voxels (x, y, z).
    edge
        Voxels of the copies along each axis, at most.

    Returns
    -------
    Shape (x, y, z), Fortran order.
    """
    x, y, z = (min(length, edge) for length in shape)
    block = _MAKERS[kind]((x, y, z))
    first_id = int(block.max()) + 1 if kind == "segmentation" else 0
    whole = np.empty(shape, block.dtype, order="F")
    corners = list(itertools.product(*(range(0, n, step) for n, step in zip(shape, (x, y, z), strict=True))))

    def fill(number: int) -> None:
        there = tuple(slice(begin, begin + step) for begin, step in zip(corners[number], (x, y, z), strict=True))
        target = whole[there]
        ways = (slice(None, None, -1 if number >> axis & 1 else 1) for axis in range(3))
        copy = block[tuple(ways)][tuple(map(slice, target.shape))]
        if first_id:
            np.add(copy, np.multiply(copy > 0, block.dtype.type(number * first_id), dtype=block.dtype), out=target)
        else:
            target[...] = copy

    with ThreadPoolExecutor() as pool:
        list(pool.map(fill, range(len(corners))))
    return whole


def store(path: Path, voxels: NDArray[Any], shard: int) -> str:
    """Store a volume as a dataset of LZ4 shards, with wkw where it is installed; return with what.

    Parameters
    ----------
    voxels
        Shape (x, y, z): multiples of the shard.
    shard
        Edge of a shard in voxels.
    """
    mag = create(path, voxels.dtype, voxels.shape, shard)
    if peers.installed_wkw() is None:
        mag.write(voxels, absolute_offset=(0, 0, 0))
        return "wkgpu on the CPU, which stores noise as it is, because wkw is not installed"
    folder = str(peers.mag_folder(path))
    corners = list(itertools.product(*(range(0, length, shard) for length in voxels.shape)))

    def write(corner: tuple[int, ...]) -> None:
        part = tuple(slice(begin, begin + shard) for begin in corner)
        dataset = peers.installed_wkw().Dataset.open(folder)
        dataset.write(corner, np.asfortranarray(voxels[part]))
        dataset.close()

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, corners))
    os.sync()
    return "wkw"


def create(path: Path, dtype: Any, shape: Any, shard: int, device: str = "cpu") -> Any:
    """Make an empty dataset of LZ4 shards; return its mag on a device."""
    return peers.create(peers.library("wkgpu"), path, dtype, shape, shard).to(device)


def shards(path: Path) -> list[Path]:
    """Return the shard files of a dataset."""
    return sorted(peers.mag_folder(path).rglob("x*.wkw"))


def megabytes(path: Path) -> float:
    """Size of the shards of a dataset."""
    return sum(file.stat().st_size for file in shards(path)) / 1e6
