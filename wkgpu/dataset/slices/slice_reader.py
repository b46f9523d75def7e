"""A box of a mag, slice by slice along one axis, read many slices at once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from time import perf_counter
from typing import Any, Self

from wkgpu.geometry.vec3_int import XYZ_AXES
from wkgpu.geometry.voxel_box import Triple
from wkgpu.operations.array_region import ArrayRegion
from wkgpu.operations.transfer import read_box
from wkgpu.operations.voxels import Array

_log = logging.getLogger(__name__)


class BufferedSliceReader(Iterator[Array]):
    """Iterates over the slices of a box. It comes from `View.get_buffered_slice_reader`.

    It holds at most ``buffer_size`` slices, besides those whose memory the caller still uses: a slice that was handed
    out stays as it is. Buffers end between two chunks where they can, so that no chunk is decoded twice if
    ``buffer_size`` is at least a chunk's depth.

    Each time it is entered, it begins with the first slice.

    Parameters
    ----------
    region : ArrayRegion
        The box, and the engine that slices are read by.
    buffer_size : int
        Slices that are read at once.
    axis : int
        0, 1 or 2: the axis across the slices.
    use_logging : bool
        Whether each read is logged.

    Examples
    --------
    >>> with view.get_buffered_slice_reader(buffer_size=64) as reader:  # doctest: +SKIP
    ...     means = [image.mean() for image in reader]
    """

    def __init__(
        self,
        region: ArrayRegion,
        buffer_size: int,
        axis: int,
        use_logging: bool = False,
    ) -> None:
        self._region = region
        self._buffer_size = buffer_size
        self._axis = axis
        self._use_logging = use_logging
        self._slices: Iterator[Array] = self._read()

    @property
    def dimension(self) -> int:
        """The axis across the slices: 0, 1 or 2."""
        return self._axis

    def __enter__(self) -> Self:
        self._slices = self._read()
        return self

    def __exit__(self, *_: object) -> None:
        self._slices = iter(())  # drops the buffer

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Array:
        """Return the next slice.

        Returns
        -------
        array (channel, a, b)
            With the two other axes in the order x, y, z; of the mag's dtype, on the view's device.
        """
        return next(self._slices)

    def _read(self) -> Iterator[Array]:
        box = self._region.box
        first, end = box.topleft[self._axis], box.end[self._axis]
        depth = self._region.array.spec.chunk_shape[self._axis]
        across: tuple[Any, ...] = (slice(None),) * (1 + self._axis)
        while first < end:
            last = min(end, end_between(first, self._buffer_size, depth) or first + self._buffer_size)
            buffer = self._read_between(first, last)
            for position in range(last - first):
                yield buffer[(*across, position)]
            del buffer  # before the next one is there: its memory can be used again
            first = last

    def _read_between(self, first: int, last: int) -> Array:
        topleft, shape = map(list, self._region.box)
        topleft[self._axis], shape[self._axis] = first, last - first
        begin = perf_counter()
        buffer = read_box(self._region.array, self._region.engine, as_triple(topleft), as_triple(shape))
        if self._use_logging:
            _log.info(
                "Read slices %d to %d along %s in %.2f s", first, last - 1, XYZ_AXES[self._axis], perf_counter() - begin
            )
        return buffer


def end_between(first: int, limit: int, depth: int) -> int | None:
    """Return the last multiple of ``depth`` behind ``first``, at most ``limit`` away; None if there is not one.

    Examples
    --------
    >>> end_between(12, 32, 32), end_between(12, 10, 32)
    (32, None)
    """
    border = (first + limit) // depth * depth
    return border if border > first else None


def as_triple(values: list[int]) -> Triple:
    """Return three numbers as a tuple of three."""
    x, y, z = values
    return x, y, z
