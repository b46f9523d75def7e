"""`wkgpu info`: what a path holds, as tables or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from wkgpu import ArrayInfo, MagView, WkgpuError
from wkgpu.cli.boxes import format_box
from wkgpu.cli.console import format_bytes, format_ratio, format_shape, new_table, print_error, print_warning
from wkgpu.cli.disk import RATIO, DiskUse, disk_use
from wkgpu.cli.further_axes import format_axes
from wkgpu.cli.path_content import ListedLayer, PathContent, content_of
from wkgpu.cli.wording import for_the_command_line
from wkgpu.dataset.box_axes import further_axes
from wkgpu.dataset.leftovers import leftovers
from wkgpu.errors import UnsupportedError

_REMOVAL = "The next change in its folder (a mag added or deleted, a mag compressed, a shard written) removes it."


@dataclass(frozen=True)
class MagReport:
    """What there is to say about a mag; `info` and `use` are None where `error` says why.

    Attributes
    ----------
    is_supported : bool
        False if the mag may be as good as any, and wkgpu does not read its format or its kind of storage.
    """

    mag_view: MagView
    info: ArrayInfo | None = None
    use: DiskUse | None = None
    error: str | None = None
    is_supported: bool = True

    @classmethod
    def of(cls, mag_view: MagView) -> MagReport:
        """Look at a mag; one that cannot be opened does not keep the others from being shown."""
        try:
            return cls(mag_view, mag_view.info, disk_use(mag_view))
        except (WkgpuError, OSError) as error:
            is_supported = not isinstance(error, UnsupportedError)
            return cls(mag_view, error=for_the_command_line(str(error)), is_supported=is_supported)

    @property
    def codec(self) -> str:
        """How chunks are encoded."""
        return self.mag_view.info.codec


LayerReports = list[tuple[ListedLayer, list[MagReport]]]


def show_info(path: Path, as_json: bool, console: Console) -> bool:
    """Print what a path holds; returns whether all of it that wkgpu can read could be opened.

    Raises
    ------
    NotFoundError, PropertiesError
        If the path leads to no voxels.
    """
    content = content_of(path)
    report = [(layer, [MagReport.of(mag_view) for mag_view in layer.mags]) for layer in content.layers]
    if as_json:
        text = json.dumps(_document(content, report), indent=2)
        console.print(text, markup=False, soft_wrap=True)
    else:
        _print_tables(content, report, console)
    failed = [mag for _, mags in report for mag in mags if mag.error is not None]
    for mag in failed:
        (print_error if mag.is_supported else print_warning)(str(mag.error))
    return not any(mag.is_supported for mag in failed)


def _print_tables(content: PathContent, report: LayerReports, console: Console) -> None:
    console.print(_title(content))
    if not report:
        console.print("It has no layers yet.")
        return
    columns = ["Layer", "Category", "Type", "Channels", "Format", "Bounding box"]
    has_axes = any(further_axes(layer.bounding_box) for layer, _ in report)
    layers = new_table(*columns, *(["Further axes"] if has_axes else []), numbers=["Channels"])
    mags = new_table(
        "Layer", "Mag", "Chunk", "Shard", "Codec", "Shard files", "On disk", "Ratio",
        numbers=["Shard files", "On disk", "Ratio"],
    )  # fmt: skip
    for layer, mag_reports in report:
        layers.add_row(
            escape(layer.name),
            layer.category or "-",
            layer.dtype.name,
            str(layer.num_channels),
            layer.data_format,
            format_box(layer.bounding_box),
            *([escape(format_axes(layer.bounding_box))] if has_axes else []),
        )
        for position, row in enumerate(_mag_rows(mag_reports)):
            # In a terminal a layer's name stands once; programs that read the lines want it in each.
            mags.add_row("" if position and console.is_terminal else escape(layer.name), *row)
        mags.add_section()
    for table in (layers, mags):
        console.print()
        console.print(table)
    console.print()
    console.print("Bounding box: x,y,z,width,height,depth in Mag(1), for `wkgpu read --box`.", style="dim")
    if has_axes:
        console.print("Further axes: coordinates of which `wkgpu read --at` takes one along each axis.", style="dim")
    console.print(RATIO, style="dim")
    for path in leftovers(content.path):
        console.print(f"{escape(str(path))} is in use by another process, or left over. {_REMOVAL}", soft_wrap=True)


def _title(content: PathContent) -> str:
    if content.dataset is None:
        return f"[bold]{escape(content.layers[0].name)}[/]: a {content.kind} without a dataset"
    size = content.dataset.voxel_size_with_unit
    extents = " x ".join(f"{extent:g}" for extent in size.factor)
    return f"[bold]{escape(content.dataset.name)}[/]: a dataset, one voxel is {extents} {size.unit.value}"


def _mag_rows(mags: list[MagReport]) -> Iterator[tuple[str, ...]]:
    for mag in mags:
        if mag.info is None or mag.use is None:
            yield str(mag.mag_view.mag), "cannot be read"
            continue
        yield (
            str(mag.mag_view.mag),
            format_shape(mag.info.chunk_shape),
            format_shape(mag.info.shard_shape),
            mag.codec,
            f"{mag.use.shard_files:,}",
            format_bytes(mag.use.bytes_on_disk),
            format_ratio(mag.use.ratio),
        )


def _document(content: PathContent, report: LayerReports) -> dict[str, Any]:
    dataset = content.dataset
    unit = None
    if dataset is not None:
        size = dataset.voxel_size_with_unit
        unit = {"factor": list(size.factor), "unit": size.unit.value}
    return {
        "path": str(content.path),
        "kind": content.kind,
        "name": dataset.name if dataset is not None else content.layers[0].name,
        "voxel_size": unit,
        "layers": [
            {
                "name": layer.name,
                "category": layer.category,
                "dtype": layer.dtype.name,
                "num_channels": layer.num_channels,
                "data_format": layer.data_format,
                "bounding_box": [*layer.bounding_box.topleft_xyz, *layer.bounding_box.size_xyz],
                "further_axes": {axis: [at.start, at.stop] for axis, at in further_axes(layer.bounding_box).items()},
                "mags": [_mag_document(mag) for mag in mags],
            }
            for layer, mags in report
        ],
        "leftovers": [str(found) for found in leftovers(content.path)],
    }


def _mag_document(mag: MagReport) -> dict[str, Any]:
    document: dict[str, Any] = {"mag": str(mag.mag_view.mag), "path": str(mag.mag_view.path)}
    if mag.info is None or mag.use is None:
        return document | {"error": mag.error}
    return document | {
        "chunk_shape": list(mag.info.chunk_shape),
        "shard_shape": list(mag.info.shard_shape),
        "codec": mag.codec,
        "shard_files": mag.use.shard_files,
        "bytes_on_disk": mag.use.bytes_on_disk,
        "decoded_bytes": mag.use.decoded_bytes,
        "compression_ratio": mag.use.ratio,
    }
