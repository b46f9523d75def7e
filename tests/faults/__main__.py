"""All trials of faults: ``python tests/faults`` prints a table and writes it to ``docs/faults.md``.

The exit status is 1 if there was a fault. ``--scale 0.1 --seed 7 kills interrupts`` runs a tenth of two trials with
another seed, and writes nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

_HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(_HERE.parent))  # so that a folder can be run, and its modules know their package

DOCUMENT = _HERE.parents[1] / "docs" / "faults.md"
TEXT = """# Trials of faults

`make test-faults` damages, kills and interrupts, at random but with a seed, and writes this file. A fault is whatever
must never happen: a crash, a hang, an error that is no `WkgpuError`, a voxel that is neither old nor new, a write after
the call has ended, a lock that stays, something that the next call does not repair.

{table}

Each fault is printed with its seed. A kill or an interrupt is repeated with
`PYTHONPATH=tests .venv/bin/python -m faults.kills --first CASE --count 1 --seed SEED`, or `faults.interrupts`.
"""


class Kind(NamedTuple):
    """A trial: a module of this package with a function ``run(count, seed)``.

    If it also has a function ``why_skipped()``, this gives the reason why it cannot run on this machine, or None.

    Attributes
    ----------
    part : int
        Cases for which it is called at once, with a seed of their own.
    """

    name: str
    title: str
    count: int
    part: int


KINDS = (
    Kind("shards", "damaged shards and headers, used in seven ways each", 20_000, 2000),
    Kind("lz4_chunks", "damaged LZ4 chunks in the CUDA kernels, which are compiled for the CPU", 20_000, 2000),
    Kind("zarr_chunks", "damaged chunks of Zarr's codecs in the CUDA kernels, also compiled for the CPU", 40_000, 4000),
    Kind("properties", "damaged properties files", 5000, 1000),
    Kind("kills", "kills (SIGKILL) of what changes files", 1500, 250),
    Kind("interrupts", "interrupts (Ctrl+C) of all operations", 50_000, 2500),
)


class Result(NamedTuple):
    """What came of a trial."""

    kind: Kind
    count: int
    seeds: range
    seconds: float
    outcomes: dict[str, int]

    @property
    def faults(self) -> int:
        """How many faults there were."""
        return sum(count for outcome, count in self.outcomes.items() if is_fault(outcome))


def is_fault(outcome: str) -> bool:
    """Whether an outcome of a trial counts as a fault."""
    return outcome.startswith("FAULT")


def run(kind: Kind, scale: float, seed: int, progress: Progress) -> Result:
    """Run a trial, as many parts at a time as there are cores."""
    trial: Callable[[int, int], dict[str, int]] = importlib.import_module(f"faults.{kind.name}").run
    count = max(round(kind.count * scale), 1)
    parts = [min(kind.part, count - first) for first in range(0, count, kind.part)]
    seeds = range(seed, seed + len(parts))
    task = progress.add_task(kind.title, total=count)
    outcomes: dict[str, int] = {}
    begin = time.perf_counter()

    def run_part(length: int, seed: int) -> dict[str, int]:
        found = trial(length, seed)
        progress.advance(task, length)
        return {f"{outcome} (seed {seed})" if is_fault(outcome) else outcome: times for outcome, times in found.items()}

    with ThreadPoolExecutor(os.cpu_count()) as threads:  # each waits for a process
        for found in threads.map(run_part, parts, seeds):
            for outcome, times in found.items():
                outcomes[outcome] = outcomes.get(outcome, 0) + times
    return Result(kind, count, seeds, time.perf_counter() - begin, outcomes)


def table(results: list[Result]) -> str:
    """Return the results as a table of Markdown."""
    rows = ["| trial | cases | seeds | seconds | faults |", "|---|--:|--:|--:|--:|"]
    for kind, count, seeds, seconds, _ in results:
        span = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0])
        faults = next(result.faults for result in results if result.kind == kind)
        rows.append(f"| {kind.title} | {count:,} | {span} | {seconds:.0f} | {faults} |")
    return "\n".join(rows)


def _chosen(names: list[str], console: Console) -> Iterator[Kind]:
    for kind in KINDS:
        if names and kind.name not in names:
            continue
        if importlib.util.find_spec(f"faults.{kind.name}") is None:
            console.print(f"There is no trial of {kind.title} yet.")
            continue
        module = importlib.import_module(f"faults.{kind.name}")
        if (reason := getattr(module, "why_skipped", lambda: None)()) is not None:
            console.print(f"The trial of {kind.title} is skipped: {reason}", markup=False)
            continue
        yield kind


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *(kind.name for kind in KINDS)], help="trials; all by default")
    parser.add_argument("--seed", type=int, default=1, help="the first seed; each part of a trial has one of its own")
    parser.add_argument("--scale", type=float, default=1.0, help="how many cases, as a share of all")
    arguments = parser.parse_args()
    console = Console()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as progress:
        kinds = list(_chosen(arguments.names, console))
        results = [run(kind, arguments.scale, arguments.seed, progress) for kind in kinds]
    console.print(table(results), markup=False, soft_wrap=True)
    for result in results:
        for outcome, count in result.outcomes.items():
            if is_fault(outcome):
                console.print(f"{result.kind.name}: {count} x {outcome}", markup=False, highlight=False, soft_wrap=True)
    if len(kinds) == len(KINDS) and arguments.scale >= 1:
        DOCUMENT.parent.mkdir(exist_ok=True)
        DOCUMENT.write_text(TEXT.format(table=table(results)), encoding="utf-8")
    return int(any(result.faults for result in results))


if __name__ == "__main__":
    sys.exit(main())
