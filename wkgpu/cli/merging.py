"""`wkgpu merge`: a volume annotation into the layer that it was made on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from wkgpu import Layer, Mag, MagView, SegmentationLayer
from wkgpu.cli.console import new_table
from wkgpu.cli.jobs import executor_of
from wkgpu.cli.mag_selection import layer_name, select_mags
from wkgpu.cli.path_content import listing, parse_mag
from wkgpu.errors import ArgumentError, MagNotFoundError, UnsupportedError
from wkgpu.operations.jobs import Executor


def merge_annotation(
    path: Path, layer: str, annotation: Path, mag: str | None, device: str | None, jobs: int, console: Console
) -> None:
    """Merge all mags that an annotation and a layer both have, or one of them, and print what was merged.

    Parameters
    ----------
    path : Path
        The dataset.
    layer : str
        Which of its layers changes.
    annotation : Path
        A folder of mags, or the folder of one.
    mag : str, optional
        The only one to merge.
    jobs : int
        How many jobs run at a time.

    Raises
    ------
    MagNotFoundError
        If they have no mag in common.
    ArgumentError, UnsupportedError
        If the annotation is a dataset of several layers, or an archive.
    WkgpuError
        What the library raises.
    """
    selection = select_mags(path, [layer], device)
    base = {mag_view.mag: mag_view for mag_view in selection.mags}
    overlay = _mags_of_annotation(annotation, device)
    wanted = set(base) if mag is None else {parse_mag(mag)}
    common = [known for known in base if known in overlay and known in wanted]
    if not common:
        raise MagNotFoundError(
            f"Layer {layer!r} has the mags {listing(base)}, and {annotation} {listing(overlay)}; there is nothing to "
            f"merge{'' if mag is None else f' in mag {mag}'}."
        )
    table = new_table("Layer", "Mag", "Files merged", numbers=["Files merged"])
    try:
        with executor_of(jobs) as executor:
            for known in common:
                files = sum(1 for _ in overlay[known].get_bounding_boxes_on_disk())
                text = f"Merging into {layer} {known}"
                base[known].merge_with_view(overlay[known], executor, progress_desc=text)
                table.add_row(escape(layer_name(base[known])), str(known), f"{files:,}")
                if known == common[0] and selection.dataset is not None:
                    _raise_largest_segment_id(selection.dataset.get_layer(layer), overlay[known], executor, console)
    finally:
        if table.row_count:
            console.print(table)
    _print_rest(base, common, console)


def _mags_of_annotation(path: Path, device: str | None) -> Mapping[Mag, MagView]:
    if path.is_file():
        raise UnsupportedError(
            f"{path} is a file; unpack it, and give the folder of mags, with names like 1 and 2-2-1."
        )
    selection = select_mags(path, [], device, read_only=True)
    if selection.dataset is not None and not selection.names and len(selection.dataset.layers) != 1:
        raise ArgumentError(
            f"{path} is a dataset with the layers {listing(selection.dataset.layers)}; give the folder of one."
        )
    return {mag_view.mag: mag_view for mag_view in selection.mags}


def _raise_largest_segment_id(layer: Layer, overlay: MagView, executor: Executor | None, console: Console) -> None:
    """Raise what the properties file says about the largest id, if an annotation has brought a larger one."""
    if not isinstance(layer, SegmentationLayer) or layer.largest_segment_id is None:
        return
    boxes = list(overlay.get_bounding_boxes_on_disk())
    if not boxes:
        return
    whole = reduce(lambda one, other: one.extended_by(other), boxes)  # its files, which may reach beyond its own box
    largest = overlay.get_view(absolute_bounding_box=whole, read_only=True).largest_id(executor)
    if largest > layer.largest_segment_id:
        layer.largest_segment_id = largest
        console.print(f"The largest segment id of {escape(layer.name)} is {largest} now.")


def _print_rest(base: Mapping[Mag, MagView], common: list[Mag], console: Console) -> None:
    if rest := [mag for mag in base if mag not in common]:
        console.print(
            f"[yellow]Not merged:[/] {listing(rest)}. These mags are unchanged; `wkgpu downsample --again` "
            "recomputes all but the finest."
        )
