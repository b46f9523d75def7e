"""The README's tables of figures, made of files in `benchmarks/results/`: `python -m benchmarks.readme`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.report import plain

_ROOT = Path(__file__).resolve().parents[1]
README = _ROOT / "README.md"
FIGURES = _ROOT / "benchmarks" / "results" / "cpu.json"
NEWEST_GPU_FIGURES = _ROOT / "benchmarks" / "results" / "gpu.json"
"""What a whole run of `make bench-gpu` writes."""
GPU_FIGURES = _ROOT / "benchmarks" / "results" / "gpu-h100-e5d00f0.json"
"""What stands in the README until there is such a run."""
GPU_ROWS = ("read-em", "read-segmentation", "patch-em", "patches-256-em", "write-em")


ZARR = "Zarr 3 "
"""With which the names of work on Zarr arrays begin."""


def table(results: Path = FIGURES) -> str:
    """Return all figures of WKW in which two libraries were compared, as a table in Markdown."""
    lines = ["| work | wkgpu | peer | ratio | target |", "|---|---|---|---|---|"]
    for figure in _compared(results):
        if not figure["work"].startswith(ZARR):
            target = "" if figure["at_least"] is None else f"{figure['at_least']:g}x"
            lines.append(f"{_row(figure)} {target} |")
    return "\n".join(lines) + "\n"


def zarr_table(results: Path = FIGURES) -> str:
    """Return how many times faster than each peer work on Zarr arrays was, as a table in Markdown."""
    found: dict[str, dict[str, Any]] = {}
    for figure in _compared(results):
        if figure["work"].startswith(ZARR):
            found.setdefault(figure["work"].removeprefix(ZARR), {})[figure["peer"]] = figure
    peers = sorted(dict.fromkeys(peer for row in found.values() for peer in row), key=_is_library)
    lines = [f"| Zarr 3 | wkgpu | {' | '.join(peers)} |", "|---" * (len(peers) + 2) + "|"]
    for work, row in found.items():
        first = next(iter(row.values()))
        ours = f"{plain(first['ours_median'])} {first['unit']}"
        ratios = [f"{plain(row[peer]['ratio'])}x" if peer in row else "" for peer in peers]
        lines.append(f"| {' | '.join([work, ours, *ratios])} |")
    return "\n".join(lines) + "\n"


def _is_library(peer: str) -> bool:
    return not peer.startswith("codec")  # what else is measured as a peer is a codec's function, with or without files


def _compared(results: Path) -> list[dict[str, Any]]:
    figures = json.loads(results.read_text(encoding="utf-8"))["figures"]
    return [figure for figure in figures if figure["ratio"] is not None]


def gpu_table(results: Path | None = None) -> str:
    """Return some figures of a GPU as a table in Markdown, with the date, the commit and the machine.

    Parameters
    ----------
    results
        A file that `make bench-gpu` has written; without one, the newest.
    """
    if results is None:
        results = NEWEST_GPU_FIGURES if NEWEST_GPU_FIGURES.exists() else GPU_FIGURES
    stored = json.loads(results.read_text(encoding="utf-8"))
    measured = {figure["name"]: figure for figure in stored["figures"] if figure["ours"]}
    figures = [measured[name] for name in GPU_ROWS if name in measured]
    lines = ["| work | wkgpu | peer | ratio |", "|---|---|---|---|", *map(_row, figures), ""]
    machines = [stored["runs"][run]["machine"] for run in sorted({figure["run"] for figure in figures})]
    lines += [f"Measured {said}." for said in dict.fromkeys(map(_machine, machines))]
    return "\n".join(lines) + "\n"


def _row(figure: dict[str, Any]) -> str:
    ours, theirs = (
        "" if figure[side] is None else f"{plain(figure[side])} {figure['unit']}"
        for side in ("ours_median", "theirs_median")
    )
    ratio = "" if figure["ratio"] is None else f"{plain(figure['ratio'])}x"
    peer = f"{figure['peer']} {theirs}".strip()
    return f"| {figure['work']} | {ours} | {peer} | {ratio} |"


def _machine(machine: dict[str, Any]) -> str:
    found = machine["found"]
    commit = "an unknown commit" if machine["commit"] is None else f"commit {machine['commit'][:7]}"
    software = [f"driver {found['NVIDIA driver'].partition(',')[0]}"]
    software += [f"{name} {found[name]}" for name in ("CuPy", "KvikIO", "nvCOMP")]
    return (
        f"on {machine['date'][:10]} at {commit} on an {machine['gpu']} with {machine['cores']} cores of an "
        f"{machine['cpu']}: {'; '.join(software)}"
    )


# ---- In the README


def table_in(readme: str, name: str = "benchmark") -> str:
    """Return the table between the marks of a name in a README."""
    start, end = _marks(name)
    return readme.partition(start)[2].partition(end)[0]


def update() -> None:
    """Write the tables into the README."""
    readme = README.read_text(encoding="utf-8")
    for name, text in (("benchmark", table()), ("zarr-benchmark", zarr_table()), ("gpu-benchmark", gpu_table())):
        start, end = _marks(name)
        before, _, rest = readme.partition(start)
        readme = before + start + text + end + rest.partition(end)[2]
    README.write_text(readme, encoding="utf-8")


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- {name}:start -->\n", f"<!-- {name}:end -->\n"


if __name__ == "__main__":
    update()
