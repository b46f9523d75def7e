"""What sections of cells look like in an electron microscope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wkgpu.synthetic.cells import Extent
from wkgpu.synthetic.organelles import Organelles, scatter_organelles
from wkgpu.synthetic.partition import ANISOTROPY, DEPTH_STEPS, Partition, Sections
from wkgpu.synthetic.waves import Floats

_TEXTURE = (32, 256, 256)  # period of the cytoplasm's texture in voxels
_GRAIN = (512, 512)  # period of the noise of a slice, which begins elsewhere in every slice
_GRAIN_STRENGTH = 5.5  # grey levels; makes LZ4 gain as little as it does on real micrographs


def _by_depth(depths: tuple[float, ...], values: tuple[float, ...]) -> Floats:
    """Tabulate a function of the depth below the surface of a cell (pixels) for every value of `Sections.depth`."""
    pixels = (np.arange(256) - DEPTH_STEPS) / DEPTH_STEPS
    return np.interp(pixels, depths, values).astype(np.float32)


# A voxel shows what lies inside its cell in this proportion; the rest is membrane, or the cleft between cells.
_INSIDE = _by_depth((0.3, 0.8, 1.6, 2.8), (0, 0.1, 0.72, 1))
_OUTSIDE = (1 - _INSIDE) * _by_depth((-1, -0.4, 0.2, 0.9), (176, 120, 74, 66))


@dataclass(frozen=True)
class Micrograph:
    """How the cells are stained, what is inside them, and the noise of the camera.

    Attributes
    ----------
    levels
        Grey level of each cell's cytoplasm, float32, shape (cells,).
    granularity
        Contrast of the granules in it, float32, shape (cells,).
    organelles
        What is drawn into the cells, one kind after the other.
    granules, mottle
        Periodic textures of fine and coarse detail, float32, in the order (z, y, x).
    grain
        Periodic noise of a slice, float32, in the order (y, x).
    grain_offsets
        Where each slice finds its noise, shape (slices, 2).
    """

    levels: Floats
    granularity: Floats
    organelles: tuple[Organelles, ...]
    granules: Floats
    mottle: Floats
    grain: Floats
    grain_offsets: NDArray[np.int64]

    @classmethod
    def scatter(cls, random: np.random.Generator, partition: Partition, extent: Extent, slices: int) -> Self:
        """Decide all that is random in the image of a partition of `extent` pixels."""
        is_soma = partition.cells.is_soma
        return cls(
            levels=np.where(is_soma, 150, random.normal(158, 13, len(is_soma)).clip(120, 190)).astype(np.float32),
            granularity=np.where(is_soma, 20, random.gamma(2, 5, len(is_soma)).clip(1, 22)).astype(np.float32),
            organelles=scatter_organelles(random, partition, extent),
            granules=np.maximum(_texture(random, _TEXTURE, 1.3, 3) - np.float32(0.6), 0),
            mottle=5 * _texture(random, _TEXTURE, 3, 12),
            grain=_GRAIN_STRENGTH * _texture(random, _GRAIN, 0.55),
            grain_offsets=random.integers(0, _GRAIN, (slices, 2)),
        )

    def expose(self, sections: Sections, first: int) -> NDArray[np.uint8]:
        """Take the image of the sections that start at slice `first`; uint8, (z, y, x)."""
        shape = sections.cell.shape[1:]
        greys = np.empty(sections.cell.shape, np.float32)
        for z, (grey, cell) in enumerate(zip(greys, sections.cell, strict=True), first):
            texture = z % len(self.granules)
            grey[:] = self.levels.take(cell)
            grey -= _window(self.granules[texture], (0, 0), shape) * self.granularity.take(cell)
            grey += _window(self.mottle[texture], (0, 0), shape)
        for organelles in self.organelles:
            organelles.draw(greys, sections, first)
        image = np.empty(greys.shape, np.uint8)
        for z, (grey, depth) in enumerate(zip(greys, sections.depth, strict=True), first):
            grey *= _INSIDE.take(depth)
            grey += _OUTSIDE.take(depth)
            grey += _window(self.grain, self.grain_offsets[z], shape)
            image[z - first] = np.clip(grey, 0, 255)
        return image


def _texture(random: np.random.Generator, shape: tuple[int, ...], finest: float, coarsest: float = np.inf) -> Floats:
    """Periodic noise of unit variance with details of `finest` to `coarsest` pixels (standard deviation of a blur)."""
    frequencies = [np.fft.fftfreq(length) for length in shape[:-1]] + [np.fft.rfftfreq(shape[-1])]
    scales = (ANISOTROPY, 1, 1)[-len(shape) :]
    squares = [np.square(f / scale) for f, scale in zip(np.ix_(*frequencies), scales, strict=True)]
    exponent = -2 * np.pi**2 * np.sum(np.broadcast_arrays(*squares), axis=0)
    band = np.exp(exponent * finest**2)
    if np.isfinite(coarsest):
        band -= np.exp(exponent * coarsest**2)
    spectrum = np.fft.rfftn(random.standard_normal(shape, np.float32)) * band
    noise = np.fft.irfftn(spectrum, shape, axes=range(len(shape)))
    texture: Floats = (noise / noise.std()).astype(np.float32)
    return texture


def _window(texture: Floats, offset: tuple[int, int] | NDArray[np.int64], shape: tuple[int, ...]) -> Floats:
    """Cut a window of any shape out of a periodic texture (y, x)."""
    end = np.add(offset, shape)
    repeats = -(-end // texture.shape)
    return np.tile(texture, repeats)[offset[0] : end[0], offset[1] : end[1]]
