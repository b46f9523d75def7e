"""Whole reads into the memory of the GPU, against a peer that reads into the host's and copies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Any

from benchmarks.gpu.bench import KINDS, ORIGIN, Bench
from benchmarks.gpu.figures import Details, GpuFigure, Skipped, Task, Work, in_turns, rounded
from benchmarks.gpu.files import drop_from_page_cache, read_files

_MIN_RATIOS = {"em": 30.0, "segmentation": 100.0}
_COLD_ROUNDS = 3


def reads(bench: Bench) -> Iterator[Task]:
    """Files in the page cache."""
    for kind, label in KINDS.items():
        yield Task(f"read-{kind}", f"whole read, fresh output: {label}", partial(_warm, bench, kind))


def cold_reads(bench: Bench) -> Iterator[Task]:
    """Files that were dropped from the page cache before each round."""
    for kind, label in KINDS.items():
        yield Task(f"read-cold-{kind}", f"whole read, files not cached: {label}", partial(_cold, bench, kind))


class _Peer:
    """A peer's read and its copy to the GPU, both timed."""

    def __init__(self, bench: Bench, kind: str) -> None:
        self._bench = bench
        self._shape = bench.shape(kind)
        self._host = bench.host(kind)
        self._seconds: dict[str, list[float]] = {"read": [], "copy": []}
        self.name = f"{self._host.name} + copy"
        self.note = self._host.note
        bench.check(self(0)[0], bench.volume(kind), f"a whole read by {self.name}")

    def __call__(self, number: int) -> Any:
        """Read the volume into the memory of the GPU."""
        begin = time.perf_counter()
        array = self._host.read(ORIGIN, self._shape)
        middle = time.perf_counter()
        copy = self._bench.to_gpu(array)
        self._seconds["read"].append(middle - begin)
        self._seconds["copy"].append(time.perf_counter() - middle)
        return copy

    def details(self) -> dict[str, float]:
        """Return the seconds that it reads and copies."""
        return rounded({f"{name}_s": median(seconds) for name, seconds in self._seconds.items()})


def _warm(bench: Bench, kind: str) -> Iterator[GpuFigure]:
    mag, volume = bench.mag(kind), bench.volume(kind)
    bench.check(mag.read()[0], volume, "a whole read")
    peer = _Peer(bench, kind)
    works = [
        Work("wkgpu", lambda number: mag.read(), amount=volume.nbytes),
        Work(peer.name, peer, amount=volume.nbytes, max_rounds=bench.sizes.peer_rounds),
    ]
    ours, theirs = in_turns(works, bench.sizes.rounds, "GB/s")
    with bench.profile() as profile:
        mag.read()
    yield GpuFigure(
        f"read-{kind}", f"whole read, fresh output: {KINDS[kind]}", "GB/s", peer.name, ours, theirs,
        at_least=_MIN_RATIOS[kind], bound=profile.bound(), note=peer.note,
        details={"host_ms": profile.milliseconds(), "peer": peer.details(), "decoded_bytes": volume.nbytes},
    )  # fmt: skip


def _cold(bench: Bench, kind: str) -> Iterator[GpuFigure]:
    path, mag, nbytes = bench.dataset(kind), bench.mag(kind), bench.nbytes(kind)
    left = drop_from_page_cache(path)
    if left:
        raise Skipped(f"the files cannot be dropped from the page cache: {left}")
    peer = _Peer(bench, kind)

    def drop(number: int) -> None:
        drop_from_page_cache(path)

    works = [
        Work("wkgpu", lambda number: mag.read(), drop, nbytes),
        Work("files", lambda number: read_files(path, bench.threads), drop, nbytes),
        Work(peer.name, peer, drop, nbytes, max_rounds=1),
    ]
    rounds = min(_COLD_ROUNDS, bench.sizes.rounds)
    ours, files, theirs = in_turns(works, rounds, "GB/s")
    drop(0)
    with bench.profile() as profile:
        mag.read()
    read_files(path, bench.threads)  # for other rows
    label = KINDS[kind]
    ratio = bench.encoded_bytes(kind) / nbytes
    details: Details = {"host_ms": profile.milliseconds(), "peer": peer.details(), "encoded_per_decoded": ratio}
    note = "a virtual disk may be in the page cache of its host"
    yield GpuFigure(
        f"read-cold-{kind}", f"whole read, files not cached: {label}", "GB/s", peer.name, ours, theirs,
        bound=profile.bound(), note="; ".join(filter(None, [note, peer.note])), details=details,
    )  # fmt: skip
    yield GpuFigure(
        f"limit-cold-{kind}",
        f"limit: its files from the disk, {bench.threads} threads: {label}",
        "GB/s",
        ours=files,
        note="decoded bytes",
        details={"encoded_gb_per_s": median(files) * ratio},
    )
