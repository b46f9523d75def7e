"""Slices that are held, until they are written as one box."""

from __future__ import annotations

from math import prod

import numpy as np

from wkgpu.engines import Engine, get_engine
from wkgpu.engines.host_memory import LARGE_BYTES
from wkgpu.operations.voxels import Array


class SliceBlock:
    """Slices ``(channel, a, b)`` of one shape, consecutively, on the device of the first one.

    Each is in Fortran order, whatever it was in: that is the order within chunks, and to turn a slice once is cheaper
    than to gather a chunk across pages.
    """

    def __init__(self, image: Array, shape: tuple[int, ...], capacity: int, engine: Engine) -> None:
        self.shape = shape
        self.capacity = capacity
        self.count = 0
        is_on_host = isinstance(image, np.ndarray)
        self._engine = get_engine("cpu") if is_on_host else engine
        every = (*shape, capacity)
        nbytes = prod(every) * image.dtype.itemsize
        if nbytes >= LARGE_BYTES:
            self._engine.check_room(nbytes, f"A buffer of {capacity} slices {shape}, which buffer_size makes smaller,")
        self._images = self._engine.empty(every, image.dtype)

    def append(self, image: Array) -> None:
        """Copy a slice, filled up with zeros."""
        target = self.image(self.count)
        if image.shape != self.shape:
            target[...] = 0
            target = target[:, : image.shape[1], : image.shape[2]]
        target[...] = self._engine.asarray(image)
        self.count += 1

    def image(self, number: int) -> Array:
        """Return one slice."""
        return self._images[..., number]

    def last_images(self, limit: int) -> list[Array]:
        """Return the last slices, at most ``limit``."""
        return [self.image(number) for number in range(max(0, self.count - limit), self.count)]

    def voxels(self, count: int, axis: int) -> Array:
        """Return the first slices as an array ``(channel, x, y, z)``."""
        return self._images[..., :count].transpose(slices_last(axis))


def slices_last(axis: int) -> list[int]:
    """Return how to transpose ``(channel, a, b, slice)`` to ``(channel, x, y, z)``."""
    order = [0, 1, 2]
    order.insert(1 + axis, 3)
    return order
