"""What floats inside the cells: nuclei, mitochondria, lysosomes and vesicles, all of them ellipsoids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wkgpu.synthetic.cells import Extent
from wkgpu.synthetic.partition import ANISOTROPY, Partition, Sections
from wkgpu.synthetic.waves import Floats

Paint = Callable[[Floats, Floats, Floats], Floats]
"""Grey levels inside an organelle, from the depth below its surface (pixels), the position along its long axis
(pixels) and the grey levels of what it covers."""

_VESICLES = 36  # in one cloud
_SCALE = np.array([ANISOTROPY, 1, 1])


@dataclass(frozen=True)
class Organelles:
    """Ellipsoids of one kind, each inside one cell.

    Attributes
    ----------
    centres
        Pixels, float32, shape (organelles, 3), in the order z, y, x.
    axes
        Directions of the half axes, orthonormal, one in each row; float32, shape (organelles, 3, 3).
    lengths
        Lengths of the half axes, pixels, float32, shape (organelles, 3).
    owners
        The cells they lie in, beyond which they are not drawn; shape (organelles,).
    paint
        What they look like.
    """

    centres: Floats
    axes: Floats
    lengths: Floats
    owners: NDArray[np.intp]
    paint: Paint

    @classmethod
    def scatter(
        cls,
        random: np.random.Generator,
        centres: Floats,
        owners: NDArray[np.intp],
        ranges: tuple[tuple[float, float], tuple[float, float], tuple[float, float]],
        paint: Paint,
    ) -> Self:
        """Put an ellipsoid at each centre, turned at random, with lengths of its half axes drawn from `ranges`."""
        axes = np.linalg.qr(random.standard_normal((len(centres), 3, 3)))[0]
        lengths = np.stack([random.uniform(*bounds, len(centres)) for bounds in ranges], axis=1)
        return cls(centres, axes.astype(np.float32), lengths.astype(np.float32), owners, paint)

    def draw(self, greys: Floats, sections: Sections, first: int) -> None:
        """Draw into the grey levels (z, y, x) of the sections that start at slice `first`."""
        reach = np.sqrt(np.square(self.axes * self.lengths[:, :, None]).sum(axis=1))
        corner = (first, 0, 0)
        begin = np.clip(np.floor((self.centres - reach) / _SCALE).astype(int) - corner, 0, greys.shape)
        end = np.clip(np.ceil((self.centres + reach) / _SCALE).astype(int) + 1 - corner, 0, greys.shape)
        for number in np.flatnonzero((begin < end).all(axis=1)):
            box = tuple(slice(*bounds) for bounds in zip(begin[number], end[number], strict=True))
            voxels = np.ogrid[box]
            offsets = [
                ((at + start) * scale - centre).astype(np.float32)
                for at, start, scale, centre in zip(voxels, corner, _SCALE, self.centres[number], strict=True)
            ]
            self._draw_one(number, offsets, greys[box], sections.cell[box])

    def _draw_one(self, number: np.intp, offsets: list[Floats], greys: Floats, cell: NDArray[np.uint32]) -> None:
        """Draw one ellipsoid into a box of voxels, given their offsets from its centre along z, y and x."""
        lengths = self.lengths[number]
        along = [axis[0] * offsets[0] + axis[1] * offsets[1] + axis[2] * offsets[2] for axis in self.axes[number]]
        radius = np.sqrt(np.square([part / length for part, length in zip(along, lengths, strict=True)]).sum(axis=0))
        radius *= 1 + 0.05 * np.sin(along[0] / 9 + np.float32(number)) * np.cos(along[1] / 7)  # nothing alive is a ball
        inside = (radius < 1) & (cell == self.owners[number])
        greys[inside] = self.paint((1 - radius[inside]) * lengths.min(), along[0][inside], greys[inside])


def scatter_organelles(random: np.random.Generator, partition: Partition, extent: Extent) -> tuple[Organelles, ...]:
    """Fill the cells inside a box of `extent` pixels; what covers what is the order of the result."""
    is_soma = partition.cells.is_soma

    def inside_cells(spacing: float, share_in_somata: float) -> tuple[Floats, NDArray[np.intp]]:
        count = max(1, round(np.prod(extent) / spacing**3))
        points = (random.uniform(0, 1, (count, 3)) * extent).astype(np.float32)
        owners = partition.owners(points)
        kept = ~is_soma[owners] | (random.uniform(0, 1, count) < share_in_somata)
        return points[kept], owners[kept]

    clouds, cloud_owners = inside_cells(105, 0)
    vesicles = clouds[:, None] + 12 * random.standard_normal((len(clouds), _VESICLES, 3), np.float32)
    vesicle_owners = np.repeat(cloud_owners, _VESICLES)
    somata = np.flatnonzero(is_soma)
    middles = partition.cells.centres[somata]
    nuclei = middles
    for _ in range(4):  # where the warp shows the middle of a soma: the fixed point of an inverse
        nuclei = nuclei + middles - partition.warp(nuclei)
    return (
        Organelles.scatter(
            random, vesicles.reshape(-1, 3), vesicle_owners, ((3, 4.4), (2.8, 4), (2.8, 4)), _paint_vesicle
        ),
        Organelles.scatter(random, *inside_cells(190, 1), ((8, 13), (7, 12), (7, 12)), _paint_lysosome),
        Organelles.scatter(random, *inside_cells(80, 0.5), ((30, 75), (12, 20), (12, 18)), _paint_mitochondrion),
        Organelles.scatter(random, nuclei, somata, ((72, 95), (66, 85), (62, 80)), _paint_nucleus),
    )


def _paint_vesicle(depth: Floats, along: Floats, under: Floats) -> Floats:
    """Draw a dark ring."""
    return _profile(depth, (0, 0.5, 1.3, 2.4), (112, 78, 92, 165))


def _paint_lysosome(depth: Floats, along: Floats, under: Floats) -> Floats:
    """Draw a dark body that is darkest in its middle."""
    return _profile(depth, (0, 1.5, 2.5, 8), (66, 84, 96, 66)) + (under - 150) * np.float32(0.5)


def _paint_mitochondrion(depth: Floats, along: Floats, under: Floats) -> Floats:
    """Draw two membranes around a dark matrix with bright folds across."""
    folds = np.sin(along * np.float32(2 * np.pi / 7.5) + 1.5 * np.sin(depth / 2)) * _profile(depth, (3, 5), (0, 18))
    return _profile(depth, (0, 1.2, 2.0, 3.2, 5.0), (64, 68, 112, 76, 106)) + folds


def _paint_nucleus(depth: Floats, along: Floats, under: Floats) -> Floats:
    """Draw a double envelope around mottled chromatin."""
    shade = _profile(depth, (0, 1.2, 2.4, 3.6, 5, 9, 22), (74, 78, 146, 92, 84, 104, 138))
    chromatin: Floats = (under.clip(120, 180) - 150) * np.float32(1.6)
    return shade + chromatin


def _profile(depth: Floats, depths: tuple[float, ...], greys: tuple[float, ...]) -> Floats:
    return np.interp(depth, depths, greys).astype(np.float32)
