"""Run the benchmarks: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from benchmarks import (
    limits,
    machine,
    merging,
    operations,
    patches,
    plot,
    process,
    readme,
    reads,
    report,
    writes,
    zarr_volumes,
)
from benchmarks.figures import Figure
from benchmarks.volumes import Shape, texture
from benchmarks.workbench import Sizes, Workbench

BENCHMARKS: dict[str, Callable[[Workbench], Iterator[Figure]]] = {
    "read-fresh": reads.read_fresh,
    "read-into": reads.read_into,
    "patches": patches.read_patches,
    "patches-many": patches.read_many,
    "write": writes.write_whole,
    "write-patch": writes.write_patch,
    "compress": operations.compress,
    "downsample": operations.downsample,
    "merge": merging.merge_annotation,
    "equal": operations.content_is_equal,
    "slices": operations.write_slices,
    "zarr-read": zarr_volumes.read_whole,
    "zarr-others": zarr_volumes.read_beside_others,
    "zarr-patches": zarr_volumes.read_patches,
    "zarr-write": zarr_volumes.write,
    "limits": limits.limits,
    "import": process.import_time,
    "memory": process.read_memory,
}
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Measure, print and store."""
    options = _options()
    console = Console()
    console.width = max(console.width, 124)  # a table with folded cells is hard to read
    sizes = Sizes.quick() if options.quick else Sizes()
    with tempfile.TemporaryDirectory(prefix="wkgpu-benchmarks-", dir=options.scratch) as scratch:
        bench = Workbench(Path(scratch), sizes)
        if bench.wkgpu is None:
            console.print("[yellow]wkgpu has no Dataset yet: only its peers are measured.")
        figures = _measure(bench, options.only or list(BENCHMARKS), console)
    console.print(report.table(figures, f"wkgpu and its peers ({_edges(sizes.volume)}, EM: {texture()})"))
    output = options.output or (None if options.quick or options.only else RESULTS)
    if output is not None:
        setting = {**asdict(sizes), "texture": texture()}
        here = machine.describe()
        report.write_json(output / "cpu.json", here, setting, figures)
        drawn = plot.draw(output / "cpu.png", here, figures)
        console.print(f"Written to {output}: cpu.json" + (", cpu.png" if drawn else ""))
    if output == RESULTS:
        readme.update()


def _edges(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _measure(bench: Workbench, names: list[str], console: Console) -> list[Figure]:
    figures = []
    for name in names:
        with console.status(f"{name} ..."):
            for figure in BENCHMARKS[name](bench):
                figures.append(figure)
                console.print(report.line(figure))
    return figures


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure wkgpu against its peers.")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="small volumes, to see whether everything works")
    parser.add_argument("--scratch", type=Path, help="where datasets of some GB may lie for a while")
    parser.add_argument("--output", type=Path, help="where the results go (a whole run: benchmarks/results)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
