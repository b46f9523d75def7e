"""Reading a volume whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.figures import Figure, Side, compare
from benchmarks.workbench import KINDS, ORIGIN, Workbench


def read_fresh(bench: Workbench) -> Iterator[Figure]:
    """Each read returns a new array, and nothing keeps the one before."""
    for kind, label in KINDS.items():
        path, volume = bench.dataset(kind), bench.volume(kind)
        ours = None if bench.wkgpu is None else fresh(bench.wkgpu, path, volume)
        yield compare(
            f"read-fresh-{kind}",
            f"whole read, fresh output: {label}",
            ours,
            fresh(bench.webknossos, path, volume),
            bench.sizes.rounds,
            nbytes=volume.nbytes,
            at_least=4,
        )


def read_into(bench: Workbench) -> Iterator[Figure]:
    """Each read of wkgpu fills the same array; wkw cannot, and returns a new one."""
    for kind, label in KINDS.items():
        path, volume = bench.dataset(kind), bench.volume(kind)
        ours = None if bench.wkgpu is None else into(bench.wkgpu, path, volume)
        yield compare(
            f"read-into-{kind}",
            f"whole read, out=: {label}",
            ours,
            _wkw(path, volume),
            bench.sizes.rounds,
            nbytes=volume.nbytes,
            at_least=3.5,
        )


def fresh(module: Any, path: Path, volume: NDArray[Any]) -> Side:
    """Read the volume of a dataset into new arrays."""
    mag = peers.open_mag(module, path)

    def read(number: int) -> Any:
        return mag.read(absolute_offset=ORIGIN, size=volume.shape)

    np.testing.assert_array_equal(read(0)[0], volume)
    return Side(module.__name__, read)


def into(module: Any, path: Path, volume: NDArray[Any], name: str = "") -> Side:
    """Read the volume of a dataset into one array, again and again."""
    mag = peers.open_mag(module, path)
    out = np.zeros((1, *volume.shape), volume.dtype, order="F")

    def read(number: int) -> Any:
        return mag.read(absolute_offset=ORIGIN, size=volume.shape, out=out)

    np.testing.assert_array_equal(read(0)[0], volume)
    return Side(name or module.__name__, read)


def _wkw(path: Path, volume: NDArray[Any]) -> Side:
    mag = peers.open_wkw(path)

    def read(number: int) -> Any:
        return mag.read(ORIGIN, volume.shape)

    np.testing.assert_array_equal(read(0)[0], volume)
    return Side("wkw", read)
