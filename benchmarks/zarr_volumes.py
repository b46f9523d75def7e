"""Zarr 3: reads, patches and writes of each codec, beside the codec's own C function and beside other libraries."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import codec_limits, patches, peers, reads, writes, zarr_peers
from benchmarks.figures import Figure, Side, compare
from benchmarks.limits import chunks_of_box
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

_ROUNDS = 3
"""Rounds beside other libraries, of which some take ten seconds for one."""


def read_whole(bench: Workbench) -> Iterator[Figure]:
    """Into a reused output, beside the codec alone, and beside it with a file and with memory for all voxels."""
    for kind, label in KINDS.items():
        volume = bench.volume(kind)
        for codec in _CODECS:
            path = _dataset(bench, kind, codec)
            array, chunks = open_array(peers.mag_folder(path)), [chunks_of_box(ORIGIN, volume.shape)]
            for copies in (False, True):
                yield compare(
                    f"zarr-read-{codec}-{kind}{'-memory' if copies else ''}",
                    f"Zarr 3 whole read, {codec}: {label}",
                    reads.into(bench.wkgpu, path, volume),
                    codec_limits.decoding(array, chunks, fetches=copies, stores=copies),
                    bench.sizes.rounds,
                    nbytes=volume.nbytes,
                    at_least=None if copies else 0.85,
                )


def read_beside_others(bench: Workbench) -> Iterator[Figure]:
    """The same files, with other libraries, into new outputs; and our own WKW, both into reused ones."""
    for kind, label in KINDS.items():
        volume = bench.volume(kind)
        for codec in ("zstd", "lz4"):
            path = _dataset(bench, kind, codec)
            for side in zarr_peers.reading(path, volume):
                yield compare(
                    f"zarr-read-{codec}-{kind}-{_key(side)}",
                    f"Zarr 3 whole read, {codec}: {label}",
                    reads.fresh(bench.wkgpu, path, volume),
                    side,
                    min(bench.sizes.rounds, _ROUNDS),
                    nbytes=volume.nbytes,
                    at_least=3 if (codec, side.library) == ("lz4", "tensorstore") else None,
                )
        yield compare(
            f"zarr-read-lz4-{kind}-wkw",
            f"Zarr 3 whole read, lz4: {label}",
            reads.into(bench.wkgpu, _dataset(bench, kind, "lz4"), volume),
            reads.into(bench.wkgpu, bench.dataset(kind), volume, "wkgpu, WKW"),
            bench.sizes.rounds,
            nbytes=volume.nbytes,
            at_least=0.8,
        )


def read_patches(bench: Workbench) -> Iterator[Figure]:
    """Random 64³ patches out of a 1024³ shard."""
    for codec in ("zstd", "lz4"):
        path = _dataset(bench, "shard", codec)
        array = open_array(peers.mag_folder(path))
        offsets = [bench.patch_offsets(number, bench.sizes.patches) for number in range(bench.sizes.rounds)]
        chunks = [np.concatenate([chunks_of_box(offset, PATCH) for offset in each]) for each in offsets]
        for fetches in (False, True):
            yield compare(
                f"zarr-patches-{codec}-limit{'-file' if fetches else ''}",
                f"Zarr 3 64³ patches, read_many of {BATCH}, {codec}",
                patches.batches(bench, bench.wkgpu, path),
                codec_limits.decoding(array, chunks, fetches=fetches),
                bench.sizes.rounds,
                count=bench.sizes.patches,
                at_least=None if fetches else 0.7,
            )
        for name, side, at_least in (("many", patches.batches, 8), ("one", patches.one_by_one, 4)):
            yield compare(
                f"zarr-patches-{codec}-{name}",
                f"Zarr 3 64³ patches, {'one by one' if name == 'one' else f'read_many of {BATCH}'}, {codec}",
                side(bench, bench.wkgpu, path),
                patches.one_by_one(bench, bench.webknossos, path),
                bench.sizes.rounds,
                count=bench.sizes.patches,
                at_least=at_least if codec == "lz4" else None,
            )
        yield compare(
            f"zarr-patches-{codec}-tensorstore",
            f"Zarr 3 64³ patches, one by one, {codec}",
            patches.one_by_one(bench, bench.wkgpu, path),
            zarr_peers.reading_patches(bench, path),
            bench.sizes.rounds,
            count=bench.sizes.patches,
        )


def write(bench: Workbench) -> Iterator[Figure]:
    """One shard as large as the volume, and a 64³ box of a compressed 1024³ shard, beside our own WKW."""
    for kind, label in KINDS.items():
        volume = bench.volume(kind)
        array = open_array(peers.mag_folder(_dataset(bench, kind, "zstd")))
        yield compare(
            f"zarr-write-zstd-{kind}",
            f"Zarr 3 aligned write, zstd: {label}",
            _write_whole(bench, volume),
            codec_limits.encoding(array, volume),
            bench.sizes.rounds,
            nbytes=volume.nbytes,
            at_least=0.85,
        )
        for side in zarr_peers.writing(bench, volume, _dataset(bench, kind, "zstd")):
            yield compare(
                f"zarr-write-zstd-{kind}-{_key(side)}",
                f"Zarr 3 aligned write, zstd: {label}",
                _write_whole(bench, volume),
                side,
                min(bench.sizes.rounds, _ROUNDS),
                nbytes=volume.nbytes,
            )
    ours = bench.copy(_dataset(bench, "shard", "lz4hc"), "patched-zarr")
    theirs = bench.copy(bench.dataset("shard", peers.LZ4HC), "patched-wkw")
    read = partial(zarr_peers.by_tensorstore, shape=bench.sizes.shard_volume)
    yield compare(
        "zarr-write-patch",
        "Zarr 3 64³ write into a compressed 1024³ shard, LZ4HC",
        writes.write_patches(bench, bench.wkgpu, ours, read),
        writes.write_patches(bench, bench.wkgpu, theirs, partial(writes.read_by_wkw, bench), "wkgpu, WKW"),
        bench.sizes.rounds,
        count=1,
        at_least=0.9,
    )


# ---- Datasets


def _dataset(bench: Workbench, kind: str, codec: str) -> Path:
    """Store a volume with wkgpu, once, as tensorstore reads it."""
    path = bench.scratch / f"zarr-{kind}-{codec}"
    if not path.exists():
        volume = bench.volume(kind)
        shard = 1024 if kind == "shard" else bench.sizes.volume[0]
        mag = peers.create(bench.wkgpu, path, volume.dtype, volume.shape, shard, "zarr3", _CODECS[codec])
        mag.write(volume, absolute_offset=ORIGIN)
        np.testing.assert_array_equal(zarr_peers.by_tensorstore(path, volume.shape), volume)
    return path


# ---- Sides


def _key(side: Side) -> str:
    return side.library.replace(", ", "-")


def _write_whole(bench: Workbench, volume: NDArray[Any]) -> Side:
    side = writes.write_into_new(bench, bench.wkgpu, volume, "written-zarr", "zarr3")
    side.prepare(0)
    side.run(0)
    np.testing.assert_array_equal(zarr_peers.by_tensorstore(bench.scratch / "written-zarr", volume.shape), volume)
    return side
