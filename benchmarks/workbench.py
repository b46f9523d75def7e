"""The volumes that the benchmarks share, each made once and stored once."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.volumes import Shape, em_volume, segmentation_volume

ORIGIN = (0, 0, 0)
PATCH = (64, 64, 64)
"""Voxels that a training loader reads at once."""

KINDS = {"em": "EM", "segmentation": "segmentation"}
"""The volumes that are read and written whole, uint8 and uint32."""


@dataclass(frozen=True)
class Sizes:
    """How much is read and written, and how often.

    Attributes
    ----------
    volume
        Voxels of the volumes that are read and written whole; the edge of their one shard too.
    shard_volume
        Voxels of the volume from which patches are read, in one 1024³ shard.
    patches
        Patches in one round, a multiple of 64.
    rounds
        Rounds of which the median is taken.
    """

    volume: Shape = (512, 512, 512)
    shard_volume: Shape = (1024, 1024, 512)
    patches: int = 256
    rounds: int = 5

    @classmethod
    def quick(cls) -> Sizes:
        """Sizes for a look at whether everything works; the figures mean little."""
        return cls((128, 128, 128), (256, 256, 128), 64, 3)


class Workbench:
    """Volumes in memory and datasets on disk.

    Parameters
    ----------
    scratch
        A folder for datasets.
    sizes
        How much is read and written.
    """

    def __init__(self, scratch: Path, sizes: Sizes) -> None:
        self.scratch = scratch
        self.sizes = sizes
        self.wkgpu = peers.library("wkgpu")
        self.webknossos = peers.library("webknossos")
        self._datasets: dict[tuple[str, int], Path] = {}

    @cached_property
    def em(self) -> NDArray[np.uint8]:
        """A micrograph, shape (x, y, z)."""
        return em_volume(self.sizes.volume)

    @cached_property
    def segmentation(self) -> NDArray[np.uint32]:
        """A segmentation, shape (x, y, z)."""
        return segmentation_volume(self.sizes.volume)

    @cached_property
    def shard(self) -> NDArray[np.uint8]:
        """A micrograph that fills half of a 1024³ shard, shape (x, y, z)."""
        return em_volume(self.sizes.shard_volume, seed=1)

    def volume(self, kind: str) -> NDArray[Any]:
        """The volume "em", "segmentation" or "shard"."""
        volume: NDArray[Any] = getattr(self, kind)
        return volume

    def dataset(self, kind: str, block_type: int = peers.LZ4) -> Path:
        """Store a volume with the peers, once; returns the dataset's folder."""
        if (kind, block_type) not in self._datasets:
            path = self.scratch / f"{kind}-{block_type}"
            self._store(path, self.volume(kind), 1024 if kind == "shard" else self.sizes.volume[0], block_type)
            self._datasets[kind, block_type] = path
        return self._datasets[kind, block_type]

    def _store(self, path: Path, volume: NDArray[Any], shard: int, block_type: int) -> None:
        """Let webknossos write the properties and wkw the shard: it compresses with LZ4, and faster."""
        peers.create(self.webknossos, path, volume.dtype, volume.shape, shard)
        shutil.rmtree(peers.mag_folder(path))
        mag = peers.create_wkw(peers.mag_folder(path), volume.dtype, shard, block_type)
        whole = np.zeros((shard,) * 3, volume.dtype, order="F")
        whole[tuple(map(slice, volume.shape))] = volume
        mag.write((0, 0, 0), whole)
        mag.close()

    def copy(self, path: Path, name: str) -> Path:
        """Copy a dataset, for one library to write to."""
        return Path(shutil.copytree(path, self.scratch / name, dirs_exist_ok=True))

    def fresh_folder(self, name: str) -> Path:
        """Say where a new dataset can be made; what was there is deleted."""
        path = self.scratch / name
        shutil.rmtree(path, ignore_errors=True)
        return path

    def patch_offsets(self, seed: int, count: int) -> list[Shape]:
        """Draw where random patches of the shard volume begin."""
        high = np.subtract(self.sizes.shard_volume, PATCH) + 1
        offsets = np.random.default_rng(seed).integers(0, high, (count, 3))
        return [(x, y, z) for x, y, z in offsets.tolist()]
