"""Which cell a voxel belongs to: a Voronoi diagram of elongated cells, seen through a smooth warp of space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from wkgpu.synthetic.cells import Cells, Extent
from wkgpu.synthetic.waves import Floats, Waves

ANISOTROPY = 2.5
"""A slice is as thick as this many of its pixels are wide."""

DEPTH_STEPS = 16
"""Steps of `Sections.depth` for one pixel."""

_TILE = (16, 32, 32)  # voxels (z, y, x) whose cells are told apart at once
_STRIDE = (2, 4, 4)  # voxels between the points where distances are computed; in between they are interpolated
_LATTICE = tuple(tile // stride + 1 for tile, stride in zip(_TILE, _STRIDE, strict=True))
_MARGIN = 10.0  # a cell that is this much farther away than the nearest one leaves no trace in a voxel
_UNITS = 32  # fixed-point steps of a packed distance for one pixel
_INDEX_BITS = 6  # low bits of a packed distance: the number of the cell among those of the tile
_FAR = 31.0  # larger distances are cut, so that a packed one fits 16 bits

SECTIONS = _TILE[0]
"""Slices that are made at once."""


class Sections(NamedTuple):
    """A few neighbouring slices of the partition, arrays in the order (z, y, x).

    Attributes
    ----------
    cell
        Index of the cell that a voxel belongs to, uint32.
    depth
        Distance to the surface of this cell in steps of 1 / `DEPTH_STEPS` pixels, uint8. The surface itself is at
        `DEPTH_STEPS`; what is less lies between the cells.
    """

    cell: NDArray[np.uint32]
    depth: NDArray[np.uint8]


@dataclass(frozen=True)
class Partition:
    """Cells, and the warp through which they are seen.

    Attributes
    ----------
    cells
        The cells.
    warps
        Displacements of a point in pixels, three components each; they add up.
    clefts
        How far apart neighbouring cells are, in pixels; where it is negative they touch.
    """

    cells: Cells
    warps: tuple[Waves, ...]
    clefts: Waves

    @classmethod
    def scatter(cls, random: np.random.Generator, extent: Extent) -> Self:
        """Fill a box of `extent` pixels (z, y, x)."""
        warps = (Waves.scatter(random, (90, 260), 16.0, 3), Waves.scatter(random, (26, 60), 2.0, 3))
        return cls(Cells.scatter(random, extent), warps, Waves.scatter(random, (50, 200), 1.6))

    def warp(self, points: Floats) -> Floats:
        """Displace points, pixels, shape (n, 3)."""
        displaced = points.copy()
        for warp in self.warps:
            displaced += warp.at(points)
        return displaced

    def owners(self, points: Floats) -> NDArray[np.intp]:
        """Say which cells the points (pixels, shape (n, 3)) lie in; indices, shape (n,)."""
        batches = np.array_split(self.warp(points), len(points) // 256 + 1)  # bounds the table of distances
        return np.concatenate([self.cells.distances(batch).argmin(axis=0) for batch in batches])

    def sections(self, first: int, height: int, width: int) -> Sections:
        """Make the slices `first` to `first + SECTIONS` of height * width voxels."""
        rows, columns = -(-height // _TILE[1]), -(-width // _TILE[2])
        cell = np.empty((SECTIONS, rows * _TILE[1], columns * _TILE[2]), np.uint32)
        depth = np.empty(cell.shape, np.uint8)
        for row in range(rows):
            band = slice(row * _TILE[1], (row + 1) * _TILE[1])
            self._fill_band(Sections(cell[:, band], depth[:, band]), first, band.start)
        return Sections(cell[:, :height, :width], depth[:, :height, :width])

    def _fill_band(self, band: Sections, first: int, top: int) -> None:
        """Fill one row of tiles, whose upper left voxel is (first, top, 0)."""
        columns = band.cell.shape[2] // _TILE[2]
        points, clefts = self._lattice(first, top, columns)
        windows = [slice(c * (_LATTICE[2] - 1), (c + 1) * (_LATTICE[2] - 1) + 1) for c in range(columns)]
        tiles = [points[..., window].reshape(3, -1).T for window in windows]
        middles = np.stack([tile.mean(axis=0) for tile in tiles])
        for number, distances in enumerate(self.cells.distances(middles).T):
            # No distance changes faster than the point moves, so that most cells are out of reach.
            reach = 2 * np.linalg.norm(tiles[number] - middles[number], axis=1).max() + _MARGIN + 1
            within = np.flatnonzero(distances <= distances.min() + reach)
            there = slice(number * _TILE[2], (number + 1) * _TILE[2])
            tile = self._tile(tiles[number], clefts[..., windows[number]], within)
            band.cell[..., there], band.depth[..., there] = tile

    def _lattice(self, first: int, top: int, columns: int) -> tuple[Floats, Floats]:
        """Warped points (3, z, y, x) on the lattice of a row of tiles, and the clefts there (z, y, x)."""
        z = (first + np.arange(_LATTICE[0], dtype=np.float32) * _STRIDE[0]) * ANISOTROPY
        y = top + np.arange(_LATTICE[1], dtype=np.float32) * _STRIDE[1]
        x = np.arange(columns * (_LATTICE[2] - 1) + 1, dtype=np.float32) * _STRIDE[2]
        points = np.stack(np.meshgrid(z, y, x, indexing="ij"))
        for warp in self.warps:
            points += warp.on_lattice(z, y, x)
        return points, np.clip(self.clefts.on_lattice(z, y, x)[0] - 1.0, 0.0, 4.0)

    def _tile(self, points: Floats, clefts: Floats, within: NDArray[np.intp]) -> Sections:
        """Tell the cells `within` reach apart, given warped points (n, 3) and clefts on the lattice of a tile."""
        near, distances = self._nearest(points, within)
        if len(near) == 1:
            return Sections(np.full(_TILE, near[0]), np.full(_TILE, 255, np.uint8))
        fine = _interpolate(np.concatenate([distances, clefts.reshape(1, -1)]))
        # One number holds a distance and whose it is, so that the smallest one says both.
        packed = (fine[:-1] * np.float32(_UNITS)).astype(np.uint16) << _INDEX_BITS
        packed |= np.arange(len(near), dtype=np.uint16)[:, None, None, None]
        first, second = np.minimum(packed[0], packed[1]), np.maximum(packed[0], packed[1])
        for other in packed[2:]:
            np.minimum(second, np.maximum(first, other), out=second)
            np.minimum(first, other, out=first)
        # On the border two distances are equal; one pixel off it they differ by two.
        gap = (second - first).astype(np.float32) * np.float32(1 / (_UNITS << _INDEX_BITS)) - fine[-1]
        depth = np.clip(gap * np.float32(DEPTH_STEPS / 2) + DEPTH_STEPS, 0, 255).astype(np.uint8)
        return Sections(near.take(first & ((1 << _INDEX_BITS) - 1)), depth)

    def _nearest(self, points: Floats, within: NDArray[np.intp]) -> tuple[NDArray[np.uint32], Floats]:
        """Cells that matter among the points (n, 3), and how much farther than the nearest each is; (cells, n)."""
        distances = self.cells.distances(points, within)
        distances -= distances.min(axis=0)
        closest = distances.min(axis=1)
        count = min(np.count_nonzero(closest < _MARGIN), 1 << _INDEX_BITS)
        order = np.argsort(closest, kind="stable")[:count]
        return within[order].astype(np.uint32), np.minimum(distances[order], _FAR)


def _interpolation(axis: int) -> Floats:
    """Weights of the lattice points in every voxel along an axis; shape (voxels, points)."""
    at = np.arange(_TILE[axis]) / _STRIDE[axis]
    weights: Floats = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(_LATTICE[axis]))).astype(np.float32)
    return weights


_WEIGHTS = tuple(_interpolation(axis) for axis in range(3))


def _interpolate(fields: Floats) -> Floats:
    """Carry fields (n, points of the lattice) to the voxels of a tile, linearly; shape (n, z, y, x)."""
    planes = _WEIGHTS[1] @ (fields.reshape(-1, *_LATTICE) @ _WEIGHTS[2].T)
    volumes: Floats = _WEIGHTS[0] @ planes.reshape(len(fields), _LATTICE[0], -1)
    return volumes.reshape(-1, *_TILE)
