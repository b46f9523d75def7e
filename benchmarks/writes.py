"""Writing a volume whole, and a small box of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.figures import Figure, Side, compare
from benchmarks.volumes import Shape
from benchmarks.workbench import KINDS, ORIGIN, PATCH, Workbench


def write_whole(bench: Workbench) -> Iterator[Figure]:
    """One LZ4 shard that is as large as the volume, so that wkw can write it too: it writes shards only whole."""
    for kind, label in KINDS.items():
        volume = bench.volume(kind)
        ours = (
            None
            if bench.wkgpu is None
            else _checked(
                write_into_new(bench, bench.wkgpu, volume, "written-wkgpu"), bench.scratch / "written-wkgpu", volume
            )
        )
        theirs = _write_wkw(bench, volume)
        yield compare(
            f"write-{kind}",
            f"aligned LZ4 write: {label}",
            ours,
            theirs,
            bench.sizes.rounds,
            nbytes=volume.nbytes,
            at_least=5,
        )
        if bench.wkgpu is not None:
            sizes = [_megabytes(bench.scratch / name) for name in ("written-wkgpu", "written-wkw")]
            yield Figure(f"write-size-{kind}", f"size of that shard: {label}", "MB", "wkw", sizes[:1], sizes[1:])


def write_patch(bench: Workbench) -> Iterator[Figure]:
    """A random 64³ box of a 1024³ shard, as webknossos compresses it by default (LZ4HC), and with LZ4."""
    read = partial(read_by_wkw, bench)
    for block_type, codec, at_least in ((peers.LZ4HC, "LZ4HC", 100), (peers.LZ4, "LZ4", None)):
        original = bench.dataset("shard", block_type)
        ours = None
        if bench.wkgpu is not None:
            ours = write_patches(bench, bench.wkgpu, bench.copy(original, "patched-wkgpu"), read)
        # It writes a box that does not end where a shard ends only if it is told that this is meant.
        theirs = write_patches(
            bench, bench.webknossos, bench.copy(original, "patched-webknossos"), read, allow_unaligned=True
        )
        yield compare(
            f"write-patch-{codec.lower()}",
            f"64³ write into a compressed 1024³ shard ({codec})",
            ours,
            theirs,
            bench.sizes.rounds,
            count=1,
            at_least=at_least,
        )


def write_into_new(bench: Workbench, module: Any, volume: NDArray[Any], name: str, data_format: str = "wkw") -> Side:
    """Write the volume whole to a new dataset of one compressed shard, which is not made in the time."""
    mags: list[Any] = []

    def prepare(number: int) -> None:
        mags.clear()
        path = bench.fresh_folder(name)
        mags.append(peers.create(module, path, volume.dtype, volume.shape, volume.shape[0], data_format))

    def write(number: int) -> None:
        mags[0].write(volume, absolute_offset=ORIGIN)

    return Side(module.__name__, write, prepare)


def _write_wkw(bench: Workbench, volume: NDArray[Any]) -> Side:
    mags: list[Any] = []

    def prepare(number: int) -> None:
        mags.clear()
        folder = peers.mag_folder(bench.fresh_folder("written-wkw"))
        mags.append(peers.create_wkw(folder, volume.dtype, shard=volume.shape[0]))

    def write(number: int) -> None:
        mags[0].write(ORIGIN, volume)

    return _checked(Side("wkw", write, prepare), bench.scratch / "written-wkw", volume)


def _megabytes(path: Path) -> float:
    """Size of the shards of a dataset."""
    return sum(file.stat().st_size for file in path.rglob("x*.wkw")) / 1e6


def _checked(side: Side, path: Path, volume: NDArray[Any]) -> Side:
    """Let a side write once, and see what wkw reads then."""
    side.prepare(0)
    side.run(0)
    np.testing.assert_array_equal(peers.open_wkw(path).read(ORIGIN, volume.shape)[0], volume)
    return side


def write_patches(
    bench: Workbench, module: Any, path: Path, read: Callable[[Path], NDArray[Any]], name: str = "", **options: bool
) -> Side:
    """Write random patches to a dataset that holds the shard volume, and see what ``read`` finds after one."""
    mag = peers.open_mag(module, path)
    offsets: list[Shape] = bench.patch_offsets(seed=7, count=bench.sizes.rounds + 1)
    patches = np.random.default_rng(8).integers(0, 256, (len(offsets), *PATCH), np.uint8)

    def write(number: int) -> None:
        mag.write(np.asfortranarray(patches[number]), absolute_offset=offsets[number], **options)

    write(bench.sizes.rounds)
    expected = bench.shard.copy(order="F")
    there = tuple(slice(begin, begin + length) for begin, length in zip(offsets[-1], PATCH, strict=True))
    expected[there] = patches[-1]
    np.testing.assert_array_equal(read(path), expected)
    return Side(name or module.__name__, write)


def read_by_wkw(bench: Workbench, path: Path) -> NDArray[Any]:
    """Read the shard volume of a dataset with wkw."""
    found: NDArray[Any] = peers.open_wkw(path).read(ORIGIN, bench.sizes.shard_volume)[0]
    return found
