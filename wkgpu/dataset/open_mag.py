"""A mag without a dataset: a folder with a header and shards, and no properties file."""

from __future__ import annotations

import os

from wkgpu.dataset.mag_view import MagView
from wkgpu.dataset.metadata.image_properties import mag_in_image
from wkgpu.dataset.metadata.mag_name import mag_named
from wkgpu.dataset.metadata.properties import PROPERTIES_NAME
from wkgpu.errors import NotFoundError
from wkgpu.geometry.mag import Mag, MagLike
from wkgpu.storage.stores.local.paths import local_path


def open_mag(
    path: str | os.PathLike[str], mag: MagLike | None = None, *, read_only: bool = False, device: str | None = None
) -> MagView:
    """Open the folder of a mag that belongs to no dataset, like those of a volume annotation.

    The view has no layer; its bounding box holds all files that exist, and grows with what is written.

    Parameters
    ----------
    path : path
        The mag's folder, with its header (``header.wkw``) and shards.
    mag : Mag, int or str, optional
        The magnification. By default the folder's name says it ("1", "2-2-1"), or an OME-Zarr image around it, whose
        folders are called otherwise ("0", "1", ...); any other folder is Mag(1).
    read_only : bool
        Whether writing is refused.
    device : str, optional
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Raises
    ------
    NotFoundError, HeaderError
        If the folder does not exist, holds no mag, or its header is bad.
    UnsupportedError
        If the path is a URL, such as ``s3://``, other than ``file://``, or the mag has a format that is not read.

    Examples
    --------
    >>> mag_view = open_mag("annotation/data/2-2-1")  # doctest: +SKIP
    >>> mag_view.read(absolute_bounding_box=mag_view.bounding_box)  # doctest: +SKIP
    """
    folder = local_path(path)
    if (folder / PROPERTIES_NAME).exists():
        raise NotFoundError(f"{folder} is a dataset, not a mag; open it with Dataset.open().")
    found = (mag_in_image(folder) or mag_named(folder) or Mag(1)) if mag is None else Mag(mag)
    return MagView._without_dataset(folder, found, read_only, device)
