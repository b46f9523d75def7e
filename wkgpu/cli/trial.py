"""What the demo does with a layer: writes it, reads it in several ways, compares, and measures each."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wkgpu import BoundingBox, MagView, get_engine

PATCH_EDGE = 64
PATCHES = 256
PATCHES_AT_ONCE = 64


class Measurement(NamedTuple):
    """A step that was done.

    Attributes
    ----------
    step : str
        For a table.
    nbytes : int
        Decoded bytes that were written or read.
    seconds : float
        Without the time of the comparison.
    patches : int
        How many patches these were; 0 for the whole volume.
    """

    step: str
    nbytes: int
    seconds: float
    patches: int = 0


class DifferenceError(Exception):
    """Voxels that were read and are not those that were written."""


class Trial:
    """Writes and reads one layer.

    Parameters
    ----------
    mag_view : MagView
        Empty, in Mag(1).
    voxels : array (x, y, z)
        What is written.
    seed : int
        Where the patches lie.
    """

    def __init__(self, mag_view: MagView, voxels: NDArray[Any], seed: int) -> None:
        self._mag_view = mag_view
        self._voxels = voxels
        corners = np.array(voxels.shape) - PATCH_EDGE + 1
        self._corners = np.random.default_rng(seed).integers(0, corners, (PATCHES, 3))
        self._boxes = [BoundingBox(corner.tolist(), (PATCH_EDGE,) * 3) for corner in self._corners]

    def measurements(self) -> Iterator[Measurement]:
        """Do one step after another.

        Raises
        ------
        DifferenceError
            If what is read is not what was written.
        """
        yield self._write()
        yield self._read_whole("read whole")
        yield self._read_whole("read whole, again")
        yield self._read_one_by_one()
        yield self._read_many()

    def _write(self) -> Measurement:
        begin = perf_counter()
        self._mag_view.write(self._voxels)
        return Measurement("write, compressed", self._voxels.nbytes, perf_counter() - begin)

    def _read_whole(self, step: str) -> Measurement:
        begin = perf_counter()
        voxels = self._mag_view.read()
        seconds = perf_counter() - begin
        compare(voxels, self._voxels, (0, 0, 0))
        return Measurement(step, self._voxels.nbytes, seconds)

    def _read_one_by_one(self) -> Measurement:
        seconds = 0.0
        for corner, box in zip(self._corners, self._boxes, strict=True):
            begin = perf_counter()
            voxels = self._mag_view.read(absolute_bounding_box=box)
            seconds += perf_counter() - begin
            compare(voxels, self._voxels, corner)
        return self._of_patches(f"{PATCH_EDGE}³ patches, one by one", seconds)

    def _read_many(self) -> Measurement:
        seconds = 0.0
        for first in range(0, PATCHES, PATCHES_AT_ONCE):
            some = slice(first, first + PATCHES_AT_ONCE)
            begin = perf_counter()
            patches = self._mag_view.read_many(self._boxes[some])
            seconds += perf_counter() - begin
            for corner, voxels in zip(self._corners[some], patches, strict=True):
                compare(voxels, self._voxels, corner)
            del patches, voxels  # so that the next read gets their memory
        return self._of_patches(f"{PATCH_EDGE}³ patches, {PATCHES_AT_ONCE} at once", seconds)

    def _of_patches(self, step: str, seconds: float) -> Measurement:
        return Measurement(step, PATCHES * PATCH_EDGE**3 * self._voxels.itemsize, seconds, PATCHES)


def compare(read: Any, voxels: NDArray[Any], corner: Any) -> None:
    """Compare what was read, (channel, x, y, z) of any machine, with what a volume holds from a corner on.

    Raises
    ------
    DifferenceError
        If it differs, with the first voxel that does.
    """
    found = get_engine("cpu").asarray(read)[0]
    x, y, z = (int(position) for position in corner)
    width, height, depth = found.shape
    expected = voxels[x : x + width, y : y + height, z : z + depth]
    if found.shape != expected.shape:
        raise DifferenceError(f"{found.shape} voxels were read at {(x, y, z)} instead of {expected.shape}")
    if not np.array_equal(found, expected):
        different = np.argwhere(found != expected)
        at = tuple(different[0])
        voxel = tuple((different[0] + (x, y, z)).tolist())
        raise DifferenceError(
            f"{len(different):,} voxels differ; at {voxel} {found[at]} was read and {expected[at]} was written"
        )
