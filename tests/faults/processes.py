"""Cases of a trial in processes of their own, so that a crash or a hang is a fault of one case."""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

SECONDS_PER_CASE = 30  # a case that takes longer hangs
_SHOWN = 3000  # characters of what a process that ended early has said

_FOLDER = Path(__file__).parents[1]  # of this package
Outcomes = dict[str, int]


def run_cases(trial: str, first: int, count: int, seed: int, batch: int) -> Outcomes:
    """Run the cases ``first`` to ``first + count - 1`` of a trial, and add up their outcomes.

    Parameters
    ----------
    trial : str
        Name of a module of this package that calls `main` when it is run.
    batch : int
        Cases in one process.
    """
    outcomes: Counter[str] = Counter()
    end = first + count
    while first < end:
        found, done, failure = _in_process(trial, first, min(batch, end - first), seed)
        outcomes += found
        first += done
        if failure is not None:
            outcomes[f"FAULT {failure} in case {first} of seed {seed}"] += 1
            first += 1
    return dict(outcomes)


def _in_process(trial: str, first: int, count: int, seed: int) -> tuple[Counter[str], int, str | None]:
    """Run cases in another process until it ends; returns outcomes, how many cases, and what ended it early."""
    numbers = ["--first", str(first), "--count", str(count), "--seed", str(seed)]
    command = [sys.executable, "-m", f"{__package__}.{trial}", *numbers, "--work"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (_FOLDER, _FOLDER.parent)))}
    limit = 120 + SECONDS_PER_CASE * count
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False, env=environment)
    except subprocess.TimeoutExpired:
        return Counter(), 0, f"no end after {limit} s"
    lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    outcomes: Counter[str] = Counter()
    for line in lines:
        outcomes.update(line)
    if len(lines) == count and result.returncode == 0:
        return outcomes, count, None
    done = min(len(lines), count - 1)
    return outcomes, done, f"process ended with {result.returncode}: {result.stderr[-_SHOWN:]}"


def print_cases(case: Callable[[np.random.Generator, int], Outcomes], first: int, count: int, seed: int) -> None:
    """Run cases in this process, and print a line of JSON for each: its outcomes. A hang ends the process."""
    for number in range(first, first + count):
        _watch()
        print(json.dumps(case(np.random.default_rng([seed, number]), number)), flush=True)
    faulthandler.cancel_dump_traceback_later()


@contextmanager
def unhurried() -> Iterator[None]:
    """Let a part of a case take as long as it takes, as where kernels are compiled."""
    faulthandler.cancel_dump_traceback_later()
    yield
    _watch()


def _watch() -> None:
    faulthandler.dump_traceback_later(SECONDS_PER_CASE, exit=True)


def is_fault(outcome: str) -> bool:
    """Whether an outcome counts as a fault."""
    return outcome.startswith("FAULT")


def main(
    doc: str | None,
    run: Callable[[int, int], Outcomes],
    work: Callable[[int, int, int], None],
    count: int,
) -> int:
    """Run a trial from the command line; the exit status is 1 if there were faults.

    Parameters
    ----------
    run, work : callable
        All cases, given their count and seed; and some in this process, given the first, their count and seed.
    count : int
        How many cases there are, unless the command says it.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=count, help="how many cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, help="the first case of --count, to repeat some in one process")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work or arguments.first is not None:
        work(arguments.first or 0, arguments.count, arguments.seed)
        return 0
    outcomes = run(arguments.count, arguments.seed)
    for outcome, times in sorted(outcomes.items(), key=lambda item: (is_fault(item[0]), -item[1])):
        print(f"{times:8}  {outcome}")
    return int(any(map(is_fault, outcomes)))
