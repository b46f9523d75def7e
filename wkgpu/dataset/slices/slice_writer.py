"""Slices that come one by one, written many at once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter
from types import TracebackType
from typing import Any, Self

import numpy as np

from wkgpu.dataset.regions import Frame, resolve, resolve_for_data
from wkgpu.dataset.slices.slice_block import SliceBlock, slices_last
from wkgpu.dataset.slices.slice_reader import as_triple, end_between
from wkgpu.engines import Engine
from wkgpu.errors import HandleError, ShapeError
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.geometry.vec3_int import XYZ_AXES, Vec3IntLike
from wkgpu.geometry.voxel_box import Triple
from wkgpu.operations.voxels import Array, as_voxels
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stored_array import StoredArray

HELD_BYTES = 256 << 20
"""Up to so many bytes of slices are held for compressed shards: each write of a part copies the rest of the file."""

_log = logging.getLogger(__name__)


class BufferedSliceWriter:
    """Writes slices one after another. It comes from `View.get_buffered_slice_writer`.

    Slices are copied when they are sent, and held until they reach a border between two shards or two chunks, so that
    each chunk is encoded once. Held are at most ``buffer_size`` slices, a chunk's depth of slices, or, for compressed
    shards, 256 MiB of slices, whichever is the most; the last of them are written at the end of the ``with`` block,
    even if that raises. What is wrong with a slice (its shape, its dtype, its place) is raised by its own `send`.

    Slices may differ in shape. The first voxel of each is at the same place, and within ``buffer_size`` slices the
    smaller ones are filled up with zeros.

    Parameters
    ----------
    array : StoredArray
        The mag.
    engine : Engine
        What takes the slices.
    frame : callable
        Returns the frame of the view that is written to: that of a `MagView` grows with what is written.
    write : callable
        Writes voxels ``(channel, x, y, z)`` from a first voxel on, which is in Mag(1): ``write(voxels, (x, y, z))``.
    topleft : tuple of int
        First voxel ``(x, y, z)`` of the first slice, in the mag's own grid.
    buffer_size : int
        Slices that are written at once, at least where neither chunks nor shards make more of it.
    axis : int
        0, 1 or 2: the axis across the slices.
    bounded : bool
        Whether slices must lie inside the view.
    use_logging : bool
        Whether each write is logged.

    Examples
    --------
    >>> with mag_view.get_buffered_slice_writer(absolute_offset=(0, 0, 0)) as writer:  # doctest: +SKIP
    ...     for image in images:
    ...         writer.send(image)
    """

    def __init__(
        self,
        array: StoredArray,
        engine: Engine,
        frame: Callable[[], Frame],
        write: Callable[[Array, Triple], None],
        topleft: Triple,
        buffer_size: int,
        axis: int,
        bounded: bool,
        use_logging: bool = False,
    ) -> None:
        self._array = array
        self._engine = engine
        self._frame = frame
        self._write = write
        self._topleft = topleft
        self._buffer_size = buffer_size
        self._axis = axis
        self._bounded = bounded
        self._use_logging = use_logging
        self._sent = 0  # slices since the top left
        self._block: SliceBlock | None = None  # what is held: the last of them
        self._first = 0  # how many slices were sent before those of the block, which an interrupt must not move
        self._shape: tuple[int, ...] = ()  # of the slices of the current buffer, filled up
        self._is_open = False

    @property
    def dimension(self) -> int:
        """The axis across the slices: 0, 1 or 2."""
        return self._axis

    def __enter__(self) -> Self:
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_open = False
        try:
            self._flush()
        except Exception as failure:
            if error is None:
                raise
            error.add_note(f"The last slices that were sent could not be written either: {failure!r}")

    def send(self, data: Array) -> None:
        """Take the next slice.

        Parameters
        ----------
        data : array (a, b) or (channel, a, b)
            Of the mag's dtype and channels; two axes are for one channel. The array may be used for the next slice.

        Raises
        ------
        ShapeError, DtypeError
            If the slice does not have the mag's channels or dtype.
        OutOfBoundsError
            If the slice leaves the view and must not.
        HandleError
            Outside of the ``with`` block, where nothing would write the last slices.

        Examples
        --------
        >>> writer.send(np.zeros((1024, 1024), "uint8"))  # doctest: +SKIP
        """
        if not self._is_open:
            raise HandleError("send() works in a with block: with view.get_buffered_slice_writer() as writer: ...")
        image = self._checked(data)
        block = self._block
        if block is None or image.shape != block.shape:
            block = self._block_for(image)
        block.append(image)
        self._sent = self._first + block.count
        if block.count == block.capacity:
            self._flush()

    def reset_offset(
        self,
        relative_offset: Vec3IntLike | None = None,
        absolute_offset: Vec3IntLike | None = None,
        relative_bounding_box: NDBoundingBox | None = None,
        absolute_bounding_box: NDBoundingBox | None = None,
    ) -> None:
        """Write what is held, and continue elsewhere.

        Parameters
        ----------
        relative_offset, absolute_offset, relative_bounding_box, absolute_bounding_box
            Where the next slice goes, as for `View.get_buffered_slice_writer`.

        Examples
        --------
        >>> writer.reset_offset(absolute_offset=(1024, 0, 0))  # doctest: +SKIP
        """
        topleft = first_voxel(
            self._frame(), None, relative_offset, absolute_offset, relative_bounding_box, absolute_bounding_box
        )
        self._flush()
        self._topleft, self._sent = topleft, 0

    # ---- Slices

    def _checked(self, data: Any) -> Array:
        """Return a slice as an array ``(channel, a, b)`` that can be written where it comes to lie."""
        spec = self._array.spec
        image = self._engine.as_input(data)
        if image.ndim == 2:
            image = image[None]
        if image.ndim != 3 or image.shape[0] != spec.num_channels:
            channels = spec.num_channels
            raise ShapeError(
                f"The slice has the shape {tuple(data.shape) if hasattr(data, 'shape') else image.shape}, but the mag "
                f"has {channels} channel(s); send ({channels}, a, b){' or (a, b)' if channels == 1 else ''}."
            )
        across = (slice(None),) * (1 + self._axis)
        voxels = as_voxels(image[(*across, None)], spec, self._engine)
        _, x, y, z = voxels.shape
        resolve_for_data(
            self._frame(), self._bounded, (x, y, z), None, None, self._in_finest_mag(self._sent), None, None
        )
        return voxels[(*across, 0)]

    def _in_finest_mag(self, number: int, corner: tuple[int, int] = (0, 0)) -> Triple:
        """Return a voxel of a slice in Mag(1)."""
        steps = list(corner)
        steps.insert(self._axis, number)
        return as_triple(
            [
                (first + step) * factor
                for first, step, factor in zip(self._topleft, steps, self._frame().mag, strict=True)
            ]
        )

    def _block_for(self, image: Array) -> SliceBlock:
        """Return the block that holds a slice of another shape than the last one's.

        Only slices of one buffer, each ``buffer_size`` slices, are filled up to the same shape. What is held of earlier
        buffers is written as it is; what this one has written already, because it reached a border, is filled up there.
        """
        block, position = self._block, self._sent % self._buffer_size
        if position == 0:
            self._flush()
            shape, held = tuple(image.shape), []
        else:
            shape = tuple(max(lengths) for lengths in zip(image.shape, self._shape, strict=True))
            if block is not None and shape == block.shape:
                return block
            held = [] if block is None else block.last_images(position)
            self._flush(keep=len(held))
            self._fill_up(position, position - len(held), shape)
        self._first = self._sent - len(held)
        block = self._block = self._new_block(image, shape, len(held))
        for earlier in held:
            block.append(earlier)
        self._shape = shape
        return block

    def _new_block(self, image: Array, shape: tuple[int, ...], held: int = 0) -> SliceBlock:
        first = self._topleft[self._axis] + self._sent - held
        slice_bytes = image.dtype.itemsize * int(np.prod(shape))
        capacity = held_slices(self._array.spec, self._axis, first, self._buffer_size, slice_bytes)
        return SliceBlock(image, shape, max(capacity, held + 1), self._engine)

    # ---- Writing

    def _flush(self, keep: int = 0) -> None:
        """Write what is held, but for the last slices; it is not held any more, even if writing fails."""
        block, self._block = self._block, None
        if block is None or block.count == keep:
            return
        first, count = self._first, block.count - keep
        begin = perf_counter()
        self._write(block.voxels(count, self._axis), self._in_finest_mag(first))
        if self._use_logging:
            slices = self._topleft[self._axis] + first
            _log.info(
                "Wrote slices %d to %d along %s in %.2f s",
                slices, slices + count - 1, XYZ_AXES[self._axis], perf_counter() - begin,
            )  # fmt: skip

    def _fill_up(self, position: int, count: int, shape: tuple[int, ...]) -> None:
        """Write zeros around the slices that the current buffer, which began ``position`` ago, has written already."""
        channels, width, height = self._shape
        _, new_width, new_height = shape
        borders = (
            ((width, 0), (new_width - width, new_height)),
            ((0, height), (width, new_height - height)),
        )
        for corner, size in borders:
            if count and min(size):
                zeros = np.zeros((channels, *size, count), self._array.spec.memory_dtype)
                offset = self._in_finest_mag(self._sent - position, corner)
                self._write(zeros.transpose(slices_last(self._axis)), offset)


def held_slices(spec: ArraySpec, axis: int, first: int, buffer_size: int, slice_bytes: int) -> int:
    """Return how many slices, from a position on, are written at once.

    They end between two shards if they can, else between two chunks, and even where that is more than the buffer.

    Examples
    --------
    >>> from wkgpu.storage.codecs import LZ4
    >>> spec = ArraySpec(np.dtype("uint8"), 1, (32, 32, 32), (32, 32, 32), (LZ4,))
    >>> held_slices(spec, 2, 0, 32, 1 << 20), held_slices(spec, 2, 12, 32, 1 << 30)
    (256, 20)
    >>> held_slices(spec, 2, 0, 5, 1 << 30)
    32
    """
    limit = buffer_size if not spec.codecs else max(buffer_size, HELD_BYTES // slice_bytes)
    shard_depth, chunk_depth = spec.shard_shape[axis], spec.chunk_shape[axis]
    end = end_between(first, limit, shard_depth) or end_between(first, limit, chunk_depth)
    return (end or first + chunk_depth - first % chunk_depth) - first


def first_voxel(
    frame: Frame,
    offset: Vec3IntLike | None,
    relative_offset: Vec3IntLike | None,
    absolute_offset: Vec3IntLike | None,
    relative_bounding_box: NDBoundingBox | None,
    absolute_bounding_box: NDBoundingBox | None,
) -> Triple:
    """Return the first voxel, in the view's own mag, of the region that slices are written to."""
    if relative_bounding_box is not None or absolute_bounding_box is not None:
        corner, _ = resolve(
            frame, False, offset, None, relative_offset, absolute_offset, relative_bounding_box, absolute_bounding_box
        )
    else:  # one voxel, because the number and the size of the slices are not known yet
        corner, _ = resolve_for_data(frame, False, (1, 1, 1), offset, relative_offset, absolute_offset, None, None)
    return corner
