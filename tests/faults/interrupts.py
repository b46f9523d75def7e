"""Interrupts (Ctrl+C) at any moment of any operation: nothing hangs, is lost, stays locked, or continues afterwards.

``PYTHONPATH=tests python -m faults.interrupts --count 50000 --seed 1`` prints how often each outcome came, and the
faults; the exit status is 1 if there were any. Half of the interrupts are signals at random moments. The others come at
a chosen place of Python's code, between two bytecodes, of those places where CPython looks for signals: so also moments
that are too short for a signal to hit them are tried.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from . import file_operations, operations
from .places import Places, act_at
from .processes import Outcomes, is_fault, main, print_cases, run_cases, unhurried
from .world import Operation, World

BATCH = 2500
OPERATIONS = operations.OPERATIONS + file_operations.OPERATIONS
PROBABILITIES = [operation.weight / sum(each.weight for each in OPERATIONS) for operation in OPERATIONS]


def run(count: int, seed: int) -> Outcomes:
    """Interrupt operations, and count the outcomes.

    Returns
    -------
    dict
        Counts of "NAME interrupted" and "NAME ended before" for each operation, and of faults, whose names begin with
        "FAULT".
    """
    return run_cases("interrupts", 0, count, seed, BATCH)


# ---- In the other process


def work(first: int, count: int, seed: int) -> None:
    """Run the cases from ``first`` on, and print a line of JSON for each: its outcomes."""
    sys.unraisablehook = lambda _: None  # an interrupt in a destructor is printed and lost, as everywhere in Python
    with tempfile.TemporaryDirectory() as folder:
        worlds = [World(Path(folder))]
        interrupts = Interrupts()

        def case(random: np.random.Generator, number: int) -> Outcomes:
            outcomes = _case(worlds[-1], interrupts, random, number)
            if any(map(is_fault, outcomes)):  # what it has spoilt is no matter of the next case
                worlds.append(World(Path(folder, str(number))))
            return outcomes

        print_cases(case, first, count, seed)


def _case(world: World, interrupts: Interrupts, random: np.random.Generator, number: int) -> Outcomes:
    operation = OPERATIONS[random.choice(len(OPERATIONS), p=PROBABILITIES)]
    with unhurried():
        interrupts.measure(operation, world)
    attempt = operation.prepare(world, random)
    is_timed = random.random() < 0.5
    faults: Counter[str] = Counter()

    def found() -> Iterator[str]:
        if outcome not in ("interrupted", "ended before"):
            yield outcome
        yield from attempt.check(outcome == "ended before")
        yield from world.troubles(random)
        yield from attempt.check_late()

    def note(fault: str) -> None:
        faults[f"FAULT {operation.name}, {interrupts.moment}: {fault} in case {number}"] += 1

    outcome = interrupts.during(operation.name, attempt.call, random, is_timed)
    try:
        for fault in found():
            note(fault)
    except Exception as error:
        note(f"afterwards {described(error)}")
    if faults:
        return dict(faults)
    return {f"{operation.name} {outcome}": 1}


def described(error: Exception) -> str:
    """Return what an error is, and where it comes from."""
    places = traceback.extract_tb(error.__traceback__)[-4:]
    where = " < ".join(f"{Path(place.filename).name}:{place.lineno}" for place in reversed(places))
    return f"raises {type(error).__name__} at {where}: {error}"


class Interrupts:
    """Raises `KeyboardInterrupt` in a call, at a random moment or at a chosen place."""

    def __init__(self) -> None:
        self._armed = self._interrupted = False
        self.moment = ""  # of the last interrupt
        self._seconds: dict[str, float] = {}
        self._places: dict[str, Places] = {}
        signal.signal(signal.SIGALRM, self._on_signal)

    def measure(self, operation: Operation, world: World) -> None:
        """Find out how long an operation takes, and how many places there are in it, if that is not known."""
        if operation.name in self._places:
            return
        random = np.random.default_rng(0)
        for _ in range(3):
            attempt = operation.prepare(world, random)
            begin = time.perf_counter()
            attempt.call()
            self._seconds[operation.name] = time.perf_counter() - begin  # the last one does not compile
            _expect_none(operation.name, attempt.check(True))
        attempt = operation.prepare(world, random)
        self._places[operation.name] = Places(attempt.call)
        _expect_none(operation.name, attempt.check(True))

    def during(self, name: str, call: Callable[[], object], random: np.random.Generator, is_timed: bool) -> str:
        """Interrupt a call, and return what came of it; its traceback is forgotten, as in a shell."""
        self._interrupted = False
        self.moment = "at a random time"
        try:
            if is_timed:
                self._at_random(call, random.uniform(2e-5, 1.2 * self._seconds[name]))
            else:
                place = self._places[name].choose(random)
                self.moment = f"at {place}"
                act_at(place, self._interrupt, call)
        except KeyboardInterrupt:
            return "interrupted"
        except Exception as error:
            if self._interrupted and _is_foreign(error):
                return "interrupted"
            return described(error)
        return "ended before"

    def _at_random(self, call: Callable[[], object], seconds: float) -> None:
        try:
            self._armed = True
            signal.setitimer(signal.ITIMER_REAL, seconds)
            call()
        finally:
            self._armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _on_signal(self, *_: object) -> None:
        if self._armed:
            self._interrupt()

    def _interrupt(self) -> None:
        self._armed, self._interrupted = False, True
        raise KeyboardInterrupt


def _is_foreign(error: BaseException) -> bool:
    """Whether something else made an error of an interrupt, as NumPy, Numba and `shutil.rmtree` do in some places."""
    *_, last = traceback.walk_tb(error.__traceback__)
    if "site-packages" in last[0].f_code.co_filename:
        return True
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _expect_none(name: str, faults: Iterator[str]) -> None:
    if found := list(faults):
        raise AssertionError(f"{name} without an interrupt: {found}")


if __name__ == "__main__":
    sys.exit(main(__doc__, run, work, 2000))
