"""What the trial of interrupts works on: a dataset, what its mags hold, and what is right about it at any time."""

from __future__ import annotations

import _thread
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

CHUNK, SHARD = 8, 32
THREADS = 4
SHAPE = (64, 64, 32)  # of the mag: four shards
SMALL = (32, 32, 32)  # of the mag whose files are rewritten
SECONDS_FOR_THREADS = 5.0  # until a thread that was told to end has ended


class World:
    """A dataset, what its mags hold, and what is right about it at any time.

    Attributes
    ----------
    mag, voxels
        A mag that is read and written, and its voxels.
    small, small_voxels
        One whose files are rewritten; its voxels stay as they are.
    """

    def __init__(self, folder: Path) -> None:
        import wkgpu as wk
        from wkgpu.engines.cpu.engine import CpuEngine

        wk.config.threads = THREADS
        tuning = CpuEngine().tuning._replace(streamed_bytes=8 * CHUNK**3)
        CpuEngine.tuning = property(lambda engine: tuning)  # so that one tile is computed while the next one is read
        self.folder = folder
        self.dataset = wk.Dataset(folder / "dataset", voxel_size=(1, 1, 1))
        random = np.random.default_rng(0)
        self.mag, self.voxels = self._layer("large", SHAPE, random)
        self.small, self.small_voxels = self._layer("small", SMALL, random)
        self.mapped, _ = self._layer("mapped", SMALL, random)
        other = wk.Dataset(folder / "annotation", voxel_size=(1, 1, 1)).add_layer("a", "color")
        self.annotation = other.add_mag(1, chunk_shape=CHUNK, shard_shape=CHUNK)
        for x, y, z in ((0, 0, 0), (24, 24, 8), (40, 8, 16)):
            data = random.integers(0, 99, (CHUNK,) * 3, dtype="uint8")
            self.annotation.write(data, absolute_offset=(x, y, z))

    def _layer(self, name: str, shape: tuple[int, int, int], random: np.random.Generator) -> tuple[Any, np.ndarray]:
        voxels = np.asfortranarray(random.integers(0, 99, (1, *shape), dtype="uint8"))
        mag = self.dataset.add_layer(name, "color").add_mag(1, chunk_shape=CHUNK, shard_shape=SHARD)
        mag.write(voxels)
        return mag, voxels

    def box(self, random: np.random.Generator, unit: int = 1) -> tuple[Any, tuple[slice, ...]]:
        """Return a random box of the large mag, and its voxels' place in an array."""
        from wkgpu import BoundingBox

        begin = [unit * int(random.integers(length // unit)) for length in SHAPE]
        size = [
            unit * int(random.integers(1, (length - first) // unit + 1))
            for first, length in zip(begin, SHAPE, strict=True)
        ]
        where = (slice(None), *(slice(first, first + length) for first, length in zip(begin, size, strict=True)))
        return BoundingBox(begin, size), where

    def troubles(self, random: np.random.Generator) -> Iterator[str]:
        """Yield what is wrong after any interrupt: locks that are held, threads, and voxels."""
        begin = time.perf_counter()
        x, y, z = (CHUNK * int(random.integers(length // CHUNK)) for length in SHAPE)
        chunk = random.integers(0, 99, (CHUNK,) * 3, dtype="uint8")
        self.mag.write(chunk, absolute_offset=(x, y, z))  # waits for a lock that is held, until the case hangs
        self.voxels[0, x : x + CHUNK, y : y + CHUNK, z : z + CHUNK] = chunk
        if not np.array_equal(self.mag.read(), self.voxels):
            yield "the next write is not what is read"
        while (threads := _thread._count()) >= THREADS:  # the engine keeps the others, which wait for work
            if time.perf_counter() > begin + SECONDS_FOR_THREADS:
                yield f"{threads} threads are left"
                break
            time.sleep(1e-3)

    def left_over(self, root: Path | None = None) -> Iterator[str]:
        """Yield the hidden and temporary files of a dataset, when the next call has ended."""
        root = root or self.dataset.path
        if any(path.is_file() for path in root.rglob(".x*.wkgpu")):  # the next write of that shard replaces it
            for mag, voxels in (
                (self.mag, self.voxels),
                (self.small, self.small_voxels),
                (self.mapped, self.mapped.read()),
            ):
                mag.write(voxels)
        for path in root.rglob(".*"):
            yield f"{path.relative_to(root)} is left over"

    def reopened(self) -> Any:
        """Return the dataset as another process sees it."""
        from wkgpu import Dataset

        return Dataset.open(self.dataset.path)


class Attempt(NamedTuple):
    """What is interrupted, and what has to be right afterwards.

    Attributes
    ----------
    check : callable
        Yields faults; its argument is whether the call has ended by itself. It puts the world in order again.
    check_late : callable
        The same, some time later.
    """

    call: Callable[[], object]
    check: Callable[[bool], Iterator[str]]
    check_late: Callable[[], Iterator[str]] = lambda: iter(())


class Operation(NamedTuple):
    """A kind of calls, and how often it is chosen."""

    name: str
    weight: float
    prepare: Callable[[World, np.random.Generator], Attempt]
