"""Zarr 3: reads, patches and writes of each codec, beside the codec's own C function and beside other libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import codec_limits, peers
from benchmarks.figures import Figure, Side, compare
from benchmarks.patches import BATCH
from benchmarks.workbench import KINDS, ORIGIN, PATCH, Workbench
from wkgpu.storage.codecs import BLOSC, GZIP, Compression, codec_named
from wkgpu.storage.formats import open_array

_CODECS: dict[str, Compression] = {
    "zstd": True,
    "lz4": "lz4",
    "lz4hc": "lz4hc",
    "blosc-zstd": (codec_named(BLOSC.name, cname="zstd", shuffle="bitshuffle"),),
    "gzip": (GZIP,),
}
"""What chunks are stored as; "zstd" is what WEBKNOSSOS writes, "lz4" and "lz4hc" are Blosc."""


def read_whole(bench: Workbench) -> Iterator[Figure]:
    """Into a reused output, beside the codec from memory to memory."""
    for kind, label in KINDS.items():
        volume = bench.volume(kind)
        for codec in _CODECS:
            path = _dataset(bench, kind, codec)
            yield compare(
                f"zarr-read-{codec}-{kind}", f"Zarr 3 whole read, {codec}: {label}", _read_into(path, volume),
                codec_limits.decoding(open_array(peers.mag_folder(path)), _all_chunks(volume.shape)),
                bench.sizes.rounds, nbytes=volume.nbytes, at_least=0.85,
            )  # fmt: skip


def read_beside_others(bench: Workbench) -> Iterator[Figure]:
    """The same files, with other libraries; and our own WKW."""
    for kind, label in KINDS.items():
        volume = bench.volume(kind)
        for codec in ("zstd", "lz4"):
            path = _dataset(bench, kind, codec)
            for name, side in _others(path, volume).items():
                yield compare(
                    f"zarr-read-{codec}-{kind}-{name}", f"Zarr 3 whole read, {codec}: {label}",
                    _read_into(path, volume), side, bench.sizes.rounds, nbytes=volume.nbytes,
                    at_least=3 if (codec, name) == ("lz4", "tensorstore") else None,
                )  # fmt: skip
        yield compare(
            f"zarr-read-lz4-{kind}-wkw", f"Zarr 3 whole read, lz4: {label}",
            _read_into(_dataset(bench, kind, "lz4"), volume),
            _read_into(bench.dataset(kind), volume, "wkgpu, WKW LZ4"), bench.sizes.rounds, nbytes=volume.nbytes,
            at_least=0.8,
        )  # fmt: skip


def read_patches(bench: Workbench) -> Iterator[Figure]:
    """Random 64³ patches out of a 1024³ shard."""
    for codec in ("zstd", "lz4"):
        path = _dataset(bench, "shard", codec)
        array = open_array(peers.mag_folder(path))
        offsets = [bench.patch_offsets(number, bench.sizes.patches) for number in range(bench.sizes.rounds)]
        chunks = [np.concatenate([_chunks_of(offset) for offset in each]) for each in offsets]
        limits = [codec_limits.decoding(array, each).run for each in chunks]
        yield compare(
            f"zarr-patches-{codec}-limit", f"Zarr 3 64³ patches, read_many of {BATCH}, {codec}",
            _batches(bench, path), Side("the codec alone", lambda number, limits=limits: limits[number](number)),  # type: ignore[misc]
            bench.sizes.rounds, count=bench.sizes.patches, at_least=0.7,
        )  # fmt: skip
        for name, side, at_least in (("many", _batches, 8), ("one", _one_by_one, 4)):
            yield compare(
                f"zarr-patches-{codec}-{name}",
                f"Zarr 3 64³ patches, {'one by one' if name == 'one' else f'read_many of {BATCH}'}, {codec}",
                side(bench, path), _one_by_one(bench, path, bench.webknossos),
                bench.sizes.rounds, count=bench.sizes.patches, at_least=at_least if codec == "lz4" else None,
            )  # fmt: skip


def write(bench: Workbench) -> Iterator[Figure]:
    """One shard as large as the volume, and a 64³ box of a compressed 1024³ shard, beside our own WKW."""
    for kind, label in KINDS.items():
        volume = bench.volume(kind)
        array = open_array(peers.mag_folder(_dataset(bench, kind, "zstd")))
        yield compare(
            f"zarr-write-zstd-{kind}", f"Zarr 3 aligned write, zstd: {label}", _write_whole(bench, volume),
            codec_limits.encoding(array, volume), bench.sizes.rounds, nbytes=volume.nbytes, at_least=0.85,
        )  # fmt: skip
    ours = bench.copy(_dataset(bench, "shard", "lz4hc"), "patched-zarr")
    theirs = bench.copy(bench.dataset("shard", peers.LZ4HC), "patched-wkw")
    yield compare(
        "zarr-write-patch", "64³ write into a compressed 1024³ shard (Zarr 3, LZ4HC)", _write_patches(bench, ours),
        _write_patches(bench, theirs, "wkgpu, WKW LZ4HC"), bench.sizes.rounds, count=1, at_least=0.9,
    )  # fmt: skip


# ---- Datasets


def _dataset(bench: Workbench, kind: str, codec: str) -> Path:
    """Store a volume with wkgpu, once, as tensorstore reads it."""
    path = bench.scratch / f"zarr-{kind}-{codec}"
    if not path.exists():
        volume = bench.volume(kind)
        shard = 1024 if kind == "shard" else bench.sizes.volume[0]
        mag = _create(bench.wkgpu, path, volume, shard, _CODECS[codec])
        mag.write(volume, absolute_offset=ORIGIN)
        np.testing.assert_array_equal(_tensorstore(path, volume.shape).read().result(), volume)
    return path


def _create(module: Any, path: Path, volume: NDArray[Any], shard: int, compress: Compression) -> Any:
    box = module.BoundingBox(ORIGIN, volume.shape)
    dataset = module.Dataset(path, voxel_size=peers.VOXEL_SIZE)
    layer = dataset.add_layer(peers.LAYER, "color", dtype=volume.dtype, data_format="zarr3", bounding_box=box)
    return layer.add_mag(1, chunk_shape=peers.CHUNK, shard_shape=shard, compress=compress)


def _all_chunks(shape: tuple[int, ...]) -> NDArray[np.int64]:
    edges = [length // peers.CHUNK for length in shape]
    return np.stack(np.meshgrid(*map(np.arange, edges), indexing="ij"), axis=-1).reshape(-1, 3)


def _chunks_of(offset: tuple[int, ...]) -> NDArray[np.int64]:
    spans = [np.arange(o // peers.CHUNK, (o + n - 1) // peers.CHUNK + 1) for o, n in zip(offset, PATCH, strict=True)]
    return np.stack(np.meshgrid(*spans, indexing="ij"), axis=-1).reshape(-1, 3)


# ---- Sides


def _read_into(path: Path, volume: NDArray[Any], name: str = "wkgpu") -> Side:
    mag = peers.open_mag(peers.library("wkgpu"), path)
    out = np.zeros((1, *volume.shape), volume.dtype, order="F")
    np.testing.assert_array_equal(mag.read(absolute_offset=ORIGIN, size=volume.shape, out=out)[0], volume)
    return Side(name, lambda number: mag.read(absolute_offset=ORIGIN, size=volume.shape, out=out))


def _others(path: Path, volume: NDArray[Any]) -> dict[str, Side]:
    """Sides of other libraries; each returns a new array, and tensorstore keeps no decoded chunks."""
    import zarr

    webknossos = peers.open_mag(peers.library("webknossos"), path)
    store = _tensorstore(path, volume.shape)
    array = zarr.open_array(str(peers.mag_folder(path)), mode="r")
    inside = (0, *(slice(0, length) for length in volume.shape))
    reads: dict[str, Callable[[int], Any]] = {
        "webknossos": lambda number: webknossos.read(absolute_offset=ORIGIN, size=volume.shape)[0],
        "tensorstore": lambda number: store.read().result(),
        "zarr-python": lambda number: array[inside],
    }
    for read in reads.values():
        np.testing.assert_array_equal(read(0), volume)
    return {name: Side(name, read) for name, read in reads.items()}


def _tensorstore(path: Path, shape: tuple[int, ...]) -> Any:
    import tensorstore

    store = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(peers.mag_folder(path))}}
    opened = tensorstore.open(store, open=True, read=True).result()
    return opened[(0, *(slice(0, length) for length in shape))]


def _one_by_one(bench: Workbench, path: Path, module: Any = None) -> Side:
    module = bench.wkgpu if module is None else module
    mag = peers.open_mag(module, path)
    offsets = [bench.patch_offsets(number, bench.sizes.patches) for number in range(bench.sizes.rounds)]
    for offset in offsets[0][:BATCH]:
        inside = tuple(slice(low, low + length) for low, length in zip(offset, PATCH, strict=True))
        np.testing.assert_array_equal(mag.read(absolute_offset=offset, size=PATCH)[0], bench.shard[inside])

    def read(number: int) -> None:
        for offset in offsets[number]:
            mag.read(absolute_offset=offset, size=PATCH)

    return Side(module.__name__, read)


def _batches(bench: Workbench, path: Path) -> Side:
    module = bench.wkgpu
    mag = peers.open_mag(module, path)
    rounds = []
    for number in range(bench.sizes.rounds):
        boxes = [module.BoundingBox(offset, PATCH) for offset in bench.patch_offsets(number, bench.sizes.patches)]
        rounds.append([boxes[first : first + BATCH] for first in range(0, len(boxes), BATCH)])
    for patch, offset in zip(mag.read_many(rounds[0][0]), bench.patch_offsets(0, BATCH), strict=True):
        inside = tuple(slice(low, low + length) for low, length in zip(offset, PATCH, strict=True))
        np.testing.assert_array_equal(patch[0], bench.shard[inside])

    def read(number: int) -> None:
        for boxes in rounds[number]:
            mag.read_many(boxes)

    return Side(module.__name__, read)


def _write_whole(bench: Workbench, volume: NDArray[Any]) -> Side:
    mags: list[Any] = []

    def prepare(number: int) -> None:
        mags.clear()
        path = bench.fresh_folder("written-zarr")
        mags.append(_create(bench.wkgpu, path, volume, volume.shape[0], True))

    def write(number: int) -> None:
        mags[0].write(volume, absolute_offset=ORIGIN)

    prepare(0)
    write(0)
    found = _tensorstore(bench.scratch / "written-zarr", volume.shape).read().result()
    np.testing.assert_array_equal(found, volume)
    return Side("wkgpu", write, prepare)


def _write_patches(bench: Workbench, path: Path, name: str = "wkgpu") -> Side:
    mag = peers.open_mag(bench.wkgpu, path)
    offsets = bench.patch_offsets(seed=7, count=bench.sizes.rounds + 1)
    patches = np.random.default_rng(8).integers(0, 256, (len(offsets), *PATCH), np.uint8)

    def write(number: int) -> None:
        mag.write(np.asfortranarray(patches[number]), absolute_offset=offsets[number])

    write(bench.sizes.rounds)
    np.testing.assert_array_equal(mag.read(absolute_offset=offsets[-1], size=PATCH)[0], patches[-1])
    return Side(name, write)
