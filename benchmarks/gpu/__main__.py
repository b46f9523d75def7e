"""Run the benchmarks of the GPU: `python -m benchmarks.gpu --help`."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import machine
from benchmarks.gpu import report, session
from benchmarks.gpu.bench import Bench, Sizes
from benchmarks.gpu.figures import GpuFigure
from benchmarks.gpu.hardware import CudaGpu, Gpu
from benchmarks.volumes import texture
from wkgpu.engines import get_engine
from wkgpu.engines.cuda import fetching
from wkgpu.errors import DeviceError
from wkgpu.settings import config

RESULTS = Path(__file__).parents[1] / "results" / "gpu.json"
_DEVICE = "cuda:0"


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and store; return the exit status."""
    begin = time.monotonic()
    options = _options(arguments)
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    try:
        engine: Any = get_engine(_DEVICE)
    except DeviceError as error:
        print(error, file=sys.stderr)
        return 1
    gpu = CudaGpu(int(_DEVICE.partition(":")[2]))
    return measure(engine, gpu, options, console, begin + 60 * options.minutes)


def measure(engine: Any, gpu: Gpu, options: argparse.Namespace, console: Console, deadline: float) -> int:
    """Measure on an engine until a deadline of `time.monotonic`; return the exit status."""
    sizes = options.sizes or (Sizes.quick() if options.quick else Sizes())
    output = options.output or (None if options.quick or options.only else RESULTS)
    with _scratch(options.scratch) as scratch:
        bench = Bench(engine, gpu, Path(scratch), sizes)
        results = report.Results(output, {**machine.describe(), **gpu.describe()}, _setting(bench))
        seconds = bench.make_datasets()
        setting = results.runs[-1]["setting"]
        setting.update(stored_with=bench.stored_with, making_datasets_s=round(seconds, 1))
        console.print(f"EM {sizes.em} and segmentation {sizes.segmentation} are there after {seconds:.0f} s")
        gc.collect()
        gc.freeze()  # the libraries' objects need not be looked at between rounds

        def add(figure: GpuFigure) -> None:
            results.add(figure)
            console.print(report.line(figure), markup=False, highlight=False, soft_wrap=True)

        session.run(bench, options.only or list(session.GROUPS), deadline, add, options.debug)
    figures = results.of_this_run
    console.print(report.table(figures, f"wkgpu on {engine.name}, and its peers"))
    for miss in report.misses(figures):
        console.print(f"missed: {miss}", markup=False, highlight=False, soft_wrap=True)
    if output is not None:
        console.print(f"Written to {output}")
    failed = report.failures(figures)
    if failed:
        console.print(f"{failed} rows failed", style="red")
    return 1 if failed else 0


def _scratch(folder: Path | None) -> Any:
    """Return a folder for datasets: one that is kept for further runs, or one that is deleted at the end."""
    if folder is None:
        return tempfile.TemporaryDirectory(prefix="wkgpu-benchmarks-")
    folder.mkdir(parents=True, exist_ok=True)
    return nullcontext(folder)


def _setting(bench: Bench) -> dict[str, Any]:
    return {
        **asdict(bench.sizes),
        "texture": texture(),
        "wkgpu_settings": {**vars(config), "long_bytes": fetching.LONG_BYTES},
        "loadavg": os.getloadavg()[0],
    }


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="Measure wkgpu on cuda:0.")
    groups = ", ".join(session.GROUPS)
    parser.add_argument("--only", nargs="+", choices=session.GROUPS, metavar="ROW", help=groups)
    parser.add_argument("--quick", action="store_true", help="512³ volumes, to see whether everything works")
    parser.add_argument("--minutes", type=float, default=30, help="no row begins after so many (default: 30)")
    parser.add_argument("--scratch", type=Path, help="where 12 GB of datasets may lie; they are kept for further runs")
    parser.add_argument("--output", type=Path, help="file of results, to which rows are added (a whole run: gpu.json)")
    parser.add_argument("--debug", action="store_true", help="stop at the first row that fails, with its traceback")
    parser.set_defaults(sizes=None)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
