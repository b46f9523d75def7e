"""`wkgpu read`: a box of voxels into a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from wkgpu import BoundingBox, get_engine
from wkgpu.cli.boxes import check_alignment, middle_slice
from wkgpu.cli.console import format_bytes, format_shape
from wkgpu.cli.export import Excerpt, check_output, write_excerpt
from wkgpu.cli.source import find_mag


def read_to_file(
    path: Path, names: Sequence[str], box: BoundingBox, out: Path, force: bool, device: str | None, console: Console
) -> None:
    """Read a box and write it to a file, and say what was written.

    Parameters
    ----------
    path, names, device
        Where the mag is; see `source.find_mag`.
    box : BoundingBox
        In Mag(1).
    out : Path
        Ends with one of `export.WRITERS`.
    force : bool
        Whether the file may exist and is replaced.
    """
    check_output(out, force)
    found = find_mag(path, names, device)
    mag_view = found.mag_view
    check_alignment(box, mag_view.mag)
    if out.suffix.lower() == ".png" and box.size.z > mag_view.mag.z:
        box = middle_slice(box, mag_view.mag)
        console.print(f"A picture shows one slice: the middle one, z = {box.topleft.z} in Mag(1).")
    voxels = get_engine("cpu").asarray(mag_view.read(absolute_bounding_box=box))
    description = write_excerpt(Excerpt(voxels, found.category, found.voxel_size), out, force)
    shape = format_shape(voxels.shape[1:])
    console.print(f"[green]{escape(str(out))}[/]: {shape} voxels, {format_bytes(out.stat().st_size)}, {description}")
    if found.is_guessed and out.suffix.lower() == ".png":
        console.print(f"Taken for {_KINDS[found.category]}, because the voxels are {voxels.dtype.name}.", style="dim")
    if not mag_view.bounding_box.intersected_with(box, dont_assert=True).volume():
        console.print(f"The box lies outside of the data, {mag_view.bounding_box}: all voxels are 0.", style="yellow")


_KINDS = {"color": "an image", "segmentation": "a segmentation"}
