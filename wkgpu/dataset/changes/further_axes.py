"""Whether layers can have mags of other layers, as far as axes besides channels, x, y and z go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wkgpu.dataset.box_axes import further_axes, in_space
from wkgpu.dataset.metadata.data_format import DataFormat
from wkgpu.errors import MismatchError
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.operations.coordinates import said
from wkgpu.storage.formats import known_format

if TYPE_CHECKING:
    from wkgpu.dataset.layer import Layer


def axes_problem(layer: Layer, data_format: DataFormat) -> str | None:
    """Return what is said of a layer with further axes that a format does not have."""
    several = {axis: at for axis, at in further_axes(layer.bounding_box).items() if at != range(1)}
    if not several or _has_own_axes(data_format):
        return None
    return (
        f"it has the axes {list(several)} besides channels, x, y and z, which {data_format.value} does not have; copy "
        "it as zarr3."
    )


def check_further_axes(layer: Layer, box: NDBoundingBox, *, is_reference: bool = False) -> None:
    """Check that a layer can get a mag of a layer with a box, as far as axes besides channels, x, y and z go.

    Parameters
    ----------
    is_reference : bool
        Whether the array stays as it is; a copy is made as long as the layer needs it.

    Raises
    ------
    MismatchError
        If one of both lacks an axis, or has coordinates that arrays of the other one do not have.
    """
    ours, theirs = further_axes(layer.bounding_box), further_axes(box)
    for axis in {**ours, **theirs}:
        own, other = ours.get(axis, range(1)), theirs.get(axis, range(1))
        fits = not layer.mags or (own.start <= other.start and other.stop <= own.stop)
        if is_reference:
            fits = fits and other.start <= own.start and own.stop <= other.stop
        if own != other and not (fits and axis in ours and axis in theirs):
            raise MismatchError(
                f"Layer {layer.name!r} of {layer.dataset.path} has the coordinates {said(own)} along the axis "
                f"{axis!r}, and the mag that it would get {said(other)}; add it to a layer with the box {box!r}."
            )


def box_of_copy(layer: Layer, data_format: DataFormat) -> NDBoundingBox:
    """Return the box of a copy that does not exist yet, with further axes; others get their usual order."""
    box = layer.bounding_box
    return box if further_axes(box) and _has_own_axes(data_format) else in_space(box)


def _has_own_axes(data_format: DataFormat) -> bool:
    known = known_format(data_format.value)
    return known is not None and known.has_own_axes
