"""Layers and mags that lie in a folder without being listed in a properties file."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from wkgpu.dataset.metadata.group_file import GroupFile
from wkgpu.dataset.metadata.layer_category import LayerCategoryType
from wkgpu.dataset.metadata.layer_properties import LayerProperties, checked_name
from wkgpu.dataset.metadata.mag_name import mag_named
from wkgpu.dataset.metadata.ome import Multiscales, is_group
from wkgpu.errors import MismatchError, NotFoundError
from wkgpu.geometry.bounding_box import BoundingBox
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.storage.formats import markers, open_array
from wkgpu.storage.stored_array import StoredArray


class FoundMag(NamedTuple):
    """A mag's folder.

    Attributes
    ----------
    mag : Mag
        The magnification that the folder's name says.
    array : StoredArray
        Its voxels.
    """

    mag: Mag
    array: StoredArray

    @property
    def bounding_box(self) -> BoundingBox:
        """The smallest box around all files that exist, in Mag(1)."""
        box = BoundingBox.empty()
        for topleft, shape in self.array.shard_boxes():
            box = box.extended_by(BoundingBox(topleft, shape))
        if self.array.extent is not None:  # where the last files hold voxels that are none
            box = box.intersected_with(BoundingBox((0, 0, 0), self.array.extent), dont_assert=True)
        return box.from_mag_to_mag1(self.mag)


def find_mags(folder: Path) -> list[FoundMag]:
    """Return the mags in a layer's folder, from the finest to the coarsest.

    Raises
    ------
    NotFoundError
        If the folder does not exist or holds no mag.
    MismatchError
        If the mags differ in dtype, channels or format.
    HeaderError
        If the header of a mag is bad.
    """
    if not folder.is_dir():
        raise NotFoundError(f"{folder} does not exist; copy the mags of the layer there first.")
    mags = []
    for path in folder.iterdir():
        mag = mag_named(path)
        if mag is not None and path.is_dir():
            with suppress(NotFoundError):  # a folder that only has the name of a mag
                mags.append(FoundMag(mag, open_array(path)))
    if not mags:
        raise NotFoundError(
            f"{folder} holds no mags: folders with names like '1' or '2-2-1' and a {markers()} in them."
        )
    mags.sort(key=lambda found: (found.mag.max_dim, found.mag.to_tuple()))
    for found in mags[1:]:
        if _kind(found.array) != _kind(mags[0].array):
            raise MismatchError(
                f"{found.array.path} holds {_kind(found.array)}, but {mags[0].array.path} {_kind(mags[0].array)}; the "
                "mags of a layer have one dtype, number of channels and format."
            )
    return mags


def find_layer(
    dataset: Path,
    name: str,
    category: LayerCategoryType,
    bounding_box: NDBoundingBox | None,
    largest_segment_id: int | None,
) -> LayerProperties:
    """Return the properties of a layer whose mags lie in its folder; see `Dataset.add_layer_for_existing_files`."""
    mags = find_mags(dataset / checked_name(name))
    _check_names(dataset / name)
    if bounding_box is None:  # of the finest mag: the files of a coarser one reach further beyond the voxels in them
        boxes = (found.bounding_box for found in mags)
        bounding_box = next((box for box in boxes if not box.is_empty()), BoundingBox.empty())
    array, has_axes = mags[0].array, type(bounding_box) is NDBoundingBox
    layer = LayerProperties.new(
        name,
        category,
        array.spec.memory_dtype,
        array.spec.num_channels,
        array.data_format,
        None if has_axes else bounding_box,
        largest_segment_id,
    )
    if array.extra_axes:
        layer.document["additionalAxes"] = [
            {"name": axis, "bounds": [0, length], "index": array.axes.index(axis)} for axis, length in array.extra_axes
        ]
    for found in mags:
        path = f"./{name}/{found.array.path.name}"
        layer.add_mag(found.mag, path, found.array.spec.shard_shape, found.array.axes)
    if has_axes:  # which are those of the arrays
        layer.bounding_box = bounding_box
    return layer


def _check_names(folder: Path) -> None:
    """Raise a `MismatchError` for an image whose folders are not named by mags: a "1" in it is the second finest."""
    file = GroupFile(folder)
    document = file.load()
    image = Multiscales.of(document, file.path) if document is not None and is_group(document) else None
    levels = [known.path for known in ([] if image is None else image.arrays) if mag_named(folder / known.path) is None]
    if any((folder / level).is_dir() for level in levels):
        raise MismatchError(
            f"{file.path} lists the arrays {levels}, whose names are no mags, so other names may be none either. Open "
            "the folder with Dataset.open(), and give its layer to add_layer_as_copy() or add_layer_as_ref()."
        )


def _kind(array: StoredArray) -> tuple[str, int, str]:
    return array.spec.dtype.name, array.spec.num_channels, array.data_format
