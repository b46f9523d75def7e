"""OME-NGFF metadata: what the ``zarr.json`` of a group says of the mags in it.

Source: the specification of OME-NGFF, https://ngff.openmicroscopy.org, versions 0.4 and 0.5. In 0.5 all is in
``attributes.ome``, in 0.4 in ``attributes``; some writers put 0.4 into the former. What WEBKNOSSOS writes is 0.5, with
scales in nanometers.

As in `properties`, the object here is a view of the JSON document: it changes the keys that it knows in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isclose
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec

from wkgpu.dataset.metadata.json_document import Document
from wkgpu.dataset.metadata.voxel_size import LengthUnit, VoxelSize
from wkgpu.errors import PropertiesError
from wkgpu.geometry.mag import Mag

GROUP_NAME = "zarr.json"

_KINDS = {"c": "channel", "t": "time", "x": "space", "y": "space", "z": "space"}
_Text: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[^\x00\ud800-\udfff]*\Z")]  # part of a path


class Axis(msgspec.Struct):
    """An axis of the arrays of an image."""

    name: _Text
    type: str | None = None
    unit: str | None = None


class _Transformation(msgspec.Struct):
    type: str
    scale: list[float] | None = None


class _Entry(msgspec.Struct, rename="camel"):
    path: _Text
    coordinate_transformations: list[_Transformation] = []


class _Image(msgspec.Struct, rename="camel"):
    axes: list[Axis]
    datasets: list[_Entry]
    coordinate_transformations: list[_Transformation] | None = None


class ScaledArray(NamedTuple):
    """An array of an image.

    Attributes
    ----------
    path : str
        Of its folder, relative to the group's.
    scale : tuple of float
        Extents of a voxel along each axis of the image.
    """

    path: str
    scale: tuple[float, ...]


def new_group() -> Document:
    """Return the metadata of a Zarr group."""
    return {"zarr_format": 3, "node_type": "group"}


def is_group(document: Document) -> bool:
    """Whether metadata are those of a group."""
    return document.get("node_type") == "group"


def forget_consolidated(document: Document) -> bool:
    """Remove the copy that a group may have of the metadata in it, which a change there makes wrong.

    Readers look at the metadata themselves where there is no copy. Returns whether there was one.
    """
    has_copy = document.get("consolidated_metadata") is not None
    if has_copy:
        del document["consolidated_metadata"]
    return has_copy


class Multiscales:
    """The image of a group: the first one of its ``multiscales``.

    Parameters
    ----------
    document : dict
        The group's metadata. They are changed in place.
    file : Path
        Where they were read, for messages.

    Raises
    ------
    PropertiesError
        Naming the file, if the image cannot be understood.

    Examples
    --------
    >>> image = Multiscales.new(("c", "x", "y", "z"), Path("color/zarr.json"))
    >>> image.put("2-2-1", Mag("2-2-1"), VoxelSize((11.5, 11.5, 25)))
    >>> image.arrays
    [ScaledArray(path='2-2-1', scale=(1.0, 23.0, 23.0, 25.0))]
    """

    def __init__(self, document: Document, file: Path) -> None:
        self.document = document
        self._file = file
        said = _place(document)["multiscales"]
        if not isinstance(said, list) or not said or not isinstance(said[0], dict):
            raise PropertiesError(f"{file}: multiscales is {said!r:.60}, and no list of objects; correct it.")
        self._said: Document = said[0]
        try:
            self._image = msgspec.convert(self._said, _Image)
        except (msgspec.ValidationError, UnicodeError) as error:
            raise PropertiesError(f"{file}: multiscales: {error}. Correct it, or restore the file.") from error
        _ = self.arrays  # and its errors

    @classmethod
    def new(cls, axes: Sequence[str], file: Path, group: Document | None = None) -> Multiscales:
        """Return an image without arrays, in a new group, or in one that has no image yet; all else in that stays."""
        image: Document = {"axes": [_axis(name) for name in axes], "datasets": []}
        document = new_group() if group is None else group
        attributes = document["attributes"] = document.get("attributes") or {}
        attributes["ome"] = (attributes.get("ome") or {}) | {"version": "0.5", "multiscales": [image]}
        return cls(document, file)

    @classmethod
    def of(cls, document: Document, file: Path) -> Multiscales | None:
        """Return the image of a group, None if it has none.

        Raises
        ------
        PropertiesError
            If it cannot be understood, or there are no attributes that could have one.
        """
        if "multiscales" in _place(document):
            return cls(document, file)
        attributes = document.get("attributes")
        ome = attributes.get("ome") if isinstance(attributes, dict) else None
        for name, said in (("attributes", attributes), ("attributes.ome", ome)):
            if said is not None and not isinstance(said, dict):
                raise PropertiesError(f"{file}: {name} is {said!r:.60}, and no object; correct it.")
        return None

    @property
    def axes(self) -> list[Axis]:
        """The axes, in the order of the arrays'."""
        return self._image.axes

    @property
    def is_label(self) -> bool:
        """Whether the group says that its voxels are labels."""
        attributes = self.document["attributes"]
        places = attributes, attributes.get("ome")
        return any(isinstance(place, dict) and "image-label" in place for place in places)

    @property
    def arrays(self) -> list[ScaledArray]:
        """The arrays, in the file's order.

        Raises
        ------
        PropertiesError
            If one of them has no scale.
        """
        common = self._scale(self._image.coordinate_transformations or [], "multiscales")
        found = []
        for entry in self._image.datasets:
            scale = self._scale(entry.coordinate_transformations, f"the dataset {entry.path!r}")
            if scale is None and common is None:
                raise PropertiesError(
                    f"{self._file}: the dataset {entry.path!r} has no coordinateTransformations with a scale; add one."
                )
            ones = (1.0,) * len(self.axes)
            pairs = zip(scale or ones, common or ones, strict=True)
            found.append(ScaledArray(entry.path, tuple(one * other for one, other in pairs)))
        return found

    def _scale(self, transformations: Sequence[_Transformation], where: str) -> tuple[float, ...] | None:
        for transformation in transformations:
            if transformation.type == "scale" and transformation.scale is not None:
                scale = tuple(transformation.scale)
                if len(scale) != len(self.axes) or not all(0 < factor < float("inf") for factor in scale):
                    raise PropertiesError(
                        f"{self._file}: {where} has the scale {list(scale)}, and {len(self.axes)} axes; a scale has a "
                        "number above 0 for each axis."
                    )
                return scale
        return None

    # ---- Changes

    def put(self, path: str, mag: Mag, voxel_size: VoxelSize) -> None:
        """List an array, after those that are as fine; of one that is listed, correct the scale."""
        extents = dict(zip("xyz", voxel_size.to_nanometer(), strict=True))
        factors = dict(zip("xyz", mag.to_tuple(), strict=True))
        common = self._scale(self._image.coordinate_transformations or [], "multiscales") or (1.0,) * len(self.axes)
        scale = [
            1.0 if axis.name not in extents else extents[axis.name] * factors[axis.name] / _unit(axis) / shared
            for axis, shared in zip(self.axes, common, strict=True)
        ]
        whole = tuple(map(float.__mul__, scale, common))
        known = {array.path: array.scale for array in self.arrays}
        if path not in known:
            before = [sum(other) <= sum(whole) for other in known.values()]
            at = before.index(False) if False in before else len(before)
            self._said["datasets"].insert(at, {"path": path} | _scaled([], scale))
        elif not all(map(isclose, known[path], whole)):
            entry = next(entry for entry in self._said["datasets"] if entry["path"] == path)
            entry |= _scaled(entry.get("coordinateTransformations", []), scale)
        self._image = msgspec.convert(self._said, _Image)

    def remove(self, path: str) -> None:
        """Take an array out of the list, if it is there."""
        self._said["datasets"][:] = [entry for entry in self._said["datasets"] if entry["path"] != path]
        self._image = msgspec.convert(self._said, _Image)


def _place(document: Document) -> Mapping[str, Any]:
    """Return the object that has ``multiscales``, or one that has not."""
    attributes = document.get("attributes")
    if not isinstance(attributes, dict):
        return {}
    ome = attributes.get("ome")
    return ome if isinstance(ome, dict) and "multiscales" in ome else attributes


def _scaled(transformations: Sequence[Document], scale: Sequence[float]) -> Document:
    """Return the transformations of an array with this scale, which comes before all others."""
    others = [known for known in transformations if known["type"] != "scale"]
    return {"coordinateTransformations": [{"type": "scale", "scale": list(scale)}, *others]}


def _axis(name: str) -> Document:
    kind = _KINDS.get(name)
    found: Document = {"name": name} if kind is None else {"name": name, "type": kind}
    return found | {"unit": LengthUnit.NANOMETER.value} if kind == "space" else found


def _unit(axis: Axis) -> float:
    """Return the nanometers of an axis's unit; those of one that is unknown are not converted."""
    try:
        return LengthUnit(axis.unit or LengthUnit.NANOMETER).nanometers
    except ValueError:
        return 1.0
