"""A box of voxels that becomes a file, and is read as it is written, so that it may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wkgpu import BoundingBox, LayerCategoryType, MagView, get_engine

EXCERPT_BYTES = 128 << 20  # of voxels that are held at a time


class ExcerptPart(NamedTuple):
    """A part of the box of an excerpt.

    Attributes
    ----------
    y, z : int
        Its first voxel, from the first one of the box; along x it has all.
    voxels : array (channel, x, y, z)
        NumPy, in Fortran order.
    """

    y: int
    z: int
    voxels: NDArray[Any]


@dataclass(frozen=True)
class Excerpt:
    """Voxels of a box, and what a file may say about them.

    Attributes
    ----------
    box : BoundingBox
        In Mag(1), aligned with the mag.
    category : {"color", "segmentation"}
        Whether they are an image or ids.
    voxel_size : tuple of float or None
        Nanometers along x, y and z, if they are known.
    at : mapping of str to int
        The coordinate along each further axis with several.
    """

    mag_view: MagView
    box: BoundingBox
    category: LayerCategoryType
    voxel_size: tuple[float, float, float] | None = None
    at: Mapping[str, int] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(channel, x, y, z)`` voxels."""
        x, y, z = self.box.in_mag(self.mag_view.mag).size
        return self.mag_view.num_channels, x, y, z

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of one channel."""
        return self.mag_view.get_dtype()

    @property
    def nbytes(self) -> int:
        """Bytes of all voxels."""
        return prod(self.shape) * self.dtype.itemsize

    def read(self) -> NDArray[Any]:
        """Read all voxels at once, as an array ``(channel, x, y, z)``."""
        _, _, y, z = self.shape
        return self._read((0, y), (0, z))

    def parts(self, whole_slices: bool = False) -> Iterator[ExcerptPart]:
        """Read the voxels part by part, ascending by z, y, and cut between chunks where these are not too large.

        Parameters
        ----------
        whole_slices : bool
            Whether a part has all voxels along y, however many these are.
        """
        channels, x, y, z = self.shape
        row = channels * x * self.dtype.itemsize
        _, top, front = self.box.in_mag(self.mag_view.mag).topleft
        _, height, depth = self.mag_view.info.chunk_shape
        thickness, rows = _length(EXCERPT_BYTES // (row * y), depth), y
        if whole_slices:
            thickness = min(thickness, max(EXCERPT_BYTES // (row * y), 1))
        elif row * y * depth > EXCERPT_BYTES:
            rows = _length(EXCERPT_BYTES // (row * depth), height, 1)
        for first_z, last_z in _cut(front, z, thickness):
            for first_y, last_y in _cut(top, y, rows):
                yield ExcerptPart(first_y, first_z, self._read((first_y, last_y), (first_z, last_z)))

    def _read(self, y: tuple[int, int], z: tuple[int, int]) -> NDArray[Any]:
        mag = self.mag_view.mag
        corner, size = self.box.topleft, self.box.size
        box = self.mag_view.bounding_box.with_topleft_xyz(
            (corner.x, corner.y + y[0] * mag.y, corner.z + z[0] * mag.z)
        ).with_size_xyz((size.x, (y[1] - y[0]) * mag.y, (z[1] - z[0]) * mag.z))
        for axis, coordinate in self.at.items():
            box = box.with_bounds(axis, coordinate, 1)
        voxels: NDArray[Any] = get_engine("cpu").asarray(self.mag_view.read_cxyz(absolute_bounding_box=box))
        return voxels


def _length(max_length: int, of_chunk: int, min_length: int | None = None) -> int:
    """Return the largest multiple of a chunk's length up to a maximum; else one chunk, or the shortest allowed length.

    Examples
    --------
    >>> _length(100, 32), _length(10, 32), _length(10, 32, 1)
    (96, 32, 10)
    """
    if max_length >= of_chunk:
        return max_length // of_chunk * of_chunk
    return of_chunk if min_length is None else max(max_length, min_length)


def _cut(begin: int, length: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield the spans of a length that begins at a voxel; what is longer than a step is cut at multiples of it.

    Examples
    --------
    >>> list(_cut(5, 9, 4))
    [(0, 3), (3, 7), (7, 9)]
    """
    at = 0
    while at < length:
        end = length if length <= step else min((begin + at) // step * step + step - begin, length)
        yield at, end
        at = end
