"""Other libraries that read and write Zarr 3: each a side that does the same work on the same array."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.figures import Side
from benchmarks.volumes import Shape
from benchmarks.workbench import ORIGIN, PATCH, Workbench

_CACHE = 4 << 30
"""Bytes of decoded chunks that tensorstore keeps where it has a cache: more than any volume here."""

_WRITTEN = "written-by-others"

_ZARRS = "zarrs.ZarrsCodecPipeline"
_FUSED = "zarr.core.codec_pipeline.FusedCodecPipeline"


def reading(path: Path, volume: NDArray[Any]) -> Iterator[Side]:
    """Read the volume of a dataset whole, into new arrays.

    tensorstore comes twice: without a cache, and with one in which all decoded chunks lie after the first read, so that
    later ones only copy. zarr-python comes with each pipeline of codecs that is installed; zarr 3.3 brings a fused one.
    """
    for name, read in _reads(path, volume.shape).items():
        np.testing.assert_array_equal(read(0), volume)
        yield Side(name, read)


def _reads(path: Path, shape: Shape) -> dict[str, Callable[[int], Any]]:
    webknossos = peers.open_mag(peers.library("webknossos"), path)
    store, caching, inside = opened(path, shape), opened(path, shape, _CACHE), _inside(shape)
    arrays = {name: _zarr_array(peers.mag_folder(path), pipeline) for name, pipeline in _pipelines().items()}
    return {
        "webknossos": lambda _: webknossos.read(absolute_offset=ORIGIN, size=shape)[0],
        "tensorstore": lambda _: store.read().result(),
        "tensorstore, cached": lambda _: caching.read().result(),
        **{name: partial(lambda array, _: array[inside], array) for name, array in arrays.items()},
    }


def reading_patches(bench: Workbench, path: Path) -> Side:
    """Read patches with tensorstore one after the other, without a cache: each patch is another one."""
    store = opened(path, bench.sizes.shard_volume)
    rounds = [bench.patch_offsets(number, bench.sizes.patches) for number in range(bench.sizes.rounds)]

    def patch(offset: Shape) -> Any:
        return store[_box(offset)].read().result()

    for offset in rounds[0]:
        np.testing.assert_array_equal(patch(offset), bench.shard[_box(offset)])

    def read(number: int) -> None:
        for offset in rounds[number]:
            patch(offset)

    return Side("tensorstore", read)


def writing(bench: Workbench, volume: NDArray[Any], like: Path) -> Iterator[Side]:
    """Write the volume whole into a new array with the metadata of another one; none of them waits for the disk."""
    metadata = (peers.mag_folder(like) / "zarr.json").read_bytes()
    openers: dict[str, Callable[[Path], Any]] = {
        "tensorstore": _store,
        **{name: partial(_zarr_array, pipeline=pipeline) for name, pipeline in _pipelines().items()},
    }
    for name, open_array in openers.items():
        side = _write_into_new(bench, volume, name, metadata, open_array)
        side.prepare(0)
        side.run(0)
        np.testing.assert_array_equal(by_tensorstore(bench.scratch / _WRITTEN, volume.shape), volume)
        yield side


def _write_into_new(
    bench: Workbench, volume: NDArray[Any], name: str, metadata: bytes, open_array: Callable[[Path], Any]
) -> Side:
    arrays: list[Any] = []

    def prepare(number: int) -> None:
        folder = peers.mag_folder(bench.fresh_folder(_WRITTEN))
        folder.mkdir(parents=True)
        (folder / "zarr.json").write_bytes(metadata)
        arrays[:] = [open_array(folder)]

    def write(number: int) -> None:
        arrays[0][_inside(volume.shape)] = volume

    return Side(name, write, prepare)


def opened(path: Path, shape: Shape, cache: int = 0) -> Any:
    """Open the volume of a dataset with tensorstore, which keeps ``cache`` bytes of decoded chunks."""
    return _store(peers.mag_folder(path), cache)[_inside(shape)]


def by_tensorstore(path: Path, shape: Shape) -> NDArray[Any]:
    """Read the volume of a dataset with tensorstore."""
    found: NDArray[Any] = opened(path, shape).read().result()
    return found


# ---- Arrays


def _store(folder: Path, cache: int = 0) -> Any:
    import tensorstore

    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": str(folder)},
        "context": {"cache_pool": {"total_bytes_limit": cache}, "file_io_sync": False},
    }
    return tensorstore.open(spec, open=True).result()


def _zarr_array(folder: Path, pipeline: str | None) -> Any:
    """Open an array, which keeps the pipeline that is set now."""
    import zarr

    with zarr.config.set({} if pipeline is None else {"codec_pipeline.path": pipeline}):
        return zarr.open_array(str(folder), mode="r+")


def _pipelines() -> dict[str, str | None]:
    """Name zarr-python's default pipeline, its fused one and that of zarrs, as far as they are installed."""
    from zarr.core import codec_pipeline

    found: dict[str, str | None] = {"zarr-python": None}
    if hasattr(codec_pipeline, _FUSED.rpartition(".")[2]):
        found["zarr-python, fused"] = _FUSED
    if find_spec("zarrs") is not None:
        found["zarrs-python"] = _ZARRS
    return found


def _inside(shape: Shape) -> tuple[Any, ...]:
    return (0, *(slice(0, length) for length in shape))


def _box(offset: Shape) -> tuple[slice, ...]:
    return tuple(slice(begin, begin + length) for begin, length in zip(offset, PATCH, strict=True))
