"""The `wkgpu` command: what it takes, and which module does it.

Modules that need NumPy, Numba or a GPU are imported by the command that uses them, so that `wkgpu --help` is quick.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from wkgpu import BoundingBox
from wkgpu.cli.boxes import parse_box, parse_coordinates
from wkgpu.cli.changes import compress, downsample, equal, merge, rechunk
from wkgpu.cli.console import output, reports_errors
from wkgpu.cli.options import DeviceOption, PathArgument, local
from wkgpu.extras import own_version

OUTPUT_TYPES = (".npy", ".tif", ".tiff", ".png")  # those of `export.WRITERS`, which a test checks

app = typer.Typer(
    name="wkgpu",
    help="Read, change and inspect WEBKNOSSOS volumes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"wkgpu {own_version()}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Read, change and inspect WEBKNOSSOS volumes."""


@app.command()
@reports_errors
def info(
    path: PathArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all sizes in bytes.")] = False,
) -> None:
    """Show layers, mags, boxes, shapes, codecs, sizes on disk and compression ratios."""
    from wkgpu.cli.info import show_info

    if not show_info(path, as_json, output()):
        raise typer.Exit(1)


def _parsed_box(text: str) -> BoundingBox:
    try:
        return parse_box(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _parsed_coordinates(texts: Sequence[str]) -> dict[str, int]:
    try:
        return parse_coordinates(texts)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--at") from error


def _known_output(path: Path) -> Path:
    path = local(path) or path
    if path.suffix.lower() not in OUTPUT_TYPES:
        raise typer.BadParameter(f"{str(path)!r} does not end with one of {', '.join(OUTPUT_TYPES)}")
    return path


@app.command(no_args_is_help=True)
@reports_errors
def read(
    path: PathArgument,
    layer: Annotated[
        str | None,
        typer.Argument(show_default=False, metavar="LAYER", help="Name of the layer; only if PATH is a dataset."),
    ] = None,
    mag: Annotated[
        str | None,
        typer.Argument(show_default=False, metavar="MAG", help="1, 2-2-1, ...; only if PATH is not the mag's folder."),
    ] = None,
    *,
    box: Annotated[
        BoundingBox,
        typer.Option(show_default=False, metavar="X,Y,Z,W,H,D", parser=_parsed_box, help="Voxels to read, in Mag(1)."),
    ],
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="AXIS=N", help="Coordinate along a further axis, such as t=3."),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            show_default=False, callback=_known_output, help="FILE.npy: array (c,x,y,z). .tif: stack. .png: one slice."
        ),
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")] = False,
    device: DeviceOption = None,
) -> None:
    """Read a box of voxels into a file.

    PATH may lead to a dataset, to a folder of mags, or to the folder of a mag; name what it does not say yet:

    • wkgpu read dataset color 2-2-1 --box 0,0,0,256,256,64 --out stack.tif

    • wkgpu read annotation 1 --box 0,0,0,256,256,1 --out slice.png

    • wkgpu read annotation/1 --box 0,0,0,256,256,64 --out array.npy

    • wkgpu read series color 1 --box 0,0,0,256,256,1 --at t=3 --out slice.png
    """
    from wkgpu.cli.reading import read_to_file

    names = [name for name in (layer, mag) if name is not None]
    read_to_file(path, names, box, _parsed_coordinates(at or ()), out, force, device, output())


for change in (compress, rechunk, downsample, merge, equal):
    app.command()(change)


@app.command()
@reports_errors
def demo(
    size: Annotated[int, typer.Option(min=64, max=2048, help="Voxels along x and y; z has a quarter of them.")] = 512,
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", callback=local, help="Folder for the dataset; replaced if an earlier demo made it."
        ),
    ] = Path("demo-output"),
    device: DeviceOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Which tissue to make.")] = 0,
) -> None:
    """Generate synthetic tissue; write, read, merge, compress and downsample it; compare, and show how fast it was."""
    from wkgpu.cli.demo import run_demo

    if not run_demo(size, out, device, seed, output()):
        raise typer.Exit(1)


@app.command()
@reports_errors
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    device: DeviceOption = None,
) -> None:
    """Look for all that wkgpu and its GPU engine need, try each step, and say what is missing.

    If the device does not work, the exit code is 1; on a machine without a GPU, "auto" needs only the CPU.
    """
    from wkgpu.cli.doctor import show_report

    if not show_report(device, as_json, output()):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # where "³" has no encoding, "?" is better than a traceback
    app()
