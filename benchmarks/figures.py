"""Timing two libraries against each other, and the figures that result."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

SPEEDS = ("GB/s", "ms")
"""Units in which a ratio of two figures says which library is faster."""


def _nothing(number: int) -> None:
    pass


@dataclass(frozen=True)
class Side:
    """How one library does the work.

    Attributes
    ----------
    library
        Its name.
    run
        The work itself, which is timed. It gets the number of the round; what it returns is dropped at once.
    prepare
        What has to happen before a round and is not timed.
    """

    library: str
    run: Callable[[int], object]
    prepare: Callable[[int], None] = _nothing


@dataclass(frozen=True)
class Figure:
    """What was measured, in rounds that alternate between wkgpu and its peer.

    Attributes
    ----------
    name, work
        For the command line, and for people.
    unit
        Of all numbers: "GB/s", "ms", "s", "MB" or "MiB".
    peer
        Name of the library that wkgpu is compared with; empty where it is compared with a limit.
    ours, theirs
        One number for each round; empty where that library did not take part.
    at_least
        Target of the ratio to the peer.
    below
        Target that must not be exceeded.
    """

    name: str
    work: str
    unit: str
    peer: str = ""
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    at_least: float | None = None
    below: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times faster wkgpu is than its peer, by the medians."""
        if not (self.ours and self.theirs and self.unit in SPEEDS):
            return None
        ours, theirs = median(self.ours), median(self.theirs)
        return ours / theirs if self.unit == "GB/s" else theirs / ours

    @property
    def holds(self) -> bool | None:
        """Whether the target is met; None where there is none, or wkgpu did not take part."""
        if self.at_least is not None and self.ratio is not None:
            return self.ratio >= self.at_least
        if self.below is not None and self.ours:
            return median(self.ours) < self.below
        return None


def compare(
    name: str,
    work: str,
    ours: Side | None,
    theirs: Side,
    rounds: int,
    *,
    nbytes: int | None = None,
    count: int | None = None,
    at_least: float | None = None,
) -> Figure:
    """Let both libraries do the work in turns, so that a disturbance of the machine meets both.

    Parameters
    ----------
    name, work, at_least
        As in `Figure`.
    ours, theirs
        wkgpu, or None where it cannot do the work, and its peer.
    rounds
        How often each of them does the work.
    nbytes
        Size of the voxels of one round in bytes: the figure is in GB/s.
    count
        Number of equal pieces of work in one round: the figure is in ms for one piece.
    """
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for number in range(rounds):
        for key, side in (("ours", ours), ("theirs", theirs)):
            if side is not None:
                seconds[key].append(timed(side, number))
    mine, others = (_in_unit(seconds[key], nbytes, count) for key in ("ours", "theirs"))
    return Figure(name, work, "GB/s" if nbytes else "ms", theirs.library, mine, others, at_least=at_least)


def measure(
    name: str, work: str, side: Side, rounds: int, *, nbytes: int | None = None, count: int | None = None
) -> Figure:
    """Let one side do the work alone, as a mark for others; the parameters are those of `compare`."""
    side.run(0)
    seconds = [timed(side, number) for number in range(rounds)]
    return Figure(name, work, "GB/s" if nbytes else "ms", side.library, [], _in_unit(seconds, nbytes, count))


def _in_unit(seconds: list[float], nbytes: int | None, count: int | None) -> list[float]:
    if nbytes:
        return [nbytes / each / 1e9 for each in seconds]
    return [each / (count or 1) * 1e3 for each in seconds]


def timed(side: Side, number: int) -> float:
    """Seconds that one round takes; the result is freed before the clock of the next round starts."""
    side.prepare(number)
    gc.collect()
    os.sync()  # what earlier rounds wrote must not be written back at the expense of this one
    start = time.perf_counter()
    result = side.run(number)
    seconds = time.perf_counter() - start
    del result
    return seconds
