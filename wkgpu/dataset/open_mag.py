"""A mag without a dataset: a folder with ``header.wkw`` and shards, and no properties file."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from wkgpu.dataset.discovery import mag_named
from wkgpu.dataset.mag_view import MagView
from wkgpu.dataset.metadata.properties import PROPERTIES_NAME
from wkgpu.dataset.view import View
from wkgpu.errors import NotFoundError
from wkgpu.forking import child_safe
from wkgpu.geometry.bounding_box import BoundingBox
from wkgpu.geometry.mag import Mag, MagLike
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.storage.stored_array import open_array
from wkgpu.storage.stores.local.paths import local_path


def open_mag(
    path: str | os.PathLike[str], mag: MagLike | None = None, *, read_only: bool = False, device: str | None = None
) -> MagView:
    """Open the folder of a mag that belongs to no dataset, like those of a volume annotation.

    The view has no layer; its bounding box holds all files that exist, and grows with what is written.

    Parameters
    ----------
    path : path
        Folder with ``header.wkw``.
    mag : Mag, int or str, optional
        The magnification. By default the folder's name says it ("1", "2-2-1"); a folder of another name is Mag(1).
    read_only : bool
        Whether writing is refused.
    device : str, optional
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Raises
    ------
    NotFoundError, HeaderError
        If the folder does not exist, holds no mag, or its header is bad.
    UnsupportedError
        If the path is a URL, such as ``s3://``, other than ``file://``, or the mag is Zarr.

    Examples
    --------
    >>> mag_view = open_mag("annotation/data/2-2-1")  # doctest: +SKIP
    >>> mag_view.read(absolute_bounding_box=mag_view.bounding_box)  # doctest: +SKIP
    """
    folder = local_path(path)
    if (folder / PROPERTIES_NAME).exists():
        raise NotFoundError(f"{folder} is a dataset, not a mag; open it with Dataset.open().")
    named = mag_named(folder) if mag is None else Mag(mag)
    return LooseMagView(folder, Mag(1) if named is None else named, read_only, device)


class LooseMagView(MagView):
    """A mag without a layer. It comes from `open_mag`."""

    def __init__(self, path: Path, mag: Mag, read_only: bool, device: str | None) -> None:
        View.__init__(self, path, BoundingBox.empty(), mag, read_only=read_only, device=device)
        self._opened = open_array(path)
        self._growing = child_safe(threading.Lock())
        for box in self.get_bounding_boxes_on_disk():
            self._grow(box)

    @property
    def layer(self) -> Any:
        """An error: this mag has no layer."""
        raise NotFoundError(f"{self.path} was opened without its dataset and has no layer; use Dataset.open().")

    @property
    def is_remote_to_dataset(self) -> bool:
        """True: there is no dataset."""
        return True

    def _region_box(self) -> NDBoundingBox:
        return self._bounding_box

    def _grow(self, box: BoundingBox) -> None:
        with self._growing:
            self._bounding_box = self._bounding_box.extended_by(box)

    def __reduce__(self) -> tuple[Any, ...]:
        return LooseMagView, (self._path, self._mag, self._read_only, self._device)
