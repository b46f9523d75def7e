"""The figures as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import Figure
from benchmarks.report import plain

_HOLDS, _FAILS, _OPEN, _TARGET = "#1b7f5c", "#c2462e", "#5b7a99", "#1a1a1a"


def draw(path: Path, machine: dict[str, Any], figures: Sequence[Figure]) -> bool:
    """Draw how many times faster wkgpu is than its peers, and the targets; False where there is nothing to draw."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    shown = _closest(figures)
    if not shown:
        return False
    figure, axes = pyplot.subplots(figsize=(11, 1.8 + 0.52 * len(shown)), layout="constrained")
    for row, shown_figure in enumerate(shown):
        _draw_bar(axes, row, shown_figure)
    axes.set_xscale("log")
    ratios = [entry.ratio or 1 for entry in shown]
    axes.set_xlim(min(0.9, *ratios), 3 * max([*ratios, *(entry.at_least or 1 for entry in shown)]))
    axes.set_yticks(range(len(shown)), [f"{entry.work}\nagainst {entry.peer}" for entry in shown], fontsize=9)
    axes.invert_yaxis()
    axes.axvline(1, color=_TARGET, linewidth=0.8)
    axes.xaxis.set_major_formatter(lambda ratio, _: f"{ratio:g}x")
    axes.grid(axis="x", which="both", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_title("How many times faster wkgpu is (mark: target)", loc="left", fontsize=13, fontweight="bold")
    axes.set_xlabel(
        f"{machine['cpu']}, {machine['cores']} cores, {machine['date'][:10]}; median of {len(shown[0].ours)} rounds",
        fontsize=9,
        color="#555555",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return True


def _closest(figures: Sequence[Figure]) -> list[Figure]:
    """Return of each work the figure of the other library that comes closest."""
    found: dict[str, Figure] = {}
    for figure in figures:
        is_library = not figure.peer.startswith(("codec", "wkgpu"))
        if is_library and figure.ratio is not None:
            known = found.setdefault(figure.work, figure)
            if figure.ratio < (known.ratio or 0):
                found[figure.work] = figure
    return list(found.values())


def _draw_bar(axes: Any, row: int, figure: Figure) -> None:
    ratio = figure.ratio or 1
    colour = {True: _HOLDS, False: _FAILS, None: _OPEN}[figure.holds]
    axes.barh(row, ratio - 1, left=1, height=0.55, color=colour)
    if figure.at_least is not None:
        axes.plot([figure.at_least] * 2, [row - 0.4, row + 0.4], color=_TARGET, linewidth=2.2)
    ours, theirs = median(figure.ours), median(figure.theirs)
    label = f"  {plain(ratio)}x   {plain(ours)} vs {plain(theirs)} {figure.unit}"
    axes.text(max(ratio, figure.at_least or 1, 1), row, label, va="center", fontsize=9)
