"""Random patches of a 1024³ shard: their latency one by one, and how many a second `read_many` reads."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from benchmarks import peers
from benchmarks.gpu.bench import KINDS, Bench
from benchmarks.gpu.figures import Details, GpuFigure, Task, Work, in_turns, rounded
from benchmarks.gpu.resident import ResidentRead
from benchmarks.volumes import Shape

_PER_SECOND = 20_000.0
_PEER_PATCHES = 50


def patches(bench: Bench) -> Iterator[Task]:
    """Both volumes."""
    edge = bench.sizes.patch
    for kind, label in KINDS.items():
        for count in bench.sizes.batches:
            work = f"random {edge}³ patches, read_many of {count}: {label}"
            yield Task(f"patches-{count}-{kind}", work, partial(_many, bench, kind, count, work))
    for kind, label in KINDS.items():
        work = f"random {edge}³ patches, one by one: {label}"
        yield Task(f"patch-{kind}", work, partial(_one_by_one, bench, kind, work))


def _steps(bench: Bench, kind: str, offsets: list[Shape]) -> Details:
    """Measure each step of reading patches alone, in milliseconds."""
    with ResidentRead(bench, bench.array(kind), offsets, bench.patch_shape) as read:
        for number, offset in enumerate(offsets):
            bench.check(read.out[0, ..., number], _expected(bench, kind, offset), f"the patch at {offset}")
        works = [Work(name, getattr(read, name), amount=1) for name in ("fetch", "decode", "place")]
        for work in works:
            work.run(0)
        rounds = in_turns(works, bench.sizes.rounds, "ms")
        alone = {work.library: float(np.median(numbers)) for work, numbers in zip(works, rounds, strict=True)}
        return {
            "alone_ms": rounded(alone),
            "chunks": read.decoded_bytes // read.plans[0].pieces.nbytes,
            "segments": sum(len(plan.segments.staging_offset) for plan in read.plans),
            "fetched_bytes": read.encoded_bytes,
            "decoded_bytes": read.decoded_bytes,
        }


def _expected(bench: Bench, kind: str, offset: Shape) -> np.ndarray:
    there = tuple(slice(begin, begin + n) for begin, n in zip(offset, bench.patch_shape, strict=True))
    return bench.volume(kind)[there]


def _slowest(details: Details) -> str:
    alone = details["alone_ms"]
    assert isinstance(alone, dict)
    name = max(alone, key=alone.__getitem__)
    steps = ", ".join(f"{step} {milliseconds:.3g}" for step, milliseconds in alone.items())
    return f"steps alone in ms: {steps}; slowest: {name}"


def _many(bench: Bench, kind: str, count: int, work: str) -> Iterator[GpuFigure]:
    module = peers.library("wkgpu")
    mag, rounds = bench.mag(kind), bench.sizes.rounds
    batches = [
        [module.BoundingBox(offset, bench.patch_shape) for offset in bench.patch_offsets(seed, count)]
        for seed in range(rounds + 2)
    ]
    found = mag.read_many(batches[0])
    for patch, offset in zip(found, bench.patch_offsets(0, count), strict=True):
        bench.check(patch[0], _expected(bench, kind, offset), f"the patch at {offset}")
    mag.read_many(batches[rounds])
    reading = Work("wkgpu", lambda number: mag.read_many(batches[number]), amount=count)
    (ours,) = in_turns([reading], rounds, "patches/s")
    with bench.profile() as profile:
        mag.read_many(batches[rounds + 1])
    details = {"host_ms": profile.milliseconds(), **_steps(bench, kind, bench.patch_offsets(0, count))}
    yield GpuFigure(
        f"patches-{count}-{kind}", work, "patches/s", ours=ours, above=_PER_SECOND,
        bound=f"host: {profile.bound()}; {_slowest(details)}", details=details,
    )  # fmt: skip


def _one_by_one(bench: Bench, kind: str, work: str) -> Iterator[GpuFigure]:
    mag, host, count = bench.mag(kind), bench.host(kind), bench.sizes.patches
    shape, rounds = bench.patch_shape, bench.sizes.rounds
    offsets = [bench.patch_offsets(seed, count) for seed in range(rounds)]
    fewer = min(count, _PEER_PATCHES)
    for offset in offsets[0][:fewer]:
        expected = _expected(bench, kind, offset)
        bench.check(mag.read(absolute_offset=offset, size=shape)[0], expected, f"the patch at {offset}")
        bench.check(bench.to_gpu(host.read(offset, shape))[0], expected, f"the patch at {offset} by {host.name}")

    def ours(number: int) -> None:
        for offset in offsets[number]:
            mag.read(absolute_offset=offset, size=shape)

    def theirs(number: int) -> None:
        for offset in offsets[number][:fewer]:
            bench.to_gpu(host.read(offset, shape))

    works = [
        Work("wkgpu", ours, amount=count),
        Work(f"{host.name} + copy", theirs, amount=fewer, max_rounds=bench.sizes.peer_rounds),
    ]
    mine, others = in_turns(works, rounds, "ms")
    with bench.profile() as profile:
        ours(0)
    details = {"host_ms": profile.milliseconds(count), **_steps(bench, kind, offsets[0][:1])}
    yield GpuFigure(
        f"patch-{kind}", work, "ms", works[1].library, mine, others, note=host.note, details=details,
        bound=f"host, of one patch: {profile.bound(count)}; {_slowest(details)}",
    )  # fmt: skip
