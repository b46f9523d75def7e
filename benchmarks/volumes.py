"""What is read and written: voxels as microscopes and segmentations deliver them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wkgpu.synthetic import Tissue

Shape = tuple[int, int, int]

_KEYFRAME_DISTANCE = 8  # slices from one tile to the next; in between they are blended


def tiles_folder() -> Path | None:
    """Find real micrographs: {section}/{row}/{column}.jpg in $WKGPU_EM_TILES or beside the repository, if any."""
    named = os.environ.get("WKGPU_EM_TILES")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data" / "temca2"
    if any(folder.glob("*/*/*.jpg")):
        return folder
    if named:
        raise FileNotFoundError(f"WKGPU_EM_TILES is {named}, where no tile {{section}}/{{row}}/{{column}}.jpg lies")
    return None


def texture() -> str:
    """Say what `em_volume` is made of: "tiles" of real micrographs, or "synthetic" tissue."""
    return "synthetic" if tiles_folder() is None else "tiles"


def em_volume(shape: Shape, seed: int = 0) -> NDArray[np.uint8]:
    """Make an electron micrograph of any shape, from real tiles where there are some.

    Returns
    -------
    Grey levels, uint8, shape (x, y, z), Fortran order.
    """
    folder = tiles_folder()
    return Tissue(shape, seed).image() if folder is None else _tiled_volume(folder, shape, seed)


def segmentation_volume(shape: Shape, seed: int = 0) -> NDArray[np.uint32]:
    """Make a segmentation of any shape; uint32, shape (x, y, z), Fortran order."""
    return Tissue(shape, seed).segmentation()


def _tiled_volume(folder: Path, shape: Shape, seed: int) -> NDArray[np.uint8]:
    """Stack real tiles, mirrored and shifted, and blend from one to the next.

    Two copies of one tile in a stack would compress like nothing that a microscope delivers. A blend does not: its
    noise is new in every slice.
    """
    tiles = [_load(path) for path in sorted(folder.glob("*/*/*.jpg"))]
    mean = np.float32(np.mean([tile.mean() for tile in tiles]))
    random = np.random.default_rng(seed)
    keyframes = shape[2] // _KEYFRAME_DISTANCE + 2
    offsets = random.integers(0, 2 * min(tiles[0].shape), (keyframes, 2))

    def keyframe(number: int) -> NDArray[np.float32]:
        tile = tiles[number % len(tiles)]
        x, y = (_mirrored(*window) for window in zip(offsets[number], shape[:2], tile.shape, strict=True))
        centred: NDArray[np.float32] = tile[np.ix_(x, y)].T - tile.mean()
        return centred

    volume = np.empty(shape, np.uint8, order="F")
    for number in range(keyframes - 1):
        before, after = keyframe(number), keyframe(number + 1)
        first = number * _KEYFRAME_DISTANCE
        for z in range(first, min(first + _KEYFRAME_DISTANCE, shape[2])):
            angle = (z - first) / _KEYFRAME_DISTANCE * np.pi / 2  # sine and cosine, so that the contrast stays
            blend = np.float32(np.cos(angle)) * before + np.float32(np.sin(angle)) * after
            volume[:, :, z] = np.clip(blend + mean, 0, 255).T
    return volume


def _load(path: Path) -> NDArray[np.float32]:
    """Read a tile; shape (x, y)."""
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("L"), np.float32).T


def _mirrored(offset: int, length: int, period: int) -> NDArray[np.intp]:
    """Indices of a window of any length into an axis that is continued by its own mirror image at both ends."""
    at = (offset + np.arange(length)) % (2 * period)
    return np.minimum(at, 2 * period - 1 - at)
