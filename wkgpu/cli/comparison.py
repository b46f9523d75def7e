"""`wkgpu equal`: whether two datasets, layers or mags hold the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from rich.console import Console
from rich.markup import escape

from wkgpu import BoundingBox, Layer, MagView, View
from wkgpu.cli.boxes import format_box
from wkgpu.cli.jobs import executor_of
from wkgpu.cli.mag_selection import MagSelection, layer_name, select_mags
from wkgpu.dataset.box_axes import further_axes, in_space, lengths_along
from wkgpu.operations.coordinates import said
from wkgpu.operations.jobs import Executor

Name: TypeAlias = tuple[str, str]
"""Layer and mag; without a mag, the layer itself."""

_SMALL = 64**3  # voxels of Mag(1): a box that says well enough where a difference is


def are_equal(path: Path, other: Path, names: Sequence[str], device: str | None, jobs: int, console: Console) -> bool:
    """Compare all mags, print what comes out, and return whether there is no difference.

    How voxels are stored does not count: chunks, shards, codecs. A layer or mag that only one side has is a difference,
    and so are a voxel size, category, type or bounding box, where both sides belong to datasets that say them.

    Parameters
    ----------
    path, other : Path
        Datasets, folders of mags, or folders of one mag; see `mag_selection.select_mags`.
    names : sequence of str
        Layer and mag to compare alone.
    jobs : int
        How many parts are compared at a time.

    Raises
    ------
    WkgpuError
        What the library raises: files that are missing or damaged are no difference.
    """
    sides = select_mags(path, names, device, read_only=True), select_mags(other, names, device, read_only=True)
    has_one_layer = all(_has_one_layer(side) for side in sides)
    mags, others = (_mags(side, has_one_layer) for side in sides)
    layers, other_layers = (
        _layers(side, has_one_layer) if all(side.dataset for side in sides) else {} for side in sides
    )
    differences = [
        *_only_in_one({*layers, *mags}, {*other_layers, *others}, (path, other)),
        *_differences_of_datasets(*sides),
        *(
            line
            for name in layers
            if name in other_layers
            for line in _of_layers(name, layers[name], other_layers[name])
        ),
    ]
    for difference in differences:
        console.print(f"[red]{escape(difference)}[/]")
    with executor_of(jobs) as executor:
        for name, mag_view in mags.items():
            if name in others:
                where = _difference(mag_view, others[name], f"Comparing {_text(name)}", executor)
                console.print(f"{escape(_text(name))}: " + ("equal" if where is None else f"[red]{escape(where)}[/]"))
                differences += [] if where is None else [where]
    return not differences


# ---- What there is on each side


def _has_one_layer(side: MagSelection) -> bool:
    """Whether a side is a layer or a part of one, so that the layer's name does not count."""
    return side.dataset is None or bool(side.names)


def _mags(side: MagSelection, has_one_layer: bool) -> dict[Name, MagView]:
    return {("" if has_one_layer else layer_name(mag), str(mag.mag)): mag for mag in side.mags}


def _layers(side: MagSelection, has_one_layer: bool) -> dict[Name, Layer]:
    layers = side.dataset.layers if side.dataset else {}
    return {("" if has_one_layer else name, ""): layers[name] for name in side.names[:1] or layers}


def _text(name: Name) -> str:
    layer, mag = name
    return f"{layer} {mag}".strip() if layer else f"mag {mag}" if mag else "the layer"


# ---- Differences of what the properties files say


def _only_in_one(names: set[Name], others: set[Name], paths: tuple[Path, Path]) -> Iterator[str]:
    alone = names ^ others
    for layer, mag in sorted(alone):
        if not mag or (layer, "") not in alone:  # not also each mag of a layer
            yield f"{_text((layer, mag))}: only in {paths[0] if (layer, mag) in names else paths[1]}"


def _differences_of_datasets(one: MagSelection, other: MagSelection) -> Iterator[str]:
    if one.dataset is None or other.dataset is None:
        return
    sizes = one.dataset.voxel_size, other.dataset.voxel_size
    if sizes[0] != sizes[1]:
        yield f"the voxel sizes differ: {sizes[0]} and {sizes[1]} nm"


def _of_layers(name: Name, one: Layer, other: Layer) -> Iterator[str]:
    facts = {
        "categories": (one.category, other.category),
        "types": (f"{one.num_channels} x {one.dtype}", f"{other.num_channels} x {other.dtype}"),
        "bounding boxes": (format_box(one.bounding_box), format_box(other.bounding_box)),
    }
    for what, (left, right) in facts.items():
        if left != right:
            yield f"{_text(name)}: the {what} differ: {left} and {right}"


# ---- Differences of voxels


def _difference(one: MagView, other: MagView, text: str, executor: Executor | None) -> str | None:
    """Say where two mags differ, if they do. Their boxes may differ: what lies outside of one is 0 there."""
    kinds = [f"{mag.info.num_channels} x {mag.info.voxel_type}" for mag in (one, other)]
    if kinds[0] != kinds[1]:
        return f"the types differ: {kinds[0]} and {kinds[1]}"
    ranges = [further_axes(mag.bounding_box) for mag in (one, other)]
    if lengths_along(ranges[0]) != lengths_along(ranges[1]):
        texts = (", ".join(f"{axis} {said(at)}" for axis, at in found.items()) or "none" for found in ranges)
        return f"the coordinates along further axes differ: {' and '.join(texts)}"
    boxes = [box for mag in (one, other) if not (box := in_space(mag.bounding_box)).is_empty()]
    if not boxes:
        return None
    box = boxes[0].extended_by(boxes[-1])
    if _part(one, box).content_is_equal(_part(other, box), executor=executor, progress_desc=text):
        return None
    return f"different, first in the box {format_box(_first_difference(one, other, box, executor))}"


def _first_difference(one: MagView, other: MagView, box: BoundingBox, executor: Executor | None) -> BoundingBox:
    """Return a small box, in Mag(1), in which two mags differ: half of the half of the half ..."""
    while box.volume() > _SMALL * one.mag.to_np().prod():
        axis = int((box.size.to_np() // one.mag.to_np()).argmax())
        half = one.mag.to_np()[axis] * (box.size[axis] // one.mag.to_np()[axis] // 2)
        lower = BoundingBox(box.topleft, [half if axis == along else box.size[along] for along in range(3)])
        if _part(one, lower).content_is_equal(_part(other, lower), executor=executor):
            corner = [box.topleft[along] + (half if axis == along else 0) for along in range(3)]
            lower = BoundingBox(corner, [box.bottomright[along] - corner[along] for along in range(3)])
        box = lower
    return box


def _part(mag_view: MagView, box: BoundingBox) -> View:
    """Return a box of a mag, with all coordinates along further axes."""
    whole = mag_view.bounding_box.with_topleft_xyz(box.topleft).with_size_xyz(box.size)
    return mag_view.get_view(absolute_bounding_box=whole, read_only=True)
