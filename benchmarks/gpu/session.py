"""Measuring one task after another: a failure costs its own rows, and time that runs out those that come last."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from benchmarks.gpu import changes, decoders, patches, reads, steps, tuning, writes, zarr
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.figures import GpuFigure, Skipped, Task, tidied

GROUPS: dict[str, Callable[[Bench], Iterator[Task]]] = {
    "steps": steps.steps,
    "read": reads.reads,
    "zarr": zarr.zarr,
    "patches": patches.patches,
    "write": writes.writes,
    "fetch-paths": tuning.fetch_paths,
    "batches": tuning.batch_bytes,
    "decoders": decoders.decoders,
    "write-patch": changes.changes,
    "cold": reads.cold_reads,
    "kvikio": tuning.file_settings,
}
"""What can be measured, the most important first."""

Report = Callable[[GpuFigure], None]


def run(bench: Bench, groups: Iterable[str], deadline: float, report: Report, debug: bool = False) -> None:
    """Measure groups of rows, and report each figure as it comes.

    Parameters
    ----------
    groups
        Of `GROUPS`.
    deadline
        Value of `time.monotonic` from which on no task begins.
    debug
        Raise what goes wrong, instead of reporting it as a figure.
    """
    for group in groups:
        for task in GROUPS[group](bench):
            if time.monotonic() >= deadline:
                report(GpuFigure(task.name, task.work, "", skipped="the time was up", task=task.name))
                continue
            _measure(task, report, debug)
            bench.tidy()


def _measure(task: Task, report: Report, debug: bool) -> None:
    begin = time.perf_counter()
    try:
        for figure in task.measure():
            # The seconds of the task so far, checks included: what a row costs is seen in the file.
            details = {**tidied(figure.details), "task_s": round(time.perf_counter() - begin, 2)}
            report(replace(figure, details=details, task=task.name))
    except Skipped as reason:
        report(GpuFigure(task.name, task.work, "", skipped=str(reason), task=task.name))
    except Exception as error:
        if debug:
            raise
        report(GpuFigure(task.name, task.work, "", error=last_line(error), task=task.name))


def last_line(error: BaseException) -> str:
    """Return the last line of an error's message, and where it comes from."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    frames = traceback.extract_tb(error.__traceback__)
    where = f", at {frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {lines[-1] if lines else ''}{where}"
