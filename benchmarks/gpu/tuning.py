"""One setting after another, so that the defaults can be chosen from the figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median
from unittest import mock

from benchmarks.gpu.bench import KINDS, ORIGIN, Bench
from benchmarks.gpu.figures import GpuFigure, Task, Work, in_turns
from benchmarks.gpu.resident import fetch_alone
from wkgpu.engines.cuda import fetching
from wkgpu.settings import config
from wkgpu.storage.plans.read import ReadPlan
from wkgpu.storage.plans.sources import Sources

_ROUNDS = 3
_ALWAYS_LONG, _NEVER_LONG = 0, 1 << 62


def fetch_paths(bench: Bench) -> Iterator[Task]:
    """KvikIO's requests against gathering in pinned host memory and one copy, for whole reads and for patches."""
    for kind, label in KINDS.items():
        yield Task(f"paths-{kind}", f"both ways to fetch: {label}", partial(_paths, bench, kind))


def file_settings(bench: Bench) -> Iterator[Task]:
    """KvikIO's threads and bytes of a task."""
    for threads in bench.sizes.file_threads:
        for nbytes in bench.sizes.task_bytes:
            name = f"kvikio-{threads}-{_mebibytes(nbytes)}"
            work = f"fetch alone, KvikIO with {threads} threads, tasks of {_mebibytes(nbytes)} MiB: EM"
            yield Task(name, work, partial(_files, bench, name, work, threads, nbytes))


def batch_bytes(bench: Bench) -> Iterator[Task]:
    """How much is decoded at a time."""
    for kind, label in KINDS.items():
        for nbytes in bench.sizes.batch_bytes:
            name = f"batch-{_mebibytes(nbytes)}-{kind}"
            work = f"whole read, batches of {_mebibytes(nbytes)} MiB: {label}"
            yield Task(name, work, partial(_batches, bench, kind, name, work, nbytes))


@contextmanager
def _long_bytes(number: int) -> Iterator[None]:
    with mock.patch.object(fetching, "LONG_BYTES", number):
        yield


@contextmanager
def _batch_bytes(number: int) -> Iterator[None]:
    with mock.patch.object(config, "batch_bytes", number):
        yield


def _opened(plans: Iterable[tuple[ReadPlan, Sources]], stack: ExitStack) -> list[tuple[ReadPlan, Sources]]:
    """Return plans and their files, which the stack closes."""
    planned = list(plans)
    for _, sources in planned:
        stack.enter_context(sources)
    return planned


def _paths(bench: Bench, kind: str) -> Iterator[GpuFigure]:
    label, mag, array = KINDS[kind], bench.mag(kind), bench.array(kind)
    out = bench.engine.empty((1, *bench.shape(kind)), bench.volume(kind).dtype)
    offsets = bench.patch_offsets(3, bench.sizes.batches[0])
    rounds = min(_ROUNDS, bench.sizes.rounds)
    peer = "gather in host memory + copy"

    with ExitStack() as stack:
        whole = _opened(array.read_plans([ORIGIN], bench.shape(kind)), stack)
        patches = _opened(array.read_plans(offsets, bench.patch_shape), stack)
        rows = [
            ("fetch", "fetch alone, whole volume", "GB/s", bench.nbytes(kind), lambda: fetch_alone(bench, whole)),
            ("read", "whole read", "GB/s", bench.nbytes(kind), lambda: mag.read(out=out)),
            ("patches", f"fetch alone, {len(offsets)} patches", "ms", 1.0, lambda: fetch_alone(bench, patches)),
        ]
        for name, work, unit, amount, run in rows:

            def with_path(long_bytes: int, number: int, run: object = run) -> None:
                assert callable(run)
                with _long_bytes(long_bytes):
                    run()

            works = [
                Work("KvikIO", partial(with_path, _ALWAYS_LONG), amount=amount),
                Work(peer, partial(with_path, _NEVER_LONG), amount=amount),
            ]
            for each in works:
                each.run(0)
            ours, theirs = in_turns(works, rounds, unit)
            yield GpuFigure(
                f"path-{name}-{kind}", f"{work}, KvikIO's requests: {label}", unit, peer, ours, theirs,
                details={"long_bytes": fetching.LONG_BYTES},
            )  # fmt: skip
    bench.check(out[0], bench.volume(kind), "a whole read")


def _files(bench: Bench, name: str, work: str, threads: int, nbytes: int) -> Iterator[GpuFigure]:
    mag = bench.mag("em")
    out = bench.engine.empty((1, *bench.shape("em")), bench.volume("em").dtype)
    rounds = min(_ROUNDS, bench.sizes.rounds)
    with bench.gpu.file_settings(threads, nbytes), _long_bytes(_ALWAYS_LONG), ExitStack() as stack:
        plans = _opened(bench.array("em").read_plans([ORIGIN], bench.shape("em")), stack)
        works = [
            Work("fetch", lambda number: fetch_alone(bench, plans), amount=bench.nbytes("em")),
            Work("read", lambda number: mag.read(out=out), amount=bench.nbytes("em")),
        ]
        works[0].run(0)
        fetch, read = in_turns(works, rounds, "GB/s")
    yield GpuFigure(
        name, work, "GB/s", ours=fetch,
        details={"threads": threads, "task_bytes": nbytes, "whole_read_gb_per_s": median(read)},
    )  # fmt: skip


def _batches(bench: Bench, kind: str, name: str, work: str, nbytes: int) -> Iterator[GpuFigure]:
    mag, volume = bench.mag(kind), bench.volume(kind)
    out = bench.engine.empty((1, *bench.shape(kind)), volume.dtype)
    bench.tidy()
    with _batch_bytes(nbytes):
        mag.read(out=out)
        bench.check(out[0], volume, f"batches of {nbytes} bytes")
        rounds = min(_ROUNDS, bench.sizes.rounds)
        (ours,) = in_turns([Work("", lambda number: mag.read(out=out), amount=volume.nbytes)], rounds, "GB/s")
        kept = bench.engine.nbytes_kept
        with bench.profile() as profile:
            mag.read(out=out)
    yield GpuFigure(
        name, work, "GB/s", ours=ours, bound=profile.bound(),
        details={"batch_bytes": nbytes, "gpu_bytes_kept": kept, "host_ms": profile.milliseconds()},
    )  # fmt: skip


def _mebibytes(nbytes: int) -> str:
    return f"{nbytes / 2**20:.3g}"
