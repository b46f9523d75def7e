"""What a path leads to: a dataset, a folder of mags without one, or a single mag."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wkgpu import (
    COLOR_CATEGORY,
    SEGMENTATION_CATEGORY,
    Dataset,
    Layer,
    LayerCategoryType,
    Mag,
    MagView,
    NDBoundingBox,
    open_mag,
)
from wkgpu.dataset.discovery import find_mags
from wkgpu.dataset.metadata.image_properties import is_dataset
from wkgpu.dataset.metadata.properties import PROPERTIES_NAME
from wkgpu.errors import ArgumentError, MagNotFoundError, NotFoundError
from wkgpu.storage.formats import markers


@dataclass(frozen=True)
class ListedLayer:
    """A layer of a dataset, or a folder of mags.

    Attributes
    ----------
    category : str or None
        None where there is no dataset to say it.
    dtype, num_channels, data_format
        Of its mags.
    bounding_box : NDBoundingBox
        In Mag(1).
    mags : list of MagView
        From the finest to the coarsest. Their files are not opened yet if they come from a dataset.
    """

    name: str
    category: LayerCategoryType | None
    dtype: np.dtype[np.generic]
    num_channels: int
    data_format: str
    bounding_box: NDBoundingBox
    mags: list[MagView]


@dataclass(frozen=True)
class PathContent:
    """A path that holds voxels.

    Attributes
    ----------
    kind : str
        ``"dataset"``, ``"folder of mags"`` or ``"mag"``.
    dataset : Dataset or None
        The dataset, where there is one.
    layers : list of ListedLayer
        What it holds; a folder without a dataset is one layer.
    """

    path: Path
    kind: str
    dataset: Dataset | None
    layers: list[ListedLayer]


@dataclass(frozen=True)
class NamedMag:
    """A mag that the arguments of `wkgpu read` name.

    Attributes
    ----------
    category : str
        Of its layer; without a dataset, guessed by the dtype: a segmentation has integers of 32 or 64 bits.
    is_guessed : bool
        Whether it was.
    voxel_size : tuple of float or None
        Nanometers along x, y and z of a voxel of this mag, where a dataset says it.
    """

    mag_view: MagView
    category: LayerCategoryType
    is_guessed: bool
    voxel_size: tuple[float, float, float] | None


def content_of(path: Path) -> PathContent:
    """Return everything that a path holds.

    Raises
    ------
    NotFoundError
        If there are no voxels at that path.
    """
    if is_dataset(path):
        dataset = Dataset.open(path, read_only=True)
        return PathContent(path, "dataset", dataset, [_listed(layer) for layer in dataset.layers.values()])
    paths = mag_folders(path)
    mags = [open_mag(folder, mag, read_only=True) for mag, folder in paths.items()] or [single_mag(path)]
    finest = mags[0]  # its box is the tightest: that of a coarse mag is rounded up to whole shards
    info = finest.info
    layer = ListedLayer(
        path.absolute().name,
        None,
        info.voxel_type,
        info.num_channels,
        info.data_format.value,
        finest.bounding_box,
        mags,
    )
    return PathContent(path, "folder of mags" if paths else "mag", None, [layer])


def find_mag(path: Path, names: Sequence[str], device: str | None) -> NamedMag:
    """Return the mag at a path.

    Parameters
    ----------
    path : Path
        A dataset, a folder of mags, or a mag's folder.
    names : sequence of str
        What the path does not say yet: layer and mag, the mag alone, or nothing.
    device : str or None
        Where to read to.

    Raises
    ------
    NotFoundError, LayerNotFoundError, MagNotFoundError
        If there is no such mag; the message names those that there are.
    ArgumentError
        If a name is missing or is no mag.
    """
    if is_dataset(path):
        return _mag_of_dataset(Dataset.open(path, read_only=True, device=device), names)
    if not names:
        if known := mag_folders(path):
            raise ArgumentError(f"{path} holds several mags; name one of {listing(known)} after it.")
        mag_view = single_mag(path, device)
    else:
        mag_view = loose_mag(path, names, device)
    dtype = mag_view.get_dtype()
    looks_like_ids = dtype.kind in "iu" and dtype.itemsize >= 4
    return NamedMag(mag_view, SEGMENTATION_CATEGORY if looks_like_ids else COLOR_CATEGORY, True, None)


def loose_mag(path: Path, names: Sequence[str], device: str | None, read_only: bool = True) -> MagView:
    """Open a mag that belongs to no dataset: what names lead to from a path, of which the last is that of the mag.

    Raises
    ------
    NotFoundError, MagNotFoundError
        If there is no such mag; the message names those that there are.
    ArgumentError
        If the folder is a mag itself.
    """
    folder, mag = path.joinpath(*names[:-1]), parse_mag(names[-1])
    known = mag_folders(folder)
    if not known:
        single_mag(folder)  # or an error that says what is wrong with the folder
        raise ArgumentError(f"{folder} is a single mag; leave out {names[-1]!r}.")
    if mag not in known:
        raise MagNotFoundError(f"{folder} has no mag {mag}; it has {listing(known)}.")
    return open_mag(known[mag], mag, read_only=read_only, device=device)


def _mag_of_dataset(dataset: Dataset, names: Sequence[str]) -> NamedMag:
    if not names:
        raise ArgumentError(f"{dataset.path} is a dataset; name a layer and a mag: {listing(dataset.layers)}.")
    layer = dataset.get_layer(names[0])
    if len(names) == 1:
        raise ArgumentError(f"name a mag of layer {layer.name!r} as well: {listing(layer.mags)}.")
    mag_view = layer.get_mag(parse_mag(names[1]))
    x, y, z = (float(extent * factor) for extent, factor in zip(dataset.voxel_size, mag_view.mag, strict=True))
    return NamedMag(mag_view, layer.category, False, (x, y, z))


def _listed(layer: Layer) -> ListedLayer:
    return ListedLayer(
        layer.name,
        layer.category,
        layer.dtype,
        layer.num_channels,
        layer.data_format.value,
        layer.bounding_box,
        list(layer.mags.values()),
    )


def mag_folders(folder: Path) -> dict[Mag, Path]:
    """Return the mags in a folder; none where it holds none or does not exist."""
    try:
        return {found.mag: found.array.path for found in find_mags(folder)}
    except NotFoundError:
        return {}


def single_mag(path: Path, device: str | None = None, read_only: bool = True) -> MagView:
    """Open the mag in a folder, or raise a `NotFoundError` that says what would be needed."""
    if not path.exists():
        raise NotFoundError(f"{path} does not exist.")
    try:
        return open_mag(path, read_only=read_only, device=device)
    except NotFoundError as error:
        raise NotFoundError(
            f"{path} is no dataset (a folder with {PROPERTIES_NAME}), no folder of mags, and no mag (a folder with "
            f"{markers()})."
        ) from error


def parse_mag(name: str) -> Mag:
    """Return the mag that an argument names, or raise an `ArgumentError`."""
    try:
        return Mag(name)
    except (ValueError, AssertionError) as error:
        raise ArgumentError(f"{name!r} is not a mag; a mag is written like 1, 2-2-1 or 4.") from error


def listing(names: Iterable[object]) -> str:
    """Return names for a message."""
    return ", ".join(map(str, names)) or "none"
