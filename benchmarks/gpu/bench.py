"""What the rows share: the engine and its GPU, volumes in memory, and datasets on disk."""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.gpu import volumes
from benchmarks.gpu.hardware import Gpu
from benchmarks.gpu.hosts import Host, host_reader
from benchmarks.gpu.profile import Profile, pieces_of
from benchmarks.volumes import Shape
from wkgpu.engines.cuda.device import Device
from wkgpu.engines.cuda.slots import Slots
from wkgpu.engines.threads import ThreadTeam
from wkgpu.settings import config
from wkgpu.storage.formats import open_array
from wkgpu.storage.stored_array import StoredArray

ORIGIN = (0, 0, 0)
KINDS = {"em": "EM", "segmentation": "segmentation"}
"""The volumes: uint8, which LZ4 cannot compress, and uint32, which it does."""


@dataclass(frozen=True)
class Sizes:
    """How much is read and written, and how often.

    Attributes
    ----------
    em, segmentation
        Voxels of the volumes, multiples of the shard.
    shard
        Edge of a shard in voxels.
    block
        Edge of the tissue that the volumes are made of copies of.
    part
        Voxels of the box that is placed alone in other ways: unaligned, and into C order.
    patch
        Edge of a patch in voxels.
    batches
        Patches that `read_many` reads at once.
    patches
        Patches that are read one by one in a round.
    rounds, peer_rounds
        Rounds of which the median is taken, of wkgpu and of what takes seconds.
    batch_bytes
        The settings `wkgpu.config.batch_bytes` to compare.
    file_threads, task_bytes
        The settings of KvikIO to compare.
    """

    em: Shape = (2048, 2048, 1024)
    segmentation: Shape = (1024, 1024, 1024)
    shard: int = 1024
    block: int = 512
    part: Shape = (1000, 999, 998)
    patch: int = 64
    batches: tuple[int, ...] = (64, 256, 1024)
    patches: int = 200
    rounds: int = 5
    peer_rounds: int = 2
    batch_bytes: tuple[int, ...] = tuple(size << 20 for size in (64, 128, 256, 512, 1024))
    file_threads: tuple[int, ...] = (1, 4, 8, 16, 32)
    task_bytes: tuple[int, ...] = tuple(size << 20 for size in (1, 4, 16))

    @classmethod
    def quick(cls) -> Sizes:
        """Sizes for a look at whether everything works; the figures mean little."""
        edge = (512, 512, 512)
        return cls(edge, edge, 512, 256, (500, 499, 498), patches=50, rounds=3)


class Bench:
    """An engine, and what it reads and writes.

    Parameters
    ----------
    engine : CudaEngine
        Which `wkgpu.engines.get_engine` returns for its name.
    gpu
        The same device, outside of the engine.
    scratch
        A folder for datasets; those that it already has are used.
    sizes
        How much is read and written.
    """

    def __init__(self, engine: Any, gpu: Gpu, scratch: Path, sizes: Sizes) -> None:
        self.engine = engine
        self.gpu = gpu
        self.scratch = scratch
        self.sizes = sizes
        self.xp = engine.xp
        self._datasets: dict[str, Path] = {}
        self._volumes: dict[str, NDArray[Any]] = {}
        self.stored_with: dict[str, str] = {}

    # ---- The engine's parts

    @property
    def device(self) -> Device:
        """The engine's device."""
        device: Device = self.engine.device
        return device

    @property
    def slots(self) -> Slots:
        """The engine's working memory."""
        slots: Slots = self.engine.slots
        return slots

    @property
    def team(self) -> ThreadTeam:
        """The engine's threads."""
        team: ThreadTeam = self.engine.team
        return team

    @contextmanager
    def on_device(self, device: Any) -> Iterator[None]:
        """Let the engine work on a stand-in for its device for a ``with`` block."""
        own = self.engine.device
        self.engine.device = device
        try:
            yield
        finally:
            self.engine.device = own

    def profile(self) -> Profile:
        """Return a stopwatch for what the engine does in a ``with`` block."""
        return Profile(pieces_of(self.engine, self.device))

    # ---- Volumes

    def shape(self, kind: str) -> Shape:
        """Voxels of a volume."""
        shape: Shape = getattr(self.sizes, kind)
        return shape

    def volume(self, kind: str) -> NDArray[Any]:
        """The volume "em" or "segmentation", shape (x, y, z), Fortran order; stored as well."""
        self.dataset(kind)
        return self._volumes[kind]

    def dataset(self, kind: str) -> Path:
        """Return the folder of a volume's dataset, which is made once."""
        if kind not in self._datasets:
            path, done = self.scratch / kind, self.scratch / f"{kind}.stored"
            wanted = f"{self.shape(kind)} {self.sizes.shard} {self.sizes.block} by "
            if done.exists() and done.read_text().startswith(wanted):
                self.stored_with[kind] = done.read_text().removeprefix(wanted)
                self._volumes[kind] = self._opened(path, "cpu").read()[0]
            else:
                voxels = volumes.volume(kind, self.shape(kind), self.sizes.block)
                self.fresh_folder(kind)
                self.stored_with[kind] = volumes.store(path, voxels, self.sizes.shard)
                done.write_text(wanted + self.stored_with[kind])
                self._volumes[kind] = voxels
            self._datasets[kind] = path
        return self._datasets[kind]

    def make_datasets(self) -> float:
        """Make both volumes at the same time; return the seconds that it takes."""
        begin = time.perf_counter()
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.dataset, KINDS))
        return time.perf_counter() - begin

    def nbytes(self, kind: str) -> int:
        """Decoded bytes of a volume."""
        return self.volume(kind).nbytes

    def encoded_bytes(self, kind: str) -> int:
        """Bytes of a volume's files."""
        return sum(file.stat().st_size for file in volumes.shards(self.dataset(kind)))

    def array(self, kind: str) -> StoredArray:
        """Return a volume's files."""
        return open_array(peers.mag_folder(self.dataset(kind)))

    def mag(self, kind: str) -> Any:
        """Return a volume as users read it, on the GPU."""
        return self._opened(self.dataset(kind), self.engine.name)

    def _opened(self, path: Path, device: str) -> Any:
        return peers.open_mag(peers.library("wkgpu"), path).to(device)

    def host(self, kind: str) -> Host:
        """Return what reads a volume into the memory of the host."""
        return host_reader(self.dataset(kind))

    def first_shard(self, kind: str) -> NDArray[Any]:
        """Return the part of a volume that is its first shard; shape (x, y, z), Fortran order."""
        return np.asfortranarray(self.volume(kind)[(slice(self.sizes.shard),) * 3])

    @property
    def patch_shape(self) -> Shape:
        """Voxels of a patch."""
        return (self.sizes.patch,) * 3

    def patch_offsets(self, seed: int, count: int) -> list[Shape]:
        """Draw where random patches in the first shard of a volume begin."""
        offsets = np.random.default_rng(seed).integers(0, self.sizes.shard - self.sizes.patch + 1, (count, 3))
        return [(x, y, z) for x, y, z in offsets.tolist()]

    def fresh_folder(self, name: str) -> Path:
        """Say where a new dataset can be made; what was there is deleted."""
        path = self.scratch / name
        shutil.rmtree(path, ignore_errors=True)
        return path

    # ---- The memory of the GPU

    def to_gpu(self, data: NDArray[Any]) -> Any:
        """Copy an array to the GPU, as users do, and wait until it is there."""
        array = self.xp.asarray(data)
        self.gpu.synchronize()
        return array

    def check(self, found: Any, expected: NDArray[Any], what: str) -> None:
        """Compare an array on the GPU with one of the host, both with the axes (..., z), slab by slab.

        Raises
        ------
        AssertionError
            Where they differ.
        """
        if found.shape != expected.shape:
            raise AssertionError(f"{what}: shape {found.shape} instead of {expected.shape}")
        depth = max(expected.shape[-1] * (256 << 20) // max(expected.nbytes, 1), 1)
        for z in range(0, expected.shape[-1], depth):
            slab = self.xp.asarray(expected[..., z : z + depth])
            if not bool((found[..., z : z + depth] == slab).all()):
                raise AssertionError(f"{what}: voxels differ from what was stored, between z={z} and {z + depth}")

    def check_on_host(self, found: NDArray[Any], expected: NDArray[Any], what: str) -> None:
        """Compare two arrays of the host, slab by slab on all threads; see `check`."""
        step = -(-expected.shape[-1] // self.threads)

        def differs(z: int) -> bool:
            return not np.array_equal(found[..., z : z + step], expected[..., z : z + step])

        with ThreadPoolExecutor(self.threads) as pool:
            if found.shape != expected.shape or any(pool.map(differs, range(0, expected.shape[-1], step))):
                raise AssertionError(f"{what}: {found.shape} voxels differ from the {expected.shape} that are expected")

    def tidy(self) -> None:
        """Give memory back that a task has left."""
        gc.collect()
        self.engine.release()

    @cached_property
    def threads(self) -> int:
        """Threads that wkgpu uses on the host."""
        return max(config.threads, 1)
