"""Cells scattered in space, and how far a point is from each of them.

All lengths are in pixels of a slice, also along z, and points are in the order z, y, x.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wkgpu.synthetic.waves import Floats

Extent = tuple[float, float, float]

_NEURITE_SPACING = 72.0  # mean distance of neighbouring neurites
_SOMA_SPACING = 560.0
_ROWS, _COLUMNS = np.triu_indices(3)
_TWICE = np.where(_ROWS == _COLUMNS, 1, 2).astype(np.float32)  # a product off the diagonal occurs twice


@dataclass(frozen=True)
class Cells:
    """Cells, each of which claims the space around its centre.

    The distance of a point to cell `i` is `norm(metrics[i] @ (point - centres[i])) - radii[i]`; a point belongs to
    the nearest cell. No metric stretches a length, so that a distance changes no faster than the point moves.

    Attributes
    ----------
    centres
        Pixels, float32, shape (cells, 3).
    metrics
        Symmetric, float32, shape (cells, 3, 3): the long axis of a cell is shrunk.
    radii
        Pixels, float32, shape (cells,): the head start of a cell over its neighbours.
    is_soma
        Which cells are cell bodies; the others are neurites. Shape (cells,).
    """

    centres: Floats
    metrics: Floats
    radii: Floats
    is_soma: NDArray[np.bool_]

    @classmethod
    def scatter(cls, random: np.random.Generator, extent: Extent) -> Self:
        """Fill a box of `extent` pixels, and a margin around it, with neurites and a few cell bodies."""
        neurites = jittered_grid(random, extent, _NEURITE_SPACING, margin=1.5 * _NEURITE_SPACING)
        somata = jittered_grid(random, extent, _SOMA_SPACING, margin=0.5 * _SOMA_SPACING)
        centres = np.concatenate([neurites, somata])
        count = len(centres)
        is_soma = np.arange(count) >= len(neurites)
        radii = np.where(is_soma, random.uniform(105, 140, count), np.minimum(random.gamma(1.2, 9.0, count), 60))
        elongation = np.where(is_soma, 1.25, random.uniform(1.0, 4.0, count))
        axes = random.standard_normal((count, 3))
        axes /= np.linalg.norm(axes, axis=1, keepdims=True)
        shrinkage = (1 - 1 / elongation)[:, None, None] * axes[:, :, None] * axes[:, None, :]
        metrics = np.eye(3) - shrinkage
        return cls(centres, metrics.astype(np.float32), radii.astype(np.float32), is_soma)

    def __len__(self) -> int:
        return len(self.radii)

    def distances(self, points: Floats, among: NDArray[np.intp] | slice = slice(None)) -> Floats:
        """Measure how far points are from cells.

        Parameters
        ----------
        points
            Pixels, shape (n, 3).
        among
            Indices of the cells to consider, by default all.

        Returns
        -------
        Pixels, float32, shape (cells, n); negative near the centre of a cell.
        """
        middle = points.mean(axis=0)  # small numbers keep their precision when they are squared
        points, centres, metrics = points - middle, self.centres[among] - middle, self.metrics[among]
        forms = metrics @ metrics
        towards = (forms @ centres[:, :, None])[:, :, 0]
        # A squared distance is a quadratic function of the point: one matrix product serves all points and cells.
        constants = (centres * towards).sum(axis=1, keepdims=True)
        coefficients = np.concatenate([forms[:, _ROWS, _COLUMNS] * _TWICE, -2 * towards, constants], axis=1)
        products = points[:, _ROWS] * points[:, _COLUMNS]
        powers = np.concatenate([products, points, np.ones((len(points), 1), np.float32)], axis=1)
        squares: Floats = coefficients @ powers.T
        return np.sqrt(np.maximum(squares, 0)) - self.radii[among, None]


def jittered_grid(random: np.random.Generator, extent: Extent, spacing: float, margin: float) -> Floats:
    """Draw one random point in each box of a grid over the extent and its margin; float32, shape (points, 3)."""
    lengths = np.array(extent) + 2 * margin
    counts = np.maximum(1, np.round(lengths / spacing)).astype(int)
    corners = np.indices(counts.tolist()).reshape(3, -1).T
    points: Floats = ((corners + random.uniform(0, 1, corners.shape)) * (lengths / counts) - margin).astype(np.float32)
    return points
