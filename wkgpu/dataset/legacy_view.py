"""The members of views that only earlier generations of the WEBKNOSSOS library had."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

from wkgpu.dataset.legacy import warn_deprecated
from wkgpu.dataset.regions import Frame
from wkgpu.errors import HandleError
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.geometry.vec3_int import Vec3Int, Vec3IntLike
from wkgpu.storage.stored_array import StoredArray
from wkgpu.storage.wkw.header import WkwHeader


class LegacyView(ABC):
    """Explicit handles, and properties in voxels of the view's mag."""

    _opened: StoredArray | None
    _has_handle: bool = False

    @property
    @abstractmethod
    def path(self) -> Path:
        """Folder of the mag."""

    @property
    @abstractmethod
    def _array(self) -> StoredArray: ...

    @abstractmethod
    def _open_array(self) -> StoredArray: ...

    @property
    @abstractmethod
    def _frame(self) -> Frame: ...

    @abstractmethod
    def _read_in_mag(self, offset: Vec3IntLike | None, size: Vec3IntLike | None) -> Any: ...

    def read_bbox(self, bounding_box: NDBoundingBox | None = None) -> Any:
        """Read a box in voxels of the view's mag; the whole view without one. Deprecated: use `read`."""
        warn_deprecated(
            f"{type(self).__name__}.read_bbox() is deprecated; use read(absolute_bounding_box=...), in Mag(1)."
        )
        if bounding_box is None:
            return self._read_in_mag(None, None)
        return self._read_in_mag(bounding_box.topleft_xyz, bounding_box.size_xyz)

    def open(self) -> Self:
        """Open the mag until `close`; reads and writes do so by themselves.

        Raises
        ------
        HandleError
            If it is open.
        """
        if self._has_handle:
            raise HandleError(f"{self!r} is open already; close() it first.")
        self._opened = self._open_array()
        self._has_handle = True
        return self

    def close(self) -> None:
        """Undo `open`.

        Raises
        ------
        HandleError
            If it is not open.
        """
        if not self._has_handle:
            raise HandleError(f"{self!r} is not open; open() it first.")
        self._opened = None
        self._has_handle = False

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def header(self) -> WkwHeader:
        """The WKW header of the mag. Deprecated: use `info`."""
        warn_deprecated(f"{type(self).__name__}.header is deprecated; use info.")
        return WkwHeader.for_spec(self._array.spec)

    @property
    def size(self) -> Vec3Int:
        """Size of the view in voxels of its mag. Deprecated: use `bounding_box`."""
        warn_deprecated(f"{type(self).__name__}.size is deprecated; use bounding_box.in_mag(mag).size.")
        return Vec3Int(self._frame.shape)

    @property
    def global_offset(self) -> Vec3Int:
        """First voxel of the view in voxels of its mag. Deprecated: use `bounding_box`."""
        warn_deprecated(f"{type(self).__name__}.global_offset is deprecated; use bounding_box.in_mag(mag).topleft.")
        return Vec3Int(self._frame.topleft)
