"""`wkgpu read`: a box of voxels into a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import disk_usage

from rich.console import Console
from rich.markup import escape

from wkgpu import BoundingBox
from wkgpu.cli.boxes import check_alignment, format_box, middle_slice
from wkgpu.cli.console import format_bytes, format_shape
from wkgpu.cli.excerpt import Excerpt
from wkgpu.cli.export import check_output, write_excerpt
from wkgpu.cli.further_axes import check_coordinates
from wkgpu.cli.path_content import find_mag
from wkgpu.errors import TooLargeError


def read_to_file(
    path: Path, names: Sequence[str], box: BoundingBox, at: Mapping[str, int], out: Path, force: bool,
    device: str | None, console: Console,
) -> None:  # fmt: skip
    """Read a box and write it to a file, and say what was written.

    Parameters
    ----------
    path, names, device
        Where the mag is; see `path_content.find_mag`.
    box : BoundingBox
        In Mag(1).
    at : mapping of str to int
        Coordinates along further axes.
    out : Path
        Ends with one of `export.WRITERS`.
    force : bool
        Whether the file may exist and is replaced.
    """
    check_output(out, force)
    found = find_mag(path, names, device)
    mag_view = found.mag_view
    check_coordinates(mag_view.bounding_box, at)
    check_alignment(box, mag_view.mag)
    if out.suffix.lower() == ".png" and box.size.z > mag_view.mag.z:
        box = middle_slice(box, mag_view.mag)
        console.print(f"A picture shows one slice: the middle one, z = {box.topleft.z} in Mag(1).")
    excerpt = Excerpt(mag_view, box, found.category, found.voxel_size, at)
    _check_room(excerpt, out)
    try:
        description = write_excerpt(excerpt, out, force)
    except TooLargeError as error:
        raise TooLargeError(
            f"--box {format_box(box)} is too large for {out.suffix}: memory has no room for one slice of it. Give a "
            "smaller --box."
        ) from error
    shape = format_shape(excerpt.shape[1:])
    console.print(f"[green]{escape(str(out))}[/]: {shape} voxels, {format_bytes(out.stat().st_size)}, {description}")
    if found.is_guessed and out.suffix.lower() == ".png":
        console.print(f"Taken for {_NOUNS[found.category]}, because the voxels are {excerpt.dtype.name}.", style="dim")
    if not BoundingBox.from_ndbbox(mag_view.bounding_box).intersected_with(box, dont_assert=True).volume():
        console.print(f"The box lies outside of the data, {mag_view.bounding_box}: all voxels are 0.", style="yellow")


def _check_room(excerpt: Excerpt, out: Path) -> None:
    """Compare the voxels with the room on the disk; pictures are compressed, and have one slice."""
    if out.suffix.lower() == ".png" or not out.parent.is_dir():
        return
    free = disk_usage(out.parent).free
    if excerpt.nbytes > free:
        raise TooLargeError(
            f"--box {format_box(excerpt.box)} has {format_bytes(excerpt.nbytes)} of voxels, and the disk of {out} has "
            f"{format_bytes(free)} free. Give a smaller --box, or another --out."
        )


_NOUNS = {"color": "an image", "segmentation": "a segmentation"}
