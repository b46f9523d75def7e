"""Writing a patch into a compressed 1024³ shard, of which all other chunks are copied as they are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.gpu import volumes
from benchmarks.gpu.bench import KINDS, ORIGIN, Bench
from benchmarks.gpu.figures import GpuFigure, Task, Work, in_turns

_ROUNDS = 3


def changes(bench: Bench) -> Iterator[Task]:
    """Both volumes."""
    edges = f"{bench.sizes.patch}³ write into a compressed {bench.sizes.shard}³ shard"
    for kind, label in KINDS.items():
        work = f"{edges}: {label}"
        yield Task(f"write-patch-{kind}", work, partial(_change, bench, kind, work))


def _change(bench: Bench, kind: str, work: str) -> Iterator[GpuFigure]:
    rounds = min(_ROUNDS, bench.sizes.rounds)
    voxels = bench.first_shard(kind)
    offsets = bench.patch_offsets(7, rounds + 2)
    random = np.random.default_rng(8)
    shape = (len(offsets), *bench.patch_shape)
    values = random.integers(0, 256, shape).astype(voxels.dtype)
    module = peers.library("wkgpu")
    expected = voxels.copy(order="F")
    check, spare = rounds, rounds + 1
    there = tuple(slice(begin, begin + n) for begin, n in zip(offsets[check], bench.patch_shape, strict=True))
    expected[there] = values[check]

    def writer(library: str, name: str, mag: Any, patches: list[Any], max_rounds: int = 0, **options: bool) -> Work:
        def write(number: int) -> None:
            mag.write(patches[number], absolute_offset=offsets[number], **options)

        write(check)
        path = bench.scratch / name
        found = peers.open_mag(module, path).to("cpu").read(absolute_offset=ORIGIN, size=voxels.shape)[0]
        bench.check_on_host(found, expected, f"what {library} changed")
        return Work(library, write, max_rounds=max_rounds)

    on_host = [np.asfortranarray(value) for value in values]
    on_gpu = [bench.to_gpu(value) for value in on_host]
    gpu_copy, cpu_copy = (_copy(bench, kind, f"changed-{name}") for name in ("gpu", "cpu"))
    works = [
        writer("wkgpu", "changed-gpu", peers.open_mag(module, gpu_copy).to(bench.engine.name), on_gpu),
        writer("wkgpu on the CPU", "changed-cpu", peers.open_mag(module, cpu_copy).to("cpu"), on_host),
        _copying(bench, gpu_copy),
    ]
    note = ""
    try:
        webknossos = peers.library("webknossos")
    except Exception as error:
        note = f"webknossos does not work here ({type(error).__name__})"
    else:
        mag = peers.open_mag(webknossos, _copy(bench, kind, "changed-webknossos"))
        works.append(writer("webknossos", "changed-webknossos", mag, on_host, 1, allow_unaligned=True))
    ours, cpu, copying, *others = in_turns(works, rounds, "ms")
    with bench.profile() as profile:
        works[0].run(spare)
    for name in ("gpu", "cpu", "webknossos"):
        bench.fresh_folder(f"changed-{name}")
    yield GpuFigure(
        f"write-patch-{kind}", work, "ms", works[3].library if others else works[1].library, ours,
        others[0] if others else cpu, note=note,
        bound=f"host: {profile.bound()}; copying the file with copy_file_range: {median(copying):.3g} ms",
        details={"cpu_ms": median(cpu), "copy_ms": median(copying), "host_ms": profile.milliseconds()},
    )  # fmt: skip


def _copy(bench: Bench, kind: str, name: str) -> Path:
    """Return a dataset that is the first shard of a volume."""
    path = bench.fresh_folder(name)
    mag = volumes.create(path, bench.volume(kind).dtype, (bench.sizes.shard,) * 3, bench.sizes.shard)
    source = volumes.shards(bench.dataset(kind))[0]  # z0/y0/x0.wkw
    target = mag.path / source.relative_to(peers.mag_folder(bench.dataset(kind)))
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return path


def _copying(bench: Bench, path: Path) -> Work:
    """Return what copies a shard, and nothing else."""
    shard = volumes.shards(path)[0]
    copy = bench.scratch / "copied-shard"

    def run(number: int) -> None:
        with shard.open("rb") as source, copy.open("wb") as target:
            done = 0
            while count := os.copy_file_range(source.fileno(), target.fileno(), 1 << 30, done, done):
                done += count

    def remove(number: int) -> None:
        copy.unlink(missing_ok=True)

    return Work("copy", run, remove)
