"""`wkgpu compress` and `wkgpu rechunk`: the same voxels in other files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from wkgpu import ArrayInfo, Dataset, MagView, open_mag
from wkgpu.cli.console import format_bytes, format_ratio, format_shape, new_table
from wkgpu.cli.disk import RATIO, DiskUse, disk_use
from wkgpu.cli.jobs import executor_of
from wkgpu.cli.mag_selection import MagSelection, layer_name, select_mags
from wkgpu.cli.options import CodecChoice, CompressionChoice
from wkgpu.dataset.readable import usable_mags
from wkgpu.dataset.shapes import Compression
from wkgpu.operations.jobs import Executor

_NUMERIC_COLUMNS = ("Before", "After", "Ratio")


class MagState(NamedTuple):
    """How a mag is stored, and what it takes."""

    info: ArrayInfo
    use: DiskUse

    @classmethod
    def of(cls, mag_view: MagView) -> MagState:
        """Look at a mag's files."""
        return cls(mag_view.info, disk_use(mag_view))

    @property
    def description(self) -> str:
        """For people: codec, chunk, shard."""
        return f"{self.info.codec} {format_shape(self.info.chunk_shape)}/{format_shape(self.info.shard_shape)}"


class Rewrite(NamedTuple):
    """What a command does.

    Attributes
    ----------
    change : callable
        ``change(mag_view, target, executor)`` rewrites a mag in place, or as a copy into the dataset at a path.
    copy : callable
        ``copy(dataset, target, executor)`` copies a whole dataset.
    """

    change: Callable[[MagView, Path | None, Executor | None], None]
    copy: Callable[[Dataset, Path, Executor | None], object]


def compressing(codec: CompressionChoice | None) -> Rewrite:
    """Return what `wkgpu compress` does: without a codec, only what is raw changes."""
    wanted = True if codec is None else _compression(codec)

    def change(mag_view: MagView, target: Path | None, executor: Executor | None) -> None:
        text = f"Compressing {layer_name(mag_view)} {mag_view.name}"
        mag_view.compress(target, executor=executor, codec=wanted, progress_desc=text)

    def copy(dataset: Dataset, target: Path, executor: Executor | None) -> object:
        return dataset.copy_dataset(target, compress=wanted, exists_ok=True, executor=executor)

    return Rewrite(change, copy)


def rechunking(chunk: int, shard: int, codec: CodecChoice | None) -> Rewrite:
    """Return what `wkgpu rechunk` does: without a codec, each mag keeps its own."""
    wanted = None if codec is None else _compression(codec)

    def change(mag_view: MagView, target: Path | None, executor: Executor | None) -> None:
        text = f"Rechunking {layer_name(mag_view)} {mag_view.name}"
        compress = mag_view.info.codecs if wanted is None else wanted
        mag_view.rechunk(chunk, shard, compress=compress, target_path=target, executor=executor, progress_desc=text)

    def copy(dataset: Dataset, target: Path, executor: Executor | None) -> object:
        return dataset.copy_dataset(
            target, chunk_shape=chunk, shard_shape=shard, compress=wanted, exists_ok=True, executor=executor
        )

    return Rewrite(change, copy)


def _compression(codec: CodecChoice | CompressionChoice) -> Compression:
    return cast("Compression", codec.value)


def rewrite_mags(
    path: Path,
    names: Sequence[str],
    rewrite: Rewrite,
    target: Path | None,
    device: str | None,
    jobs: int,
    console: Console,
) -> None:
    """Rewrite mags, and print what each of them was and is.

    Parameters
    ----------
    path, names, device
        Which mags; see `mag_selection.select_mags`.
    target : Path, optional
        Dataset that receives copies; without it, the mags change.
    jobs : int
        How many jobs run at a time.

    Raises
    ------
    WkgpuError
        What the library raises. Mags before the one that failed are done, and printed.
    """
    selection = select_mags(path, names, device, read_only=target is not None)
    mags = _usable(selection)
    mags = mags if target else _own(selection, mags, console)
    if not mags:
        console.print("There are no mags to rewrite.")
        return
    before = {mag_view.path: MagState.of(mag_view) for mag_view in mags}
    table = new_table("Layer", "Mag", "Was", "Is", "Before", "After", "Ratio", numbers=_NUMERIC_COLUMNS)
    try:
        with executor_of(jobs) as executor:
            if target is not None and selection.dataset is not None and not selection.names:
                rewrite.copy(selection.dataset, target, executor)
            for mag_view in mags:
                if target is None or selection.dataset is None or selection.names:
                    rewrite.change(mag_view, target, executor)
                _add_row(table, mag_view, before[mag_view.path], MagState.of(_result(mag_view, selection, target)))
    finally:
        if table.row_count:
            console.print(table)
    console.print("Was, is: codec, chunk/shard. Before, after: bytes on disk.", style="dim")
    console.print(RATIO, style="dim")


def _usable(selection: MagSelection) -> list[MagView]:
    """Return the mags that can be read; warnings name the others of a dataset, and what was named is an error later."""
    if selection.dataset is None or selection.names:
        return selection.mags
    return [mag for layer in selection.dataset.layers.values() for mag in usable_mags(layer, "rewritten")]


def _own(selection: MagSelection, mags: list[MagView], console: Console) -> list[MagView]:
    """Return the mags whose files belong to the dataset; one that was named is not left out in silence."""
    if selection.dataset is None or selection.dataset.read_only or len(selection.names) == 2:
        return mags
    own = []
    for mag_view in mags:
        if mag_view.read_only:  # only such mags are, in a dataset that can be changed
            real = os.path.realpath(mag_view.path)
            where = escape(f"{layer_name(mag_view)} {mag_view.name} belongs to another dataset, {real}")
            console.print(f"[yellow]Left as it is:[/] {where}")
        else:
            own.append(mag_view)
    return own


def _result(mag_view: MagView, selection: MagSelection, target: Path | None) -> MagView:
    """Return the mag that there is now."""
    if target is None:
        return mag_view
    if selection.dataset is None:
        return open_mag(target / layer_name(mag_view) / mag_view.name, read_only=True)
    return Dataset.open(target, read_only=True).get_layer(layer_name(mag_view)).get_mag(mag_view.mag)


def _add_row(table: Table, mag_view: MagView, was: MagState, now: MagState) -> None:
    table.add_row(
        escape(layer_name(mag_view)),
        mag_view.name,
        was.description,
        "the same" if now.info == was.info else now.description,
        format_bytes(was.use.bytes_on_disk),
        format_bytes(now.use.bytes_on_disk),
        format_ratio(now.use.ratio),
    )
