"""An OME-Zarr image without a properties file, as a dataset of one layer that is read only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import log2, prod
from pathlib import Path

from wkgpu.dataset.metadata.element_class import element_class_of
from wkgpu.dataset.metadata.group_file import GroupFile
from wkgpu.dataset.metadata.json_document import Document
from wkgpu.dataset.metadata.layer_category import COLOR_CATEGORY, SEGMENTATION_CATEGORY
from wkgpu.dataset.metadata.mag_name import mag_named
from wkgpu.dataset.metadata.ome import GROUP_NAME, Multiscales, ScaledArray, is_group
from wkgpu.dataset.metadata.properties import PROPERTIES_NAME, DatasetProperties
from wkgpu.dataset.metadata.properties_file import PropertiesFile, find_properties
from wkgpu.dataset.metadata.voxel_size import LengthUnit, VoxelSize
from wkgpu.errors import ArgumentError, NotFoundError, PropertiesError, ReadOnlyError, WkgpuError
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.voxel_box import triple
from wkgpu.storage.formats import open_array
from wkgpu.storage.spec import voxel_dtype
from wkgpu.storage.stored_array import StoredArray

_TOLERANCE = 0.1  # of the ratio of two scales, which some programs compute of lengths that are odd


class ImageFile(PropertiesFile):
    """The ``zarr.json`` of an image in the role of a properties file. It is never changed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path = folder / GROUP_NAME

    def exists(self) -> bool:
        """Whether the file exists."""
        return GroupFile(self.path.parent).exists()

    def load(self) -> DatasetProperties:
        """Read the file.

        Raises
        ------
        NotFoundError, StorageAccessError, PropertiesError, UnsupportedError
            If it does not exist, cannot be read, or holds no image that wkgpu can read.
        """
        document = GroupFile(self.path.parent).load()
        if document is None:
            raise NotFoundError(f"{self.path} does not exist.")
        return DatasetProperties(_properties_of(document, self.path), self.path)

    def check_writable(self) -> None:
        """Refuse to be changed."""
        raise ReadOnlyError(
            f"{self.path.parent} is an OME-Zarr image without {PROPERTIES_NAME}, which is only read; copy it with "
            "copy_dataset(), and change the copy."
        )

    def create(self, properties: DatasetProperties) -> None:
        """Refuse to be written."""
        self.check_writable()

    @contextmanager
    def change(self) -> Iterator[DatasetProperties]:
        """Refuse to be changed."""
        self.check_writable()
        yield self.load()

    @contextmanager
    def held(self) -> Iterator[DatasetProperties]:
        """Yield the properties, which no process changes."""
        yield self.load()


def is_dataset(folder: Path) -> bool:
    """Whether a folder has a properties file, or is an OME-Zarr image, and not a layer of a dataset."""
    return (folder / PROPERTIES_NAME).exists() or (_is_image(folder) and not _is_layer(folder))


def mag_in_image(path: Path) -> Mag | None:
    """Return which mag an array is by the image around it, if there is one whose folders are not named by their mags.

    Most programs call them "0", "1", "2", ..., from the finest on.
    """
    for folder in path.parents[:2]:
        with suppress(WkgpuError):
            if _is_image(folder) and not _is_layer(folder):
                (layer,) = ImageFile(folder).load().layers
                mags = {folder / listed.path: listed.mag for listed in layer.mags if listed.path is not None}
                return mags.get(path) if any(mag_named(place) is None for place in mags) else None
    return None


def _is_layer(folder: Path) -> bool:
    """Whether a folder is that of a layer of a dataset; also if that cannot be found out."""
    file = PropertiesFile(folder.parent)
    try:
        properties = file.load()
    except WkgpuError:
        return file.exists()
    names = [layer.name for layer in properties.layers] + [broken.name for broken in properties.broken_layers]
    return folder.name in names


def find_dataset(folder: Path) -> PropertiesFile:
    """Return the properties file of a dataset, or what has its role.

    Raises
    ------
    NotFoundError
        That says what the folder is instead.
    PropertiesError
        If there is neither a properties file nor metadata of Zarr that can be read.
    """
    has_properties = os.path.lexists(folder / PROPERTIES_NAME)
    return ImageFile(folder) if not has_properties and _is_image(folder) else find_properties(folder)


def _is_image(folder: Path) -> bool:
    """Whether a folder is a Zarr group; an error says if there is no image in it."""
    if not (folder / GROUP_NAME).is_file():
        return False
    document = GroupFile(folder).load()
    return document is not None and is_group(document)


def _properties_of(document: Document, file: Path) -> Document:
    """Return the properties of a dataset with an image."""
    folder = file.parent
    image = Multiscales.of(document, file) if is_group(document) else None
    if image is None or not image.arrays:
        raise NotFoundError(
            f"{folder} has no {PROPERTIES_NAME}, so it is not a dataset; it is a Zarr group without an OME-Zarr image: "
            f"{GROUP_NAME} lists no multiscales."
        )
    finest = min(image.arrays, key=lambda array: prod(array.scale))
    array = open_array(folder / finest.path)
    if len(array.axes) != len(image.axes):
        raise PropertiesError(
            f"{file}: the image has the axes {[axis.name for axis in image.axes]}, and {array.lock_file} has "
            f"{list(array.axes)}; correct one of both."
        )
    voxel_size = _voxel_size(image, array, finest, file)
    mags = {_mag(array, scaled, finest, file): scaled.path for scaled in image.arrays}
    if len(mags) < len(image.arrays):
        raise PropertiesError(f"{file}: two datasets of the image are the same mag; their scales are too similar.")
    return {
        "id": {"name": folder.name, "team": ""},
        "scale": {"factor": list(voxel_size.factor), "unit": voxel_size.unit.value},
        "dataLayers": [_layer(folder.name, image, array, mags)],
        "version": 1,
    }


def _layer(name: str, image: Multiscales, array: StoredArray, mags: dict[Mag, str]) -> Document:
    dtype, extent = voxel_dtype(array.spec.dtype), array.extent or (0, 0, 0)
    is_segmentation = dtype.kind in "iu" and image.is_label
    positions = {axis: at for at, axis in enumerate(array.axes)}
    order = {axis: positions[axis] for axis in ("c", "x", "y", "z") if axis in positions}
    layer: Document = {
        "name": name,
        "category": SEGMENTATION_CATEGORY if is_segmentation else COLOR_CATEGORY,
        "boundingBox": {"topLeft": [0, 0, 0], "width": extent[0], "height": extent[1], "depth": extent[2]},
        "dataFormat": array.data_format,
        "mags": [
            {"mag": mag.to_list(), "path": f"./{path}", "axisOrder": order}
            for mag, path in sorted(mags.items(), key=lambda entry: entry[0].to_tuple())
        ],
        "numChannels": array.spec.num_channels,
        "elementClass": element_class_of(dtype, array.spec.num_channels),
    }
    if array.extra_axes:
        layer["additionalAxes"] = [
            {"name": axis, "bounds": [0, length], "index": positions[axis]} for axis, length in array.extra_axes
        ]
    return layer


def _in_space(array: StoredArray, scale: tuple[float, ...]) -> tuple[float, float, float]:
    """Return what a scale says of x, y and z; 1 for an axis that the array does not have."""
    found = dict(zip(array.axes, scale, strict=True))
    return found.get("x", 1.0), found.get("y", 1.0), found.get("z", 1.0)


def _voxel_size(image: Multiscales, array: StoredArray, finest: ScaledArray, file: Path) -> VoxelSize:
    units = {}
    for role, axis in zip(array.axes, image.axes, strict=True):
        if role in ("x", "y", "z"):
            try:
                units[role] = LengthUnit(axis.unit or LengthUnit.NANOMETER)
            except ValueError:
                raise PropertiesError(
                    f"{file}: the unit of axis {axis.name!r} is {axis.unit!r}, which is no unit of length; correct it."
                ) from None
    size = _in_space(array, finest.scale)
    try:
        if len(set(units.values())) == 1:
            return VoxelSize(size, next(iter(units.values())))
        factors = [units.get(axis, LengthUnit.NANOMETER).nanometers for axis in "xyz"]
        return VoxelSize((size[0] * factors[0], size[1] * factors[1], size[2] * factors[2]))
    except ArgumentError as error:
        raise PropertiesError(f"{file}: {error}") from error


def _mag(array: StoredArray, scaled: ScaledArray, finest: ScaledArray, file: Path) -> Mag:
    """Return which mag an array is: its scale relative to the finest, as powers of two."""
    factors = []
    pairs = zip("xyz", _in_space(array, scaled.scale), _in_space(array, finest.scale), strict=True)
    for axis, scale, reference in pairs:
        ratio = scale / reference
        power = round(log2(ratio))
        if power < 0 or abs(ratio / 2**power - 1) > _TOLERANCE:
            raise PropertiesError(
                f"{file}: the voxels of dataset {scaled.path!r} are {ratio:.4g} times as long along {axis} as those of "
                f"{finest.path!r}; mags are powers of two: 1, 2, 4, ..."
            )
        factors.append(2**power)
    return Mag(triple(factors))
