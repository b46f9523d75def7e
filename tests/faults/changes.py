"""Changes of datasets at which processes are killed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .states import CHUNK, NOTES, State

SHAPE = (64, 64, 32)  # of all mags 1: four shards
SHARD = 32


def make_datasets(root: Path) -> None:
    """Make the dataset that is changed, with a user's notes in all of its folders."""
    import wkgpu as wk

    wk.config.threads = 2
    dataset = wk.Dataset(root / "dataset", voxel_size=(1, 1, 1))
    random = np.random.default_rng(0)
    for name, codec in (("lz4", "lz4"), ("raw", False), ("other", "lz4"), ("zarr", False)):
        layer = dataset.add_layer(name, "color", data_format="zarr3" if name == "zarr" else "wkw")
        mag = layer.add_mag(1, chunk_shape=CHUNK, shard_shape=SHARD, compress=codec)
        mag.write(random.integers(0, 99, SHAPE, dtype="uint8"))
        layer.downsample_mag(1, 2, chunk_shape=CHUNK, shard_shape=SHARD, interpolation_mode="max")
    for folder in [path for path in root.rglob("*") if path.is_dir()]:
        (folder / NOTES).write_text(f"notes of {folder.name}")


class Change(NamedTuple):
    """What a process does when it is killed.

    Attributes
    ----------
    call : callable
        Does it, given the folder of datasets.
    undo : callable
        Makes it possible to call once more when it is complete.
    touched : tuple of str
        What paths of files begin with that it may change.
    """

    name: str
    call: Callable[[Path], object]
    undo: Callable[[Path], object]
    touched: tuple[str, ...]

    def is_complete(self, found: State, after: State) -> bool:
        """Whether the call, once more, would be refused, because all is listed that it makes or deletes."""
        mags = {name: list(mags) for name, mags in found.layers.items()}
        return mags == {name: list(mags) for name, mags in after.layers.items()}


def _dataset(root: Path) -> Any:
    from wkgpu import Dataset

    return Dataset.open(root / "dataset")


def _layer(root: Path, name: str = "lz4") -> Any:
    return _dataset(root).get_layer(name)


def _nothing(_: Path) -> None:
    """Nothing has to be undone."""


def _write(layer: str, offset: tuple[int, int, int], shape: tuple[int, int, int]) -> Callable[[Path], None]:
    data = np.random.default_rng(1).integers(100, 200, shape, dtype="uint8")
    return lambda root: _layer(root, layer).get_mag(1).write(data, absolute_offset=offset)


def _downsample(root: Path, layer: str = "lz4") -> None:
    _layer(root, layer).downsample_mag(2, 4, chunk_shape=CHUNK, shard_shape=SHARD, interpolation_mode="max")


def _add_layer(root: Path) -> None:
    _dataset(root).add_layer("new", "color")


def _rename(root: Path, name: str, new_name: str) -> None:
    _layer(root, name).name = new_name


def _copy(root: Path) -> None:
    """Copy the dataset; a copy that is there is not whole, and goes first, as the error says."""
    from wkgpu.errors import AlreadyExistsError

    try:
        _dataset(root).copy_dataset(root / "copy")
    except AlreadyExistsError:
        shutil.rmtree(root / "copy")
        _dataset(root).copy_dataset(root / "copy")


def _delete_copy(root: Path) -> None:
    shutil.rmtree(root / "copy")


_PROPERTIES = "dataset/datasource-properties.json"
_ZARR = ("dataset/zarr/zarr.json", _PROPERTIES)

CHANGES = (
    Change("write of whole shards", _write("lz4", (0, 0, 0), SHAPE), _nothing, ("dataset/lz4/1/z",)),
    Change("write in part", _write("lz4", (3, 5, 1), (50, 40, 25)), _nothing, ("dataset/lz4/1/z",)),
    Change("write in part of raw shards", _write("raw", (3, 5, 1), (50, 40, 25)), _nothing, ("dataset/raw/1/z",)),
    Change("write beyond the box", _write("lz4", (56, 8, 8), (40, 8, 8)), _nothing, ("dataset/lz4/1/z", _PROPERTIES)),
    Change(
        "add_mag",
        lambda root: _layer(root).add_mag(4, chunk_shape=CHUNK, shard_shape=SHARD),
        lambda root: _layer(root).delete_mag(4),
        ("dataset/lz4/4", _PROPERTIES),
    ),
    Change(
        "delete_mag",
        lambda root: _layer(root).delete_mag(2),
        lambda root: _layer(root).add_mag(2),
        ("dataset/lz4/2", _PROPERTIES),
    ),
    Change("downsample", _downsample, lambda root: _layer(root).delete_mag(4), ("dataset/lz4/4", _PROPERTIES)),
    Change(
        "compress",
        lambda root: _layer(root, "raw").get_mag(1).compress(),
        _nothing,
        ("dataset/raw/1/z", "dataset/raw/1/header.wkw", _PROPERTIES),
    ),
    Change(
        "rechunk",
        lambda root: _layer(root).get_mag(1).rechunk(chunk_shape=CHUNK, shard_shape=16),
        _nothing,
        ("dataset/lz4/1/z", "dataset/lz4/1/header.wkw", _PROPERTIES),
    ),
    Change(
        "compress to a copy",
        lambda root: _layer(root, "raw").get_mag(1).compress(root / "copy"),
        _delete_copy,
        ("copy",),
    ),
    Change("copy_dataset", _copy, _delete_copy, ("copy",)),
    Change(
        "rename a layer",
        lambda root: _rename(root, "lz4", "renamed"),
        lambda root: _rename(root, "renamed", "lz4"),
        ("dataset/lz4", "dataset/renamed", _PROPERTIES),
    ),
    Change("add_layer", _add_layer, lambda root: _dataset(root).delete_layer("new"), ("dataset/new", _PROPERTIES)),
    Change(
        "delete_layer",
        lambda root: _dataset(root).delete_layer("lz4"),
        lambda root: _dataset(root).add_layer("lz4", "color"),
        ("dataset/lz4", _PROPERTIES),
    ),
    Change("write in part of Zarr", _write("zarr", (3, 5, 1), (50, 40, 25)), _nothing, ("dataset/zarr/1/c",)),
    Change(
        "write beyond the box of Zarr",
        _write("zarr", (56, 8, 8), (40, 8, 8)),
        _nothing,
        ("dataset/zarr/1", "dataset/zarr/2/zarr.json", _PROPERTIES),
    ),
    Change(
        "downsample Zarr",
        lambda root: _downsample(root, "zarr"),
        lambda root: _layer(root, "zarr").delete_mag(4),
        ("dataset/zarr/4", *_ZARR),
    ),
    Change(
        "delete_mag of Zarr",
        lambda root: _layer(root, "zarr").delete_mag(2),
        lambda root: _layer(root, "zarr").add_mag(2),
        ("dataset/zarr/2", *_ZARR),
    ),
    Change("compress Zarr", lambda root: _layer(root, "zarr").get_mag(1).compress(), _nothing, ("dataset/zarr/1",)),
    Change(
        "rename a layer of Zarr",
        lambda root: _rename(root, "zarr", "renamed"),
        lambda root: _rename(root, "renamed", "zarr"),
        ("dataset/zarr", "dataset/renamed", _PROPERTIES),
    ),
)
