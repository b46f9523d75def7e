"""Files that hold voxels for other programs: .npy, .tif and .png."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from wkgpu import COLOR_CATEGORY, LayerCategoryType
from wkgpu.cli.pictures import picture
from wkgpu.errors import AlreadyExistsError, UnsupportedError
from wkgpu.extras import install_command

_IMAGEJ_TYPES = frozenset({"uint8", "uint16", "float32"})
_CLASSIC_TIFF_BYTES = 2**32 - 2**25  # larger files need BigTIFF, which ImageJ's own stacks are not


@dataclass(frozen=True)
class Excerpt:
    """Voxels of a box, and what a file may say about them.

    Attributes
    ----------
    voxels : array (channel, x, y, z)
        NumPy.
    category : {"color", "segmentation"}
        Whether they are an image or ids.
    voxel_size : tuple of float or None
        Nanometers along x, y and z, if they are known.
    """

    voxels: NDArray[Any]
    category: LayerCategoryType
    voxel_size: tuple[float, float, float] | None = None


def write_npy(excerpt: Excerpt, file: BinaryIO) -> str:
    """Write the array as it is."""
    np.save(file, excerpt.voxels)
    return f"NumPy array (channel, x, y, z), {excerpt.voxels.dtype.name}"


def write_tif(excerpt: Excerpt, file: BinaryIO) -> str:
    """Write a stack with a page for each slice and channel, for ImageJ where it knows the dtype."""
    tifffile = _library("tifffile", "tifffile")
    voxels = excerpt.voxels
    if len(voxels) == 1:
        axes, stack = "ZYX", voxels[0].T
    elif len(voxels) == 3 and voxels.dtype == np.uint8 and excerpt.category == COLOR_CATEGORY:
        axes, stack = "ZYXS", voxels.transpose(3, 2, 1, 0)
    else:
        axes, stack = "ZCYX", voxels.transpose(3, 0, 2, 1)
    for_imagej = voxels.dtype.name in _IMAGEJ_TYPES and voxels.nbytes < _CLASSIC_TIFF_BYTES
    metadata: dict[str, Any] = {"axes": axes}
    arguments: dict[str, Any] = {}
    if excerpt.voxel_size is not None:
        x, y, z = excerpt.voxel_size
        arguments["resolution"] = 1000 / x, 1000 / y  # pixels in a micrometer
        metadata |= {"spacing": z / 1000, "unit": "um"}
    tifffile.imwrite(
        file,
        np.ascontiguousarray(stack),
        imagej=for_imagej,
        photometric="rgb" if axes == "ZYXS" else "minisblack",
        metadata=metadata,
        **arguments,
    )
    kind = "ImageJ stack" if for_imagej else "plain TIFF stack"
    return f"{kind} of {voxels.shape[3]} slices, {voxels.dtype.name}"


def write_png(excerpt: Excerpt, file: BinaryIO) -> str:
    """Draw the first slice."""
    images = _library("PIL.Image", "pillow")
    drawn = picture(excerpt.voxels[..., 0], excerpt.category)
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
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            line = WRITERS[path.suffix.lower()](excerpt, file)
        check_output(path, force)  # somebody may have made it in the meantime
        partial.replace(path)
    except OSError as error:
        error.filename = str(path) if error.filename == str(partial) else error.filename
        raise
    finally:
        partial.unlink(missing_ok=True)
    return line


def _library(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UnsupportedError(
            f"This kind of file needs {package}, which is not installed; run: {install_command('image')}"
        ) from error
