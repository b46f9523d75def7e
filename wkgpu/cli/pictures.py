"""Pictures of slices: voxels as grey levels, as colours, or as both."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wkgpu import SEGMENTATION_CATEGORY, LayerCategoryType

Pixels = NDArray[np.uint8]

# 2^64 divided by g, g² and g³, where g⁴ = g + 1. The multiples of these three numbers, cut to 64 bits, fill a cube
# evenly, so that ids that follow each other get colours that are far apart.
_STEPS = tuple(int(2**64 / 1.2207440846057596**power) | 1 for power in (1, 2, 3))


class Picture(NamedTuple):
    """A picture, and what it shows.

    Attributes
    ----------
    pixels : array (row, column) or (row, column, 3)
        uint8; x goes to the right and y down.
    caption : str
        For the console.
    """

    pixels: Pixels
    caption: str


def picture(voxels: NDArray[Any], category: LayerCategoryType) -> Picture:
    """Draw one slice.

    Parameters
    ----------
    voxels : array (channel, x, y)
        Its voxels.
    category : {"color", "segmentation"}
        A segmentation gets a colour for each id. An image of uint8 is shown as it is, anything else from its least to
        its largest value; three channels of uint8 are red, green and blue, and of others the first is shown.
    """
    if category == SEGMENTATION_CATEGORY:
        ids = voxels[0].T
        count = len(np.unique(ids[ids != 0]))
        return Picture(colours_of(ids), f"{count:,} {'segment' if count == 1 else 'segments'} in colours, 0 in black")
    if voxels.dtype == np.uint8 and len(voxels) == 3:
        return Picture(np.ascontiguousarray(voxels.transpose(2, 1, 0)), "the channels as red, green and blue")
    which = "" if len(voxels) == 1 else f" of the first of {len(voxels)} channels"
    plane = voxels[0].T
    if voxels.dtype == np.uint8:
        return Picture(np.ascontiguousarray(plane), f"grey levels{which} as they are")
    pixels, low, high = grey_levels(plane)
    return Picture(pixels, f"values{which} from {low:g} (black) to {high:g} (white)")


def grey_levels(values: NDArray[Any]) -> tuple[Pixels, float, float]:
    """Return values as grey levels from the least to the largest, and these two; what is not finite is black."""
    numbers = values.astype(np.float64)
    finite = np.isfinite(numbers)
    low, high = (float(numbers[finite].min()), float(numbers[finite].max())) if finite.any() else (0.0, 0.0)
    scaled = np.where(finite, numbers, low) / 2 - low / 2  # halves, because the span of float64 is no float64
    span = high / 2 - low / 2
    return np.rint(scaled * (255 / span) if span else scaled * 0).astype(np.uint8), low, high


def colours_of(ids: NDArray[Any]) -> Pixels:
    """Return a colour for each id, always the same one, and black for 0.

    Parameters
    ----------
    ids : array
        Integers; others are cut to integers.

    Returns
    -------
    array (..., 3)
        Red, green and blue, uint8.
    """
    values, places = np.unique(ids, return_inverse=True)
    numbers = values.astype(np.int64 if values.dtype.kind != "u" else np.uint64).view(np.uint64)
    hue, saturation, brightness = ((numbers * np.uint64(step) >> np.uint64(40)) / 2.0**24 for step in _STEPS)
    colours = _rgb(hue, 0.45 + 0.5 * saturation, 0.6 + 0.4 * brightness)
    colours[values == 0] = 0
    shown: Pixels = colours[places.reshape(ids.shape)]
    return shown


def overlaid(grey: Pixels, colours: Pixels, opacity: float = 0.4) -> Pixels:
    """Lay colours over grey levels of the same shape; black is transparent."""
    under = np.repeat(grey[..., None], 3, axis=-1)
    mixed = under * (1 - opacity) + colours * opacity
    pixels: Pixels = np.where(colours.any(axis=-1, keepdims=True), mixed, under).astype(np.uint8)
    return pixels


def _rgb(hue: NDArray[np.float64], saturation: NDArray[np.float64], brightness: NDArray[np.float64]) -> Pixels:
    """Convert colours from hue, saturation and brightness, all from 0 to 1."""
    sextant = (np.array([5.0, 3.0, 1.0]) + 6 * hue[..., None]) % 6
    ramp = np.clip(np.minimum(sextant, 4 - sextant), 0, 1)
    pixels: Pixels = np.rint(255 * brightness[..., None] * (1 - saturation[..., None] * ramp)).astype(np.uint8)
    return pixels
