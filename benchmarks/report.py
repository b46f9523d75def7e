"""The figures as a table and as a file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from benchmarks.figures import Figure


def table(figures: Iterable[Figure], title: str) -> Table:
    """Lay the figures out, both sides and the ratio."""
    result = Table(title=title, caption="medians; a ratio above 1 is in favour of wkgpu")
    result.add_column("work", no_wrap=True)
    for column in ("wkgpu", "peer's", "ratio", "target"):
        result.add_column(column, justify="right")
    result.add_column("peer")
    result.add_column("holds")
    marks = {True: "[green]yes", False: "[red]no", None: ""}
    for figure in figures:
        result.add_row(
            figure.work,
            _amount(figure.ours, figure.unit),
            _amount(figure.theirs, figure.unit),
            "" if figure.ratio is None else f"{plain(figure.ratio)}x",
            _target(figure),
            figure.peer,
            marks[figure.holds],
        )
    return result


def line(figure: Figure) -> str:
    """Say one figure in a line."""
    sides = [(name, rounds) for name, rounds in (("wkgpu", figure.ours), (figure.peer, figure.theirs)) if rounds]
    return f"{figure.work}: " + ", ".join(f"{name} {_amount(rounds, figure.unit)}" for name, rounds in sides)


def plain(number: float) -> str:
    """Three digits, and never an exponent for what is large."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def write_json(path: Path, machine: dict[str, Any], setting: dict[str, Any], figures: Iterable[Figure]) -> None:
    """Write all rounds of all figures, and where they were measured."""
    results = []
    for figure in figures:
        medians = {
            "ours_median": median(figure.ours) if figure.ours else None,
            "theirs_median": median(figure.theirs) if figure.theirs else None,
        }
        results.append({**asdict(figure), **medians, "ratio": figure.ratio, "holds": figure.holds})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, "setting": setting, "figures": results}, indent=2) + "\n")


def _amount(rounds: list[float], unit: str) -> str:
    return f"{plain(median(rounds))} {unit}" if rounds else "-"


def _target(figure: Figure) -> str:
    if figure.at_least is not None:
        return f"≥ {figure.at_least:g}x"
    return "" if figure.below is None else f"< {figure.below:g} {figure.unit}"
