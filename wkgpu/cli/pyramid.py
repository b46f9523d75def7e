"""`wkgpu downsample`: coarser mags of a layer, or of all layers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from wkgpu import Dataset, Layer, Mag
from wkgpu.cli.console import format_bytes, format_shape, new_table
from wkgpu.cli.disk import bytes_in
from wkgpu.cli.jobs import executor_of
from wkgpu.cli.mag_selection import select_mags
from wkgpu.errors import ArgumentError, UnsupportedError
from wkgpu.operations.jobs import Executor


class Pyramid(NamedTuple):
    """What to make; see `Layer.downsample`.

    Attributes
    ----------
    from_mag, coarsest_mag : Mag or None
        Where to begin and to end; by default with the coarsest mag that there is, and with a thumbnail.
    mode, sampling : str
        What a block of voxels becomes, and which axes get coarser.
    again : bool
        Whether to recompute the existing coarser mags, instead of making new ones.
    """

    from_mag: Mag | None
    coarsest_mag: Mag | None
    mode: str
    sampling: str
    again: bool

    def apply(self, dataset: Dataset, layer: Layer | None, executor: Executor | None) -> None:
        """Downsample a layer, or all of them."""
        if layer is None:
            dataset.downsample(
                coarsest_mag=self.coarsest_mag,
                interpolation_mode=self.mode,
                sampling_mode=self.sampling,
                executor=executor,
            )
        elif self.again:
            layer.redownsample(interpolation_mode=self.mode, executor=executor)
        else:
            layer.downsample(
                from_mag=self.from_mag,
                coarsest_mag=self.coarsest_mag,
                interpolation_mode=self.mode,
                sampling_mode=self.sampling,
                executor=executor,
            )


def downsample_layers(
    path: Path, names: Sequence[str], pyramid: Pyramid, device: str | None, jobs: int, console: Console
) -> None:
    """Make coarser mags, and print them.

    Parameters
    ----------
    path, names, device
        A dataset, or one of its layers; see `mag_selection.select_mags`.
    jobs : int
        How many jobs run at a time.

    Raises
    ------
    ArgumentError
        If options contradict each other, or are for one layer and there is none.
    UnsupportedError
        If the mags belong to no dataset.
    WkgpuError
        What the library raises.
    """
    selection = select_mags(path, names, device)
    dataset = selection.dataset
    if dataset is None:
        raise UnsupportedError(
            f"{path} belongs to no dataset, which is needed for the voxel size; make one, and use "
            "Dataset.add_layer_for_existing_files()."
        )
    _check(selection.names, pyramid)
    layer = dataset.get_layer(selection.names[0]) if selection.names else None
    layers = list(dataset.layers.values()) if layer is None else [layer]
    known = {one.name: set(one.mags) for one in layers}
    try:
        with executor_of(jobs) as executor:
            pyramid.apply(dataset, layer, executor)
        if pyramid.again:
            known = {one.name: set(list(one.mags)[:1]) for one in layers}
    finally:
        table = _table_of_mags(layers, known)
        if table.row_count:
            console.print(table)
    if not table.row_count:
        console.print("No mags were made.")


def _check(names: Sequence[str], pyramid: Pyramid) -> None:
    if len(names) > 1:
        raise ArgumentError(f"{names[1]!r} is more than a layer; give the mag to begin with as --from.")
    if not names and (pyramid.again or pyramid.from_mag is not None):
        raise ArgumentError("--from and --again are for one layer; name it after the dataset.")
    if pyramid.again and not pyramid.from_mag is pyramid.coarsest_mag is None:
        raise ArgumentError("--again recomputes all mags but the finest; leave out --from and --to.")


def _table_of_mags(layers: Sequence[Layer], known: dict[str, set[Mag]]) -> Table:
    """Return a table of the mags that were not known before."""
    table = new_table("Layer", "Mag made", "Voxels", "On disk", numbers=["Voxels", "On disk"])
    for layer in layers:
        for mag, mag_view in layer.mags.items():
            if mag not in known[layer.name]:
                shape = mag_view.bounding_box.in_mag(mag).size_xyz
                table.add_row(escape(layer.name), str(mag), format_shape(shape), format_bytes(bytes_in(mag_view.path)))
    return table
