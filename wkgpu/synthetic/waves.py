"""Smooth random fields that cost next to nothing on a lattice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_WAVES = 16


@dataclass(frozen=True)
class Waves:
    """Sums of plane waves: one smooth random field for each component.

    A plane wave is a product of one factor for each axis, so that a whole lattice of values is one matrix product.

    Attributes
    ----------
    vectors
        Wave vectors in radians per pixel, float32, shape (waves, 3), in the order z, y, x.
    phases
        Phases in radians, float32, shape (waves,).
    amplitudes
        Weights of the waves in each component, float32, shape (components, waves).
    """

    vectors: Floats
    phases: Floats
    amplitudes: Floats

    @classmethod
    def scatter(
        cls, random: np.random.Generator, wavelengths: tuple[float, float], strength: float, components: int = 1
    ) -> Self:
        """Draw waves in random directions.

        Parameters
        ----------
        random
            Where the randomness comes from.
        wavelengths
            The shortest and the longest wavelength in pixels.
        strength
            Standard deviation of each component.
        components
            Number of independent fields.
        """
        directions = random.standard_normal((_WAVES, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        lengths = np.geomspace(*wavelengths, _WAVES)
        amplitudes = random.standard_normal((components, _WAVES))
        amplitudes *= strength * np.sqrt(2) / np.linalg.norm(amplitudes, axis=1, keepdims=True)
        return cls(
            (2 * np.pi * directions / lengths[:, None]).astype(np.float32),
            random.uniform(0, 2 * np.pi, _WAVES).astype(np.float32),
            amplitudes.astype(np.float32),
        )

    def on_lattice(self, z: Floats, y: Floats, x: Floats) -> Floats:
        """Evaluate all components where the planes at `z`, `y` and `x` (pixels) cross.

        Returns
        -------
        Values, float32, shape (components, len(z), len(y), len(x)).
        """
        factors = [
            np.exp(1j * np.outer(vector, at)).astype(np.complex64)
            for vector, at in zip(self.vectors.T, (z, y, x), strict=True)
        ]
        factors[0] *= np.exp(1j * self.phases)[:, None].astype(np.complex64)
        planes = self.amplitudes[:, :, None, None] * (factors[0][:, :, None] * factors[1][:, None, :])
        rows = planes.reshape(len(self.amplitudes), len(self.phases), -1).transpose(0, 2, 1)
        # Only the sine is wanted: two real products are cheaper than a complex one.
        sine: Floats = (rows.imag @ factors[2].real + rows.real @ factors[2].imag).astype(np.float32, copy=False)
        return sine.reshape(len(self.amplitudes), len(z), len(y), len(x))

    def at(self, points: Floats) -> Floats:
        """Evaluate all components at points (pixels, shape (n, 3)); returns shape (n, components)."""
        values: Floats = np.sin(points @ self.vectors.T + self.phases) @ self.amplitudes.T
        return values
