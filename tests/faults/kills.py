"""Kills (SIGKILL) at any moment of what changes files: voxels are old or new, and the next call repairs the rest.

``PYTHONPATH=tests python -m faults.kills --count 1000 --seed 1`` prints how often each outcome came, and the faults;
the exit status is 1 if there were any. A process in which all kernels are compiled forks a child for each case. Half of
the children are killed after a random time, the others kill themselves at a chosen place of Python's code.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .changes import CHANGES, Change, make_datasets
from .places import Place, Places, act_at
from .processes import Outcomes, main, print_cases, run_cases, unhurried
from .states import differences, files_of, left_over, state_of, unexpected

BATCH = 500


def run(count: int, seed: int) -> Outcomes:
    """Kill processes that change a dataset, and count the outcomes.

    Returns
    -------
    dict
        Counts of "NAME killed" and "NAME ended before" for each change, and of faults, whose names begin with "FAULT".
    """
    return run_cases("kills", 0, count, seed, BATCH)


# ---- In the other process


def work(first: int, count: int, seed: int) -> None:
    """Run the cases from ``first`` on, and print a line of JSON for each: its outcomes."""
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # so are users' ones
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_datasets(folder / "template")
        trial = cache(lambda change: Trial(folder, change))

        def case(random: np.random.Generator, number: int) -> Outcomes:
            with unhurried():
                chosen = trial(CHANGES[random.integers(len(CHANGES))])
            return chosen.case(random, number)

        print_cases(case, first, count, seed)


class Moment(NamedTuple):
    """When a child is killed: after some seconds, or at a place."""

    seconds: float | None = None
    place: Place | None = None

    def __str__(self) -> str:
        return "at a random time" if self.place is None else f"at {self.place}"


class Trial:
    """Kills of one change."""

    def __init__(self, folder: Path, change: Change) -> None:
        self._change = change
        self._template = folder / "template"
        self._root = folder / "case"
        self._before = state_of(self._template)
        self._renew()
        change.call(self._root)  # compiles
        self._after = state_of(self._root)
        self._renew()
        self._places = Places(lambda: change.call(self._root))
        self._renew()
        begin = time.perf_counter()
        assert self._killed(Moment()) is False
        self._seconds = time.perf_counter() - begin
        if faults := list(self._faults(files_of(self._template))):
            raise AssertionError(f"{change.name} without a kill: {faults}")

    def case(self, random: np.random.Generator, number: int) -> Outcomes:
        """Kill a child once, and return what came of it."""
        moment = Moment(place=self._places.choose(random))
        if random.random() < 0.5:
            moment = Moment(random.uniform(0, 1.2 * self._seconds))
        self._renew()
        files = files_of(self._root)
        was_killed = self._killed(moment)
        name = self._change.name
        try:
            faults = ["raises an error, which is printed above"] if was_killed is None else list(self._faults(files))
        except Exception as error:
            places = traceback.extract_tb(error.__traceback__)[-3:]
            where = " < ".join(f"{Path(place.filename).name}:{place.lineno}" for place in reversed(places))
            faults = [f"afterwards raises {type(error).__name__} at {where}: {error}"]
        if faults:
            return {f"FAULT {name}, {moment}: {fault} in case {number}": 1 for fault in faults}
        return {f"{name} {'killed' if was_killed else 'ended before'}": 1}

    def _renew(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)
        shutil.copytree(self._template, self._root, symlinks=True)

    def _killed(self, moment: Moment) -> bool | None:
        """Run the change in a child; returns whether it was killed, or None if it raised an exception."""
        child = os.fork()
        if child == 0:
            _in_child(lambda: self._change.call(self._root), moment)
        if moment.seconds is not None:
            time.sleep(moment.seconds)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return True
        return False if os.WEXITSTATUS(status) == 0 else None

    def _faults(self, files: dict[str, bytes]) -> Iterator[str]:
        """Yield what is wrong after a kill, and after the next call."""
        change = self._change
        found = state_of(self._root)
        yield from unexpected(found, self._before, self._after)
        yield from _changed(files, files_of(self._root), change)
        if change.is_complete(found, self._after):
            change.undo(self._root)
        change.call(self._root)
        yield from (f"after the next call, {text}" for text in differences(state_of(self._root), self._after))
        yield from (f"after the next call, {text}" for text in _changed(files, files_of(self._root), change))
        yield from (f"{name} is left over after the next call" for name in left_over(self._root))


def _in_child(call: Callable[[], object], moment: Moment) -> None:
    """Do something and end the process, which returns no more."""
    try:
        if moment.place is None:
            call()
        else:
            act_at(moment.place, lambda: os.kill(os.getpid(), signal.SIGKILL), call)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)


def _changed(before: dict[str, bytes], after: dict[str, bytes], change: Change) -> Iterator[str]:
    """Yield files that a change had nothing to do with, and that are not as they were."""
    for name, content in before.items():
        if not name.startswith(change.touched) and after.get(name) != content:
            yield f"{name} is {'changed' if name in after else 'missing'}"


if __name__ == "__main__":
    sys.exit(main(__doc__, run, work, 1000))
