"""Files that hold voxels for other programs: .npy, .tif and .png."""

from __future__ import annotations

import errno
import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from wkgpu import COLOR_CATEGORY
from wkgpu.cli.excerpt import Excerpt
from wkgpu.cli.pictures import picture
from wkgpu.errors import AlreadyExistsError, UnsupportedError
from wkgpu.extras import install_command
from wkgpu.storage.stores.local.local_store import LocalStore

_IMAGEJ_TYPES = frozenset({"uint8", "uint16", "float32"})
_CLASSIC_TIFF_BYTES = 2**32 - 2**25  # larger files need BigTIFF, which ImageJ's own stacks are not


def write_npy(excerpt: Excerpt, file: BinaryIO) -> str:
    """Write the array as it is, in Fortran order."""
    channels, x, y, _ = excerpt.shape
    row = channels * x * excerpt.dtype.itemsize
    header = {"descr": excerpt.dtype.str, "fortran_order": True, "shape": excerpt.shape}
    np.lib.format.write_array_header_1_0(file, header)
    begin = file.tell()
    for part in excerpt.parts():
        whole = part.voxels.shape[2] == y
        for number, rows in enumerate([part.voxels.T] if whole else part.voxels.T):
            file.seek(begin + ((part.z + number) * y + part.y) * row)
            file.write(np.ascontiguousarray(rows).data)
    return f"NumPy array (channel, x, y, z), {excerpt.dtype.name}"


def write_tif(excerpt: Excerpt, file: BinaryIO) -> str:
    """Write a stack with a page for each slice and channel, for ImageJ where it knows the dtype."""
    tifffile = _library("tifffile", "tifffile")
    channels, x, y, z = excerpt.shape
    axes = "ZYX" if channels == 1 else "ZCYX"
    if channels == 3 and excerpt.dtype == np.uint8 and excerpt.category == COLOR_CATEGORY:
        axes = "ZYXS"
    lengths = {"Z": z, "C": channels, "Y": y, "X": x, "S": channels}
    for_imagej = excerpt.dtype.name in _IMAGEJ_TYPES and excerpt.nbytes < _CLASSIC_TIFF_BYTES
    metadata: dict[str, Any] = {"axes": axes}
    arguments: dict[str, Any] = {}
    if excerpt.voxel_size is not None:
        width, height, depth = excerpt.voxel_size
        arguments["resolution"] = 1000 / width, 1000 / height  # pixels in a micrometer
        metadata |= {"spacing": depth / 1000, "unit": "um"}
    tifffile.imwrite(
        file,
        _pages(excerpt, axes),
        shape=tuple(lengths[axis] for axis in axes),
        dtype=excerpt.dtype,
        imagej=for_imagej,
        photometric="rgb" if axes == "ZYXS" else "minisblack",
        metadata=metadata,
        **arguments,
    )
    kind = "ImageJ stack" if for_imagej else "plain TIFF stack"
    return f"{kind} of {z} slices, {excerpt.dtype.name}"


def _pages(excerpt: Excerpt, axes: str) -> Iterator[NDArray[Any]]:
    """Yield the pages of a stack, ``(y, x)`` or ``(y, x, channel)``."""
    for part in excerpt.parts(whole_slices=True):
        for voxels in part.voxels.T:  # (y, x, channel)
            pages = [voxels] if axes == "ZYXS" else voxels.transpose(2, 0, 1)
            yield from map(np.ascontiguousarray, pages)


def write_png(excerpt: Excerpt, file: BinaryIO) -> str:
    """Draw the first slice."""
    images = _library("PIL.Image", "pillow")
    drawn = picture(excerpt.read()[..., 0], excerpt.category)
    images.fromarray(drawn.pixels).save(file, format="PNG")
    return f"picture: {drawn.caption}"


WRITERS: dict[str, Callable[[Excerpt, BinaryIO], str]] = {
    ".npy": write_npy,
    ".tif": write_tif,
    ".tiff": write_tif,
    ".png": write_png,
}
"""What writes a file, by the end of its name; each returns a line for the console."""


def check_output(path: Path, force: bool) -> None:
    """Raise before anything is read if the output exists and must not be replaced."""
    if path.exists() and not force:
        raise AlreadyExistsError(f"{path} exists; use --force to replace it, or another --out.")
    if path.suffix.lower() == ".png":
        _library("PIL.Image", "pillow")
    elif path.suffix.lower() in (".tif", ".tiff"):
        _library("tifffile", "tifffile")


def write_excerpt(excerpt: Excerpt, path: Path, force: bool) -> str:
    """Write a file of the kind that its name says, and return what it is; a failure leaves what was there before."""
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    real = Path(os.path.realpath(path))
    with LocalStore(real.parent).new_file(real.name, durable=False) as new:
        try:
            # By the name that it will have, which tifffile asks for.
            with open(path, "wb", opener=lambda *_: os.dup(new.descriptor)) as file:
                line = WRITERS[path.suffix.lower()](excerpt, file)
        except OSError as error:
            error.filename = error.filename or str(path)
            raise
        check_output(path, force)  # another process may have made it in the meantime
    return line


def _library(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UnsupportedError(
            f"This kind of file needs {package}, which is not installed; run: {install_command('image')}"
        ) from error
