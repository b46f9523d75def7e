"""Writing a shard from the memory of the GPU, and what bounds it: encoding there, and storing the bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.gpu import volumes
from benchmarks.gpu.bench import KINDS, ORIGIN, Bench
from benchmarks.gpu.figures import Details, GpuFigure, Task, Work, in_turns
from benchmarks.gpu.recording import RecordingDevice
from wkgpu.engines.cuda.slots import Slot

_MIN_RATIO = 20.0
_ROUNDS = 3


def writes(bench: Bench) -> Iterator[Task]:
    """Whole shards, aligned."""
    edge = bench.sizes.shard
    for kind, label in KINDS.items():
        work = f"aligned LZ4 write of {edge}³ voxels on the GPU: {label}"
        yield Task(f"write-{kind}", work, partial(_write, bench, kind, work))
        yield Task(f"limit-write-{kind}", f"limits of that write: {label}", partial(_limits, bench, kind))


def _write(bench: Bench, kind: str, work: str) -> Iterator[GpuFigure]:
    voxels = bench.first_shard(kind)
    on_gpu = bench.to_gpu(voxels)
    folders = {name: bench.scratch / f"written-{name}" for name in ("gpu", "numpy", "peer")}
    works = [
        _by_wkgpu(bench, "gpu", voxels, on_gpu),
        _by_wkgpu(bench, "numpy", voxels, voxels),
        _by_peer(bench, "peer", voxels),
    ]
    for each, path in zip(works, folders.values(), strict=True):
        each.prepare(0)
        each.run(0)
        bench.check_on_host(_stored(path, voxels.shape), voxels, f"what {each.library} wrote to {path.name}")
    sizes = {name: volumes.megabytes(path) for name, path in folders.items()}
    gpu, numpy, peer = in_turns(works, min(_ROUNDS, bench.sizes.rounds), "GB/s")
    works[0].prepare(0)
    with bench.profile() as profile:
        works[0].run(0)
    works[1].prepare(0)
    with bench.profile() as from_numpy:
        works[1].run(0)
    label, name = KINDS[kind], works[2].library
    note = "one shard; wkgpu's voxels lie in the memory of the GPU before, the peer's in the host's"
    yield GpuFigure(
        f"write-{kind}", work, "GB/s", name, gpu, peer, at_least=_MIN_RATIO, bound=profile.bound(), note=note,
        details={"host_ms": profile.milliseconds(), "decoded_bytes": voxels.nbytes},
    )  # fmt: skip
    yield GpuFigure(
        f"write-numpy-{kind}", f"the same from a NumPy array: {label}", "GB/s", name, numpy, peer,
        bound=from_numpy.bound(), details={"host_ms": from_numpy.milliseconds()},
    )  # fmt: skip
    yield GpuFigure(
        f"write-size-{kind}", f"size of that shard: {label}", "MB", name, [sizes["gpu"]], [sizes["peer"]],
        details={"decoded_mb": voxels.nbytes / 1e6},
    )  # fmt: skip
    for folder in folders:
        bench.fresh_folder(f"written-{folder}")


def _by_wkgpu(bench: Bench, name: str, voxels: NDArray[Any], data: Any) -> Work:
    mags: list[Any] = []

    def prepare(number: int) -> None:
        mags.clear()
        path = bench.fresh_folder(f"written-{name}")
        mags.append(volumes.create(path, voxels.dtype, voxels.shape, bench.sizes.shard, bench.engine.name))

    return Work("wkgpu", lambda number: mags[0].write(data, absolute_offset=ORIGIN), prepare, voxels.nbytes)


def _by_peer(bench: Bench, name: str, voxels: NDArray[Any]) -> Work:
    mags: list[Any] = []

    def prepare(number: int) -> None:
        mags.clear()
        path = bench.fresh_folder(f"written-{name}")
        if peers.installed_wkw() is None:
            mags.append(volumes.create(path, voxels.dtype, voxels.shape, bench.sizes.shard))
        else:
            mags.append(peers.create_wkw(peers.mag_folder(path), voxels.dtype, bench.sizes.shard))

    def write(number: int) -> None:
        if peers.installed_wkw() is None:
            mags[0].write(voxels, absolute_offset=ORIGIN)
        else:
            mags[0].write(ORIGIN, voxels)

    library = "wkw" if peers.installed_wkw() is not None else "wkgpu on the CPU (no wkw here)"
    return Work(library, write, prepare, voxels.nbytes, bench.sizes.peer_rounds)


def _stored(path: Path, shape: Any) -> Any:
    """Read what was written, with wkw where it is installed."""
    if peers.installed_wkw() is not None:
        return peers.open_wkw(path).read(ORIGIN, shape)[0]
    return peers.open_mag(peers.library("wkgpu"), path).to("cpu").read(absolute_offset=ORIGIN, size=shape)[0]


# ---- Limits


def _limits(bench: Bench, kind: str) -> Iterator[GpuFigure]:
    voxels = bench.first_shard(kind)
    work = _by_wkgpu(bench, "limit", voxels, bench.to_gpu(voxels))
    device = RecordingDevice(bench.device)
    work.prepare(0)
    with bench.on_device(device):
        work.run(0)
    codec = device.recorded
    call = max(codec.encoded[-2:], key=lambda each: each[4])  # the slots hold the last two batches
    again = codec.again(call)
    label = KINDS[kind]
    with bench.device.active():
        encoding = Work("", lambda number: again(), amount=call[3] * call[4])
        encoding.run(0)
        (ours,) = in_turns([encoding], bench.sizes.rounds, "GB/s")
        yield GpuFigure(
            f"limit-encode-{kind}", f"limit: encode a batch of {call[4]} chunks alone (nvCOMP): {label}", "GB/s",
            ours=ours, details={"batches": len(codec.encoded), "chunk_bytes": call[3]},
        )  # fmt: skip
        yield from _store_alone(bench, kind, voxels.nbytes, len(codec.encoded))
    bench.fresh_folder("written-limit")


def _store_alone(bench: Bench, kind: str, decoded_bytes: int, batches: int) -> Iterator[GpuFigure]:
    (shard,) = volumes.shards(bench.scratch / "written-limit")
    nbytes = shard.stat().st_size
    piece = -(-nbytes // batches)
    pieces = [(begin, min(piece, nbytes - begin)) for begin in range(0, nbytes, piece)]
    memory = Slot(bench.device, bench.engine.release).memory("packed", nbytes)
    image = np.fromfile(shard, np.uint8)
    with shard.open("rb") as file:
        source = bench.device.open(file.fileno())
        source.read(memory, 0, nbytes, 0)()
        source.close()
    target = bench.scratch / "stored"

    def remove(number: int) -> None:
        target.unlink(missing_ok=True)

    def from_gpu(number: int) -> None:
        with target.open("wb+") as file:
            opened = bench.device.open(file.fileno(), writable=True)
            for begin, length in pieces:
                opened.write(memory, begin, length, begin)()
            opened.close()

    def from_host(number: int) -> None:
        with target.open("wb+") as file:
            for begin, length in pieces:
                os.pwrite(file.fileno(), image[begin : begin + length].data, begin)

    works = [Work("KvikIO", from_gpu, remove, decoded_bytes), Work("pwrite", from_host, remove, decoded_bytes)]
    for each in works:
        each.prepare(0)
        each.run(0)
    if kind == "em" and target.read_bytes()[:64] != shard.read_bytes()[:64]:
        raise AssertionError("what was stored is not what was written")
    ours, theirs = in_turns(works, min(_ROUNDS, bench.sizes.rounds), "GB/s")
    remove(0)
    details: Details = {
        "encoded_bytes": nbytes,
        "encoded_gb_per_s": median(ours) * nbytes / decoded_bytes,
        "pwrite_encoded_gb_per_s": median(theirs) * nbytes / decoded_bytes,
    }
    yield GpuFigure(
        f"limit-store-{kind}", f"limit: store its encoded bytes alone, KvikIO: {KINDS[kind]}", "GB/s",
        "one thread's pwrite from the host", ours, theirs, note="decoded bytes", details=details,
    )  # fmt: skip
