"""Reading random 64³ patches out of a 1024³ shard, as training does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.figures import Figure, Side, compare
from benchmarks.volumes import Shape
from benchmarks.workbench import PATCH, Workbench

BATCH = 64
"""Patches that `read_many` reads at once."""


def read_patches(bench: Workbench) -> Iterator[Figure]:
    """One patch after the other, by both libraries."""
    yield compare(
        "patches",
        "random 64³ patches, one by one",
        None if bench.wkgpu is None else one_by_one(bench, bench.wkgpu, bench.dataset("shard")),
        one_by_one(bench, bench.webknossos, bench.dataset("shard")),
        bench.sizes.rounds,
        count=bench.sizes.patches,
        at_least=5,
    )


def read_many(bench: Workbench) -> Iterator[Figure]:
    """Batches of patches by wkgpu, the same patches one after the other by webknossos."""
    yield compare(
        "patches-many",
        f"random 64³ patches, read_many of {BATCH}",
        None if bench.wkgpu is None else batches(bench, bench.wkgpu, bench.dataset("shard")),
        one_by_one(bench, bench.webknossos, bench.dataset("shard")),
        bench.sizes.rounds,
        count=bench.sizes.patches,
        at_least=8,
    )


def _offsets(bench: Workbench, number: int) -> list[Shape]:
    """Offsets of a round: the same for both libraries, others in every round."""
    return bench.patch_offsets(seed=number, count=bench.sizes.patches)


def _expected(bench: Workbench, offset: Shape) -> Any:
    return bench.shard[tuple(slice(begin, begin + length) for begin, length in zip(offset, PATCH, strict=True))]


def one_by_one(bench: Workbench, module: Any, path: Path) -> Side:
    """Read patches of a dataset that holds the shard volume, one after the other."""
    mag = peers.open_mag(module, path)
    rounds = [_offsets(bench, number) for number in range(bench.sizes.rounds)]
    for offset in rounds[0]:
        np.testing.assert_array_equal(mag.read(absolute_offset=offset, size=PATCH)[0], _expected(bench, offset))

    def read(number: int) -> None:
        for offset in rounds[number]:
            mag.read(absolute_offset=offset, size=PATCH)

    return Side(module.__name__, read)


def batches(bench: Workbench, module: Any, path: Path) -> Side:
    """Read the same patches in batches."""
    mag = peers.open_mag(module, path)
    rounds = []
    for number in range(bench.sizes.rounds):
        boxes = [module.BoundingBox(offset, PATCH) for offset in _offsets(bench, number)]
        rounds.append([boxes[first : first + BATCH] for first in range(0, len(boxes), BATCH)])
    for patch, offset in zip(mag.read_many(rounds[0][0]), _offsets(bench, 0), strict=False):
        np.testing.assert_array_equal(patch[0], _expected(bench, offset))

    def read(number: int) -> None:
        for boxes in rounds[number]:
            mag.read_many(boxes)

    return Side(module.__name__, read)
