"""The figures as a table, and as a file to which further runs add theirs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table
from rich.text import Text

from benchmarks.gpu.figures import GpuFigure
from benchmarks.report import plain

_MARKS = {True: Text("yes", "green"), False: Text("no", "red"), None: Text("")}


def table(figures: Iterable[GpuFigure], title: str) -> Table:
    """Lay the figures out: both sides, the ratio and the target."""
    result = Table(title=title, caption="medians; a ratio above 1 is in favour of what the row names")
    result.add_column("work")
    for column in ("wkgpu", "peer's", "ratio", "target"):
        result.add_column(column, justify="right", no_wrap=True)
    result.add_column("peer")
    result.add_column("holds")
    for figure in figures:
        if figure.error or figure.skipped:
            mark = Text("failed", "red") if figure.error else Text("-", "yellow")
            result.add_row(figure.work, "-", "-", "", "", Text(figure.error or figure.skipped), mark)
            continue
        result.add_row(
            figure.work,
            _amount(figure.ours, figure.unit),
            _amount(figure.theirs, figure.unit),
            "" if figure.ratio is None else f"{plain(figure.ratio)}x",
            _target(figure),
            figure.peer,
            _MARKS[figure.holds],
        )
    return result


def line(figure: GpuFigure) -> str:
    """Say one figure in a line."""
    if figure.error or figure.skipped:
        return f"{figure.name}: {'failed: ' + figure.error if figure.error else 'not measured: ' + figure.skipped}"
    said = [f"{figure.name}: {_amount(figure.ours, figure.unit)}"]
    if figure.theirs:
        said.append(f"{figure.peer} {_amount(figure.theirs, figure.unit)}")
    if figure.ratio is not None:
        said.append(f"{plain(figure.ratio)}x")
    return ", ".join(said)


def misses(figures: Iterable[GpuFigure]) -> list[str]:
    """Explain each target that is missed, with what was measured."""
    return [
        f"{figure.name}: {_reached(figure)}, target {_target(figure)}. {figure.bound or 'What bounds it is unknown'}."
        for figure in figures
        if figure.holds is False
    ]


def _reached(figure: GpuFigure) -> str:
    if figure.at_least is not None and figure.ratio is not None:
        return f"{plain(figure.ratio)}x"
    return _amount(figure.ours, figure.unit)


def _amount(rounds: list[float], unit: str) -> str:
    return f"{plain(median(rounds))} {unit}" if rounds else "-"


def _target(figure: GpuFigure) -> str:
    if figure.at_least is not None:
        return f"≥ {figure.at_least:g}x"
    return "" if figure.above is None else f"≥ {figure.above:,.0f} {figure.unit}"


# ---- The file


class Results:
    """The figures of all runs into one file, which is written after each figure: a run that is killed keeps its own.

    Parameters
    ----------
    path
        The file; what it holds stays, but for rows that are measured again. None writes nothing.
    machine, setting
        Of this run.
    """

    def __init__(self, path: Path | None, machine: dict[str, Any], setting: dict[str, Any]) -> None:
        self._path = path
        self.runs: list[dict[str, Any]] = []
        self.figures: list[GpuFigure] = []
        if path is not None and path.exists():
            stored = json.loads(path.read_text())
            self.runs = stored["runs"]
            self.figures = [_figure(entry) for entry in stored["figures"]]
        self.runs.append({"machine": machine, "setting": setting})
        self._run = len(self.runs) - 1

    def add(self, figure: GpuFigure) -> None:
        """Add a figure, replacing one of the same name; what was only skipped replaces nothing."""
        figure = replace(figure, run=self._run)
        if figure.task != figure.name:  # an earlier run has not measured the task
            self.figures = [other for other in self.figures if other.name != figure.task or other.ours]
        names = [other.name for other in self.figures]
        if figure.name in names:
            place = names.index(figure.name)
            if not figure.skipped or self.figures[place].skipped or self.figures[place].error:
                self.figures[place] = figure
        else:
            self.figures.append(figure)
        self.write()

    @property
    def of_this_run(self) -> list[GpuFigure]:
        """The figures that this run has measured."""
        return [figure for figure in self.figures if figure.run == self._run]

    def write(self) -> None:
        """Write the file, with the runs that still have figures, and this one."""
        if self._path is None:
            return
        used = sorted({figure.run for figure in self.figures} | {self._run})
        entries = [_entry(replace(figure, run=used.index(figure.run))) for figure in self.figures]
        text = json.dumps({"runs": [self.runs[number] for number in used], "figures": entries}, indent=2)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_name(f".{self._path.name}.partial")
        partial.write_text(text + "\n")
        partial.replace(self._path)


def _entry(figure: GpuFigure) -> dict[str, Any]:
    medians = {
        "ours_median": median(figure.ours) if figure.ours else None,
        "theirs_median": median(figure.theirs) if figure.theirs else None,
    }
    return {**asdict(figure), **medians, "ratio": figure.ratio, "holds": figure.holds}


def _figure(entry: dict[str, Any]) -> GpuFigure:
    names = {field.name for field in fields(GpuFigure)}
    return GpuFigure(**{name: value for name, value in entry.items() if name in names})


def failures(figures: Sequence[GpuFigure]) -> int:
    """Count the rows that failed."""
    return sum(1 for figure in figures if figure.error)
