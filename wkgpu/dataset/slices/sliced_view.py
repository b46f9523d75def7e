"""A view's slices along one axis: reading and writing them one by one."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from operator import index
from typing import Any, ClassVar, ParamSpec, TypeVar

from wkgpu.dataset.legacy import accepts_legacy
from wkgpu.dataset.regions import Frame, resolve
from wkgpu.dataset.slices.slice_reader import BufferedSliceReader
from wkgpu.dataset.slices.slice_writer import BufferedSliceWriter, first_voxel
from wkgpu.engines import Engine
from wkgpu.errors import ArgumentError, RegionError
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.geometry.vec3_int import XYZ_AXES, Vec3IntLike
from wkgpu.operations.voxels import Array
from wkgpu.storage.stored_array import StoredArray

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

_BUFFER_SIZE = 32


def _accepts_earlier_order(
    *earlier: str,
) -> Callable[[Callable[_Parameters, _Result]], Callable[_Parameters, _Result]]:
    """Let a method that begins with two numbers take the positional arguments of earlier generations.

    Those began with an offset, and there were more of them.
    """

    def decorate(method: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
        @functools.wraps(method)
        def accepting(*args: Any, **keywords: Any) -> _Result:
            view, *values = args
            if len(values) <= 2 and not any(
                isinstance(value, Iterable) and not isinstance(value, str) for value in values
            ):
                return method(*args, **keywords)
            names = earlier[: len(values)]
            if len(names) < len(values) or not keywords.keys().isdisjoint(names):
                raise ArgumentError(
                    f"{method.__qualname__}() got an argument twice or one too many; pass them by name."
                )
            named = {name: value for name, value in zip(names, values, strict=True) if value is not None}
            return method(view, **named, **keywords)

        return accepting

    return decorate


class SlicedView(ABC):
    """The part of `View` that reads and writes slices."""

    _pads: ClassVar[bool]

    @property
    @abstractmethod
    def _array(self) -> StoredArray: ...

    @property
    @abstractmethod
    def _engine(self) -> Engine: ...

    @property
    @abstractmethod
    def _frame(self) -> Frame: ...

    @abstractmethod
    def _check_writable(self) -> None: ...

    @abstractmethod
    def write(self, data: Array, *, absolute_offset: Vec3IntLike | None = None) -> None:
        """Write voxels."""

    @_accepts_earlier_order("offset", "size", "buffer_size", "dimension")
    @accepts_legacy()
    def get_buffered_slice_reader(
        self,
        buffer_size: int | None = None,
        dimension: int | str = 2,
        *,
        relative_bounding_box: NDBoundingBox | None = None,
        absolute_bounding_box: NDBoundingBox | None = None,
        use_logging: bool = False,
        offset: Vec3IntLike | None = None,
        size: Vec3IntLike | None = None,
    ) -> BufferedSliceReader:
        """Return an iterator over the slices of a region, which reads many of them at once.

        Parameters
        ----------
        buffer_size : int, optional
            Slices that are read at once, and the most that are held; by default 32.
        dimension : {0, 1, 2, "x", "y", "z"}
            The axis across the slices.
        relative_bounding_box, absolute_bounding_box : NDBoundingBox, optional
            The region in Mag(1), from the view's top left or from the dataset's origin; by default the whole view. It
            may leave the view.
        use_logging : bool
            Whether each read is logged, by ``logging``.
        offset, size : (x, y, z), optional
            Deprecated: the region in the view's mag. They were the first two positional arguments.

        Returns
        -------
        BufferedSliceReader
            A context manager and an iterator over arrays ``(channel, a, b)``.

        Raises
        ------
        RegionError
            As for `read`, and for another dimension.
        ArgumentError
            If `buffer_size` is no positive integer.

        Examples
        --------
        >>> with view.get_buffered_slice_reader(buffer_size=32, dimension="z") as reader:  # doctest: +SKIP
        ...     means = [image.mean() for image in reader]
        """
        topleft, shape = resolve(
            self._frame, False, offset, size, None, None, relative_bounding_box, absolute_bounding_box
        )
        return BufferedSliceReader(
            self._array, self._engine, topleft, shape, _checked_size(buffer_size), _axis(dimension), use_logging
        )

    @_accepts_earlier_order("offset", "buffer_size", "dimension", "allow_resize")
    @accepts_legacy()
    def get_buffered_slice_writer(
        self,
        buffer_size: int | None = None,
        dimension: int | str = 2,
        *,
        allow_resize: bool = True,
        allow_unaligned: bool = False,
        relative_offset: Vec3IntLike | None = None,
        absolute_offset: Vec3IntLike | None = None,
        relative_bounding_box: NDBoundingBox | None = None,
        absolute_bounding_box: NDBoundingBox | None = None,
        use_logging: bool = False,
        json_update_allowed: bool | None = None,
        offset: Vec3IntLike | None = None,
    ) -> BufferedSliceWriter:
        """Return a writer of slices, which writes many of them at once.

        It may hold more than `buffer_size` slices, so that each chunk is encoded once and a compressed shard is not
        copied too often: a chunk's depth of slices, or 256 MiB of slices for compressed shards.

        Parameters
        ----------
        buffer_size : int, optional
            Slices that are written at once; by default 32.
        dimension : {0, 1, 2, "x", "y", "z"}
            The axis across the slices.
        allow_resize : bool
            Whether slices may leave the layer's bounding box, which then grows; only for a `MagView`.
        relative_offset, absolute_offset : (x, y, z), optional
            Where the first voxel of the first slice goes, in Mag(1), from the view's top left (the default) or from the
            dataset's origin.
        relative_bounding_box, absolute_bounding_box : NDBoundingBox, optional
            A box in Mag(1) whose top left is meant. Its size does not matter.
        allow_unaligned : bool
            Changes nothing, because every region can be written; the WEBKNOSSOS library asks for it.
        use_logging : bool
            Whether each write is logged, by ``logging``.
        json_update_allowed : bool, optional
            Another name of `allow_resize`.
        offset : (x, y, z), optional
            Deprecated: where the first voxel goes, in the view's mag. It was the first positional argument.

        Returns
        -------
        BufferedSliceWriter
            A context manager with the method ``send``, which takes slices ``(a, b)`` or ``(channel, a, b)``.

        Raises
        ------
        ReadOnlyError
            If the view is read-only.
        RegionError
            As for `write`, and for another dimension.
        ArgumentError
            If `buffer_size` is no positive integer.

        Examples
        --------
        >>> with view.get_buffered_slice_writer(absolute_offset=(0, 0, 64)) as writer:  # doctest: +SKIP
        ...     for image in images:
        ...         writer.send(image)
        """
        self._check_writable()
        topleft = first_voxel(
            self._frame, offset, relative_offset, absolute_offset, relative_bounding_box, absolute_bounding_box
        )
        bounded = not (self._pads and allow_resize)
        return BufferedSliceWriter(self, topleft, _checked_size(buffer_size), _axis(dimension), bounded, use_logging)


def _checked_size(buffer_size: int | None) -> int:
    try:
        size = _BUFFER_SIZE if buffer_size is None else index(buffer_size)
    except TypeError:
        size = 0
    if size < 1:
        raise ArgumentError(f"buffer_size is {buffer_size!r}; give the number of slices to hold, at least 1.")
    return size


def _axis(dimension: int | str) -> int:
    if isinstance(dimension, str) and dimension in XYZ_AXES:
        return XYZ_AXES.index(dimension)
    try:
        axis = index(dimension)  # type: ignore[arg-type]  # a string has none, and then raises
    except TypeError:
        axis = -1
    if axis not in (0, 1, 2):
        raise RegionError(f'dimension is {dimension!r}; give 0, 1, 2 or "x", "y", "z": the axis across the slices.')
    return axis
