"""The README's table of figures, made of `benchmarks/results/cpu.json`: `python -m benchmarks.readme`."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.report import plain

_ROOT = Path(__file__).resolve().parents[1]
README = _ROOT / "README.md"
FIGURES = _ROOT / "benchmarks" / "results" / "cpu.json"
_START, _END = "<!-- benchmark:start -->\n", "<!-- benchmark:end -->\n"


def table(results: Path = FIGURES) -> str:
    """Return all figures in which two libraries were compared, as a table in Markdown."""
    lines = ["| work | wkgpu | peer | ratio | aimed at |", "|---|---|---|---|---|"]
    for figure in json.loads(results.read_text(encoding="utf-8"))["figures"]:
        if figure["ratio"] is None:
            continue
        ours, theirs = (f"{plain(figure[side])} {figure['unit']}" for side in ("ours_median", "theirs_median"))
        target = "" if figure["at_least"] is None else f"{figure['at_least']:g}x"
        lines.append(
            f"| {figure['work']} | {ours} | {figure['peer']} {theirs} | {plain(figure['ratio'])}x | {target} |"
        )
    return "\n".join(lines) + "\n"


def table_in(readme: str) -> str:
    """Return the table that a README has."""
    return readme.partition(_START)[2].partition(_END)[0]


def update() -> None:
    """Write the table into the README."""
    readme = README.read_text(encoding="utf-8")
    before, start, rest = readme.partition(_START)
    _, end, after = rest.partition(_END)
    README.write_text(before + start + table() + end + after, encoding="utf-8")


if __name__ == "__main__":
    update()
