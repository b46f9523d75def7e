"""The libraries that are compared: how each makes and opens a volume of WKW shards."""

from __future__ import annotations

import importlib
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from numpy.typing import DTypeLike

from benchmarks.volumes import Shape

try:
    import wkw
except ImportError:  # a machine with a GPU may lack it: there each row says with what it was measured instead
    wkw = None

LAYER = "volume"
VOXEL_SIZE = (11.24, 11.24, 28.0)
CHUNK = 32
"""Edge of a chunk in voxels."""

LZ4, LZ4HC = 2, 3
"""Block types of a WKW header."""


def library(name: str) -> Any:
    """Import wkgpu or webknossos, which have one interface; None where wkgpu has no Dataset."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # webknossos lists the image readers that it lacks
        module = importlib.import_module(name)
    return module if hasattr(module, "Dataset") else None


def installed_wkw() -> Any:
    """Return wkw; None where it is not installed."""
    return wkw


def create(
    module: Any, path: Path, dtype: DTypeLike, shape: Shape, shard: int, data_format: str = "wkw", compress: Any = True
) -> Any:
    """Make a dataset of one layer, which is compressed, with wkgpu or webknossos; returns the mag."""
    box = module.BoundingBox((0, 0, 0), shape)
    dataset = module.Dataset(path, voxel_size=VOXEL_SIZE)
    layer = dataset.add_layer(LAYER, "color", dtype=dtype, data_format=data_format, bounding_box=box)
    return layer.add_mag(1, chunk_shape=CHUNK, shard_shape=shard, compress=compress)


def open_mag(module: Any, path: Path) -> Any:
    """Open the mag of a dataset with wkgpu or webknossos."""
    return module.Dataset.open(path).get_layer(LAYER).get_mag(1)


def mag_folder(path: Path) -> Path:
    """Say where the shards of a dataset lie."""
    return path / LAYER / "1"


def create_wkw(folder: Path, dtype: DTypeLike, shard: int, block_type: int = LZ4) -> wkw.Dataset:
    """Make an empty mag with wkw."""
    header = wkw.Header(dtype, block_len=CHUNK, file_len=shard // CHUNK, block_type=block_type)
    return wkw.Dataset.create(str(folder), header)


def open_wkw(path: Path) -> wkw.Dataset:
    """Open the mag of a dataset with wkw."""
    return wkw.Dataset.open(str(mag_folder(path)))


def versions() -> dict[str, str]:
    """List the versions of everything that has a part in a figure."""
    found = {}
    for name in ("wkgpu", "webknossos", "wkw", "numpy", "numba", "lz4", "tensorstore", "zarr", "zarrs"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
