"""Each step of a read alone, and how near a whole read comes to the slowest of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from benchmarks.gpu.bench import KINDS, ORIGIN, Bench
from benchmarks.gpu.figures import Details, GpuFigure, Task, Work, in_turns, rounded
from benchmarks.gpu.files import read_files
from benchmarks.gpu.resident import ResidentRead
from benchmarks.volumes import Shape
from wkgpu.engines.cuda.slots import Slot
from wkgpu.settings import config

_UNALIGNED = (5, 7, 9)
_COPIED_BYTES = 256 << 20


def steps(bench: Bench) -> Iterator[Task]:
    """Fetch, decode and place alone, and whole reads beside them."""
    for kind, label in KINDS.items():
        yield Task(f"steps-{kind}", f"fetch, decode, place, alone: {label}", partial(_steps, bench, kind))
    for kind, label in KINDS.items():
        yield Task(f"place-{kind}", f"place alone, other boxes: {label}", partial(_places, bench, kind))
    yield Task("limit-machine", "limits of the machine", partial(_machine, bench))


def _steps(bench: Bench, kind: str) -> Iterator[GpuFigure]:
    label, array, mag = KINDS[kind], bench.array(kind), bench.mag(kind)
    with ResidentRead(bench, array, [ORIGIN], bench.shape(kind)) as read:
        bench.check(read.out[0, ..., 0], bench.volume(kind), "a whole read")
        read.out[...] = 0
        bench.gpu.synchronize()
        read.decode()
        read.place()
        bench.check(read.out[0, ..., 0], bench.volume(kind), "decoding and placing again")
        out = read.out[..., 0]

        def whole(number: int) -> None:
            mag.read(out=out)

        works = [
            Work(name, run, amount=read.nbytes)
            for name, run in (("fetch", read.fetch), ("decode", read.decode), ("place", read.place), ("whole", whole))
        ]
        rounds = dict(zip((work.library for work in works), in_turns(works, bench.sizes.rounds, "GB/s"), strict=True))
        with bench.profile() as profile:
            whole(0)
        ratio = read.encoded_bytes / read.nbytes
        about: Details = {
            "batches": read.batches, "batch_bytes": config.batch_bytes, "encoded_per_decoded": ratio,
            "cuda_lz4": config.cuda_lz4,
        }  # fmt: skip
        means = {"fetch": "bytes of the files, KvikIO or gather", "decode": "LZ4", "place": "kernel"}
        for name, what in means.items():
            more = {"encoded_gb_per_s": median(rounds[name]) * ratio} if name == "fetch" else {}
            yield GpuFigure(
                f"{name}-{kind}", f"{name} alone ({what}): {label}", "GB/s", ours=rounds[name],
                details={**about, **rounded(more)},
            )  # fmt: skip
    speeds = {name: median(rounds[name]) for name in means}
    slowest = min(speeds, key=speeds.__getitem__)
    shared = 1 / (1 / speeds["decode"] + 1 / speeds["place"])
    serial = 1 / sum(1 / speed for speed in speeds.values())
    yield GpuFigure(
        f"read-of-limit-{kind}",
        f"whole read against its slowest step: {label}",
        "GB/s",
        f"{slowest} alone",
        rounds["whole"],
        rounds[slowest],
        at_least=0.8,
        bound=f"host: {profile.bound()}; on the GPU decode and place take turns: {shared:.3g} GB/s together, and all "
        f"three one after another {serial:.3g} GB/s",
        details={
            "gb_per_s_alone": rounded(speeds),
            "decode_then_place_gb_per_s": shared,
            "one_after_another_gb_per_s": serial,
            "host_ms": profile.milliseconds(),
        },
    )


def _places(bench: Bench, kind: str) -> Iterator[GpuFigure]:
    array, label = bench.array(kind), KINDS[kind]
    x, y, z = (min(length, edge) for length, edge in zip(bench.sizes.part, bench.shape(kind), strict=True))
    c_order = bench.xp.empty((1, x, y, z, 1), array.spec.dtype)
    boxes: list[tuple[str, str, Shape, Any]] = [
        ("corner", "box at a chunk's corner", ORIGIN, None),
        ("unaligned", "unaligned box", _UNALIGNED, None),
        ("c-order", "unaligned box, C order", _UNALIGNED, c_order),
    ]
    for name, work, topleft, out in boxes:
        with ResidentRead(bench, array, [topleft], (x, y, z), out) as read:
            volume = bench.volume(kind)
            there = tuple(slice(begin, begin + n) for begin, n in zip(topleft, (x, y, z), strict=True))
            bench.check(read.out[0, ..., 0], volume[there], work)
            (rounds,) = in_turns([Work("", read.place, amount=read.nbytes)], bench.sizes.rounds, "GB/s")
            details: Details = {"decoded_per_placed": read.decoded_bytes / read.nbytes, "voxels": x * y * z}
        yield GpuFigure(
            f"place-{kind}-{name}", f"place alone, {work} {x}x{y}x{z}: {label}", "GB/s", ours=rounds, details=details
        )
        bench.tidy()


def _machine(bench: Bench) -> Iterator[GpuFigure]:
    """Yield what no read can beat: copies from pinned memory, on the GPU, and out of the page cache."""
    with bench.device.active():
        yield from _limits(bench)


def _limits(bench: Bench) -> Iterator[GpuFigure]:
    nbytes = min(_COPIED_BYTES, bench.nbytes("em"))
    slot = Slot(bench.device, bench.engine.release)
    source, target = slot.host("staging", nbytes), slot.memory("staging", nbytes)
    source[...] = 1
    array = bench.xp.ones(nbytes, np.uint8)
    copy = bench.xp.empty_like(array)

    def upload(number: int) -> None:
        slot.stream.upload(source, target)
        slot.end()
        slot.finish()

    def move(number: int) -> None:
        copy[...] = array
        bench.gpu.synchronize()

    def files(number: int) -> None:
        read_files(bench.dataset("em"), bench.threads)

    works = [
        Work("upload", upload, amount=nbytes),
        Work("move", move, amount=nbytes),
        Work("files", files, amount=bench.encoded_bytes("em")),
    ]
    for work in works:
        work.run(0)
    names = {
        "upload": "copy from pinned memory to the GPU",
        "move": "copy on the GPU (bytes copied, each read and written)",
        "files": f"files of EM out of the page cache, {bench.threads} threads",
    }
    rounds = in_turns(works, bench.sizes.rounds, "GB/s")
    for work, numbers in zip(works, rounds, strict=True):
        yield GpuFigure(f"limit-{work.library}", f"limit: {names[work.library]}", "GB/s", ours=numbers)
