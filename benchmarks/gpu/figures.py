"""Figures of a GPU: rounds of several works in turns, and what a reader needs to judge a miss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.figures import Figure, Side, timed

Details = dict[str, "float | int | str | dict[str, float]"]

_MORE_IS_BETTER = ("GB/s", "patches/s")


@dataclass(frozen=True)
class GpuFigure(Figure):
    """A figure, with the reason for it.

    Attributes
    ----------
    above
        The number that the median of wkgpu's rounds is to reach.
    bound
        What bounded it, as it was measured.
    note
        What a reader must know, such as that a peer did a part of the work only.
    error
        The last line of what went wrong; then there are no numbers.
    skipped
        Why it was not measured; then there are no numbers either.
    details
        Further measurements by name.
    task
        Name of the task that it is a part of.
    run
        Position among the runs of the file of results, of which each has its machine.
    """

    above: float | None = None
    bound: str = ""
    note: str = ""
    error: str = ""
    skipped: str = ""
    details: Details = field(default_factory=dict)
    task: str = ""
    run: int = 0

    @property
    def ratio(self) -> float | None:
        """How many times better wkgpu is than its peer, by the medians."""
        if not (self.ours and self.theirs):
            return None
        ours, theirs = median(self.ours), median(self.theirs)
        return ours / theirs if self.unit in _MORE_IS_BETTER else theirs / ours

    @property
    def holds(self) -> bool | None:
        """Whether all targets are met; None where there is none, or nothing was measured."""
        verdicts = []
        if self.at_least is not None and self.ratio is not None:
            verdicts.append(self.ratio >= self.at_least)
        if self.above is not None and self.ours:
            verdicts.append(median(self.ours) >= self.above)
        return all(verdicts) if verdicts else None


@dataclass(frozen=True)
class Work(Side):
    """A side whose round is a known amount of work.

    Attributes
    ----------
    amount
        Bytes ("GB/s") or pieces ("ms" for one, "patches/s") of a round.
    max_rounds
        For what takes long; 0 for as many rounds as the others.
    """

    amount: float = 1.0
    max_rounds: int = 0


@dataclass(frozen=True)
class Task:
    """Rows that are measured together, and fail together.

    Attributes
    ----------
    name, work
        Of the row that says so if they cannot be measured.
    measure
        Yields the figures.
    """

    name: str
    work: str
    measure: Callable[[], Iterable[GpuFigure]]


class Skipped(Exception):  # noqa: N818 - no error: the message says why something is not measured
    """What a task cannot measure here."""


def in_turns(works: Sequence[Work], rounds: int, unit: str) -> list[list[float]]:
    """Let all works run in turns, so that a disturbance of the machine meets all of them.

    Returns
    -------
    list of list of float
        For each work the numbers of its rounds, in the unit.
    """
    found: list[list[float]] = [[] for _ in works]
    for number in range(rounds):
        for work, numbers in zip(works, found, strict=True):
            if not work.max_rounds or number < work.max_rounds:
                numbers.append(in_unit(unit, work.amount, timed(work, number)))
    return found


def in_unit(unit: str, amount: float, seconds: float) -> float:
    """Return what an amount of work in some seconds is in a unit."""
    if unit == "ms":
        return seconds / amount * 1e3
    return amount / max(seconds, 1e-12) / (1e9 if unit == "GB/s" else 1)


def rounded(numbers: dict[str, float]) -> dict[str, float]:
    """Round to four digits."""
    return {name: float(f"{number:.4g}") for name, number in numbers.items()}


def tidied(details: Details) -> Details:
    """Round all that is no whole number, as details are written."""
    tidy: Details = {}
    for name, value in details.items():
        if isinstance(value, dict):
            tidy[name] = rounded(value)
        else:
            tidy[name] = float(f"{value:.4g}") if isinstance(value, float) else value
    return tidy
