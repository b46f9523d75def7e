"""`wkgpu demo`: the main job on synthetic tissue."""

from __future__ import annotations

import os
import shutil
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from wkgpu import BoundingBox, Dataset, MagView, config, get_engine, has_gpu
from wkgpu.cli.boxes import format_box
from wkgpu.cli.compiling import shows_compiling
from wkgpu.cli.console import format_bytes, format_ratio, format_shape, new_table, print_error
from wkgpu.cli.demo_folder import (
    LAYERS,
    PICTURE_NAME,
    ZARR_LAYERS,
    check_demo_folder,
    clear_demo_folder,
    mark_demo_folder,
    note_demo_folder,
)
from wkgpu.cli.disk import disk_use
from wkgpu.cli.panels import save_panels
from wkgpu.cli.processing import Processing
from wkgpu.cli.trial import PATCH_EDGE, DifferenceError, Measurement, Trial
from wkgpu.errors import UnsupportedError
from wkgpu.extras import own_version
from wkgpu.synthetic import Tissue

_SHARD_EDGE = 128  # several shards, and none that is mostly empty: the default of 1024 is for larger volumes
_DTYPES: dict[str, np.dtype[Any]] = {"image": np.dtype(np.uint8), "segmentation": np.dtype(np.uint32)}
_LAYERS = [(name, in_zarr) for in_zarr in (False, True) for name in LAYERS]  # all steps are done in WKW alone
_KERNEL_COUNT = 9  # that the demo runs on the CPU, all of which its steps need
_NUMERIC_COLUMNS = ("Decoded", "ms", "GB/s", "Patches/s")


def run_demo(size: int, folder: Path, device: str | None, seed: int, console: Console) -> bool:
    """Make a dataset, write, read and change it, compare, and say how fast that was.

    Parameters
    ----------
    size : int
        Voxels along x and y; z has a quarter of them, or `trial.PATCH_EDGE` if that is more.
    folder : Path
        Of the dataset. What an earlier demo left there is replaced.
    device : str, optional
        Where to read to; without it, that of WKGPU_DEVICE, or a GPU where there is one.
    seed : int
        Which tissue, and where the patches lie.

    Returns
    -------
    bool
        Whether everything that was read is what was written, and all changes are right.

    Raises
    ------
    AlreadyExistsError
        If the folder holds something that no demo made.
    DeviceError
        If the device cannot be used.
    """
    check_demo_folder(folder)
    if device is None and "WKGPU_DEVICE" not in os.environ and has_gpu():
        device = "auto"  # there is something to see
    _start_engine(device, console)
    tissue, volumes = _make_volumes(size, seed, console)
    clear_demo_folder(folder)
    dataset = Dataset(folder, voxel_size=tissue.voxel_size, name="wkgpu demo", device=device)
    mark_demo_folder(folder)

    table = new_table("Step", "Layer", "Decoded", "ms", "GB/s", "Patches/s", numbers=_NUMERIC_COLUMNS)
    mags = {}
    for volume, in_zarr in _LAYERS:
        name = ZARR_LAYERS[volume] if in_zarr else volume
        mags[name] = _add_mag(dataset, volume, in_zarr)
        steps = _steps(mags[name], volumes[volume], seed)
        try:
            _measure(name, steps, table, console)
        except DifferenceError as difference:
            print_error(f"layer {name!r} of {folder}: {difference}. This is a bug in wkgpu.")
            return False
    for segmentation in dataset.get_segmentation_layers():
        segmentation.largest_segment_id = tissue.largest_segment_id
    console.print(table)
    _print_notes(mags, console)
    x, y, z = tissue.shape
    middle = BoundingBox((0, 0, z // 2), (x, y, 1))
    _save_picture(mags, middle, tissue.voxel_size[0], folder / PICTURE_NAME, console)
    note_demo_folder(folder)
    _print_next_steps(folder, middle, console)
    return True


def _start_engine(device: str | None, console: Console) -> None:
    """Load the engine and do each step with a few voxels, because kernels may have to be compiled."""
    waiting = "Starting the engine. The first run on a machine compiles its kernels, which takes up to a minute ..."
    with _timed(waiting, console) as elapsed, shows_compiling(_KERNEL_COUNT):
        engine = get_engine(device)
        with TemporaryDirectory(prefix="wkgpu-demo-") as scratch:
            dataset = Dataset(Path(scratch) / "warm-up", voxel_size=(1, 1, 1), device=device)
            for name, in_zarr in _LAYERS:
                voxels = np.ones((PATCH_EDGE + 1,) * 3, _DTYPES[name], order="F")
                mag_view = _add_mag(dataset, name, in_zarr)
                with suppress(DifferenceError):  # it will be found again, and reported
                    deque(_steps(mag_view, voxels, 0), maxlen=0)
    console.print(
        f"[bold]wkgpu {own_version()}[/] on engine [bold cyan]{engine.name}[/], {config.threads} threads; "
        f"its kernels were ready after {elapsed[0]:.1f} s"
    )


def _make_volumes(size: int, seed: int, console: Console) -> tuple[Tissue, dict[str, NDArray[Any]]]:
    """Make the image and the segmentation, with a progress bar."""
    begin = perf_counter()
    tissue = Tissue((size, size, max(size // 4, PATCH_EDGE)), seed)
    shown = format_shape(tissue.shape)
    volumes: dict[str, NDArray[Any]] = {
        name: np.empty(tissue.shape, dtype, order="F") for name, dtype in _DTYPES.items()
    }
    columns = TextColumn("{task.description}"), BarColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"Making up {shown} voxels of tissue", total=tissue.shape[2])
        for first, image, segmentation in tissue.sections():
            last = first + image.shape[2]
            volumes["image"][:, :, first:last] = image
            volumes["segmentation"][:, :, first:last] = segmentation
            progress.update(task, completed=last)
    console.print(f"Made up {shown} voxels of tissue in {perf_counter() - begin:.1f} s\n")
    return tissue, volumes


def _add_mag(dataset: Dataset, name: str, in_zarr: bool) -> MagView:
    layer = dataset.add_layer(
        ZARR_LAYERS[name] if in_zarr else name, LAYERS[name], dtype=_DTYPES[name],
        data_format="zarr3" if in_zarr else "wkw",
    )  # fmt: skip
    return layer.add_mag(1, shard_shape=_SHARD_EDGE)


def _steps(mag_view: MagView, voxels: NDArray[Any], seed: int) -> Iterator[Measurement]:
    """Do all that the demo does with a layer. The voxels are changed as the layer is."""
    yield from Trial(mag_view, voxels, seed).measurements()
    if mag_view.data_format == "wkw":
        yield from Processing(mag_view, voxels, _SHARD_EDGE).measurements()


def _measure(name: str, steps: Iterator[Measurement], table: Table, console: Console) -> None:
    """Add the measurements of a layer to the table."""
    with console.status(f"Working on the {name} ..."):
        for position, measurement in enumerate(steps):
            table.add_row(measurement.step, "" if position and console.is_terminal else name, *_table_row(measurement))
    table.add_section()


def _table_row(measurement: Measurement) -> tuple[str, ...]:
    _step, nbytes, seconds, patches = measurement
    rate = f"{patches / seconds:,.0f}" if patches else ""
    return format_bytes(nbytes), f"{1000 * seconds:,.1f}", f"{nbytes / seconds / 1e9:.2f}", rate


def _print_notes(mags: dict[str, MagView], console: Console) -> None:
    console.print("\n[green]All that was read equals what was written, and what was made of it is what NumPy makes.[/]")
    for name, mag_view in mags.items():
        use = disk_use(mag_view)
        files = "1 shard file" if use.shard_files == 1 else f"{use.shard_files} shard files"
        console.print(
            f"{name}: {format_bytes(use.decoded_bytes)} of voxels take {format_bytes(use.bytes_on_disk)} in "
            f"{files}, {mag_view.info.codec.upper()}, ratio {format_ratio(use.ratio)}"
        )
    console.print(
        "Speeds count decoded bytes, 1 GB = 10⁹ bytes. Files that were just written are read from the page cache.",
        style="dim",
    )


def _save_picture(mags: dict[str, MagView], box: BoundingBox, nanometers: float, path: Path, console: Console) -> None:
    """Read a slice of both layers from the dataset and save it."""
    slices = {
        name: get_engine("cpu").asarray(mag_view.read(absolute_bounding_box=box))[0, :, :, 0]
        for name, mag_view in mags.items()
    }
    try:
        save_panels(slices["image"], slices["segmentation"], nanometers, path)
    except UnsupportedError as error:
        console.print(f"\n[yellow]No picture:[/] {escape(str(error))}")
    else:
        console.print(f"\nSlice {box.topleft.z} of both layers: [bold]{escape(str(path))}[/]")


def _print_next_steps(folder: Path, box: BoundingBox, console: Console) -> None:
    command, name = escape(_own_command()), escape(str(folder))
    console.print("Next:")
    console.print(f"  [cyan]{command} info {name}[/]")
    console.print(f"  [cyan]{command} read {name} segmentation 1 --box {format_box(box)} --out slice.png[/]")


def _own_command() -> str:
    """How this command was called, because after `make demo` it is not on the path."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "wkgpu" and shutil.which("wkgpu") is None else "wkgpu"


@contextmanager
def _timed(waiting: str, console: Console) -> Iterator[list[float]]:
    """Print a line, and yield a list that receives the seconds."""
    begin = perf_counter()
    elapsed: list[float] = []
    console.print(waiting)
    yield elapsed
    elapsed.append(perf_counter() - begin)
