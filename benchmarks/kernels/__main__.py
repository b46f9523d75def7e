"""Write what all kernels need of a GPU: `python -m benchmarks.kernels --help`. It takes half a minute, and no GPU."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

# Numba decides when it is imported whether it simulates CUDA.
os.environ.pop("NUMBA_ENABLE_CUDASIM", None)

from benchmarks.kernels import assembly, listing

RESULTS = Path(__file__).parents[1] / "results" / "kernels.json"


def main(arguments: list[str] | None = None) -> None:
    """Compile, assemble and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description="Assemble all kernels of CUDA.")
    parser.add_argument("--output", type=Path, default=RESULTS, help="file of the figures (default: %(default)s)")
    parser.add_argument("--ptx", type=Path, help="a file for the PTX of all kernels, which is checked by a test")
    parser.add_argument(
        "--only", nargs="+", choices=assembly.ARCHITECTURES, metavar="ARCHITECTURE",
        help=f"of {', '.join(assembly.ARCHITECTURES)}; not into the file of all",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if options.only and options.output == RESULTS:
        parser.error("--only needs an --output of its own: the file of all kernels is for all architectures")
    architectures = options.only or assembly.ARCHITECTURES
    compiled = list(assembly.compile_all(architectures))
    assembled = (one for one in compiled if one.architecture in architectures)
    figures = [assembly.figures(one) for one in assembled]
    for source, architecture in product(listing.sources(), architectures):
        figures += assembly.figures_of_c(source, architecture)
    rows = [asdict(figure) for figure in figures]
    options.output.write_text(_text({"toolkit": assembly.toolkit(), "numba_cuda": version("numba-cuda")}, rows))
    if options.ptx:
        options.ptx.write_text(json.dumps([asdict(one) for one in compiled]), encoding="utf-8")


def _text(versions: dict[str, str | None], rows: list[dict[str, Any]]) -> str:
    """Return JSON with a row a line, so that a change of one kernel is a change of its lines."""
    lines = ",\n".join("    " + json.dumps(row) for row in rows)
    head = "".join(f'  "{name}": {json.dumps(value)},\n' for name, value in versions.items())
    return f'{{\n{head}  "kernels": [\n{lines}\n  ]\n}}\n'


if __name__ == "__main__":
    main()
