"""What is done to whole mags: compressed, downsampled, compared, written slice by slice.

webknossos takes an executor for most of it. It takes part with whichever of its own is faster: without processes, or
with one for each core, as it does by default.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.figures import Figure, Side, compare, timed
from benchmarks.workbench import KINDS, ORIGIN, Workbench

RAW = 1
"""Block type of a WKW header."""


def compress(bench: Workbench) -> Iterator[Figure]:
    """A raw mag in one shard, in place. webknossos compresses with LZ4HC only."""
    if bench.wkgpu is None:
        return
    for kind, label in KINDS.items():
        raw = bench.dataset(kind, RAW)
        theirs = _faster(
            lambda executor, raw=raw: _compressing(bench, bench.webknossos, raw, {"executor": executor}),
        )
        for codec, name, at_least in (("lz4", "LZ4", 8), ("lz4hc", "LZ4HC", 1.9)):
            yield compare(
                f"compress-{codec}-{kind}",
                f"compress a raw mag to {name}: {label}",
                _compressing(bench, bench.wkgpu, raw, {"codec": codec}),
                theirs,
                bench.sizes.rounds,
                nbytes=bench.volume(kind).nbytes,
                at_least=at_least if kind == "em" else None,
            )


def downsample(bench: Workbench) -> Iterator[Figure]:
    """By 2x2x2, from an LZ4 shard into another mag of the same layer, with the default shapes.

    The coarser mag is compressed as each side does by default, LZ4 by wkgpu and LZ4HC by webknossos, which has no other
    codec; then LZ4HC by both; then raw by both.
    """
    if bench.wkgpu is None:
        return
    for kind, mode in (("em", "median"), ("segmentation", "mode")):
        path = bench.copy(bench.dataset(kind), f"downsampled-{kind}")
        for name, label, ours_as, theirs_as, at_least in (
            ("", "", True, True, 10),
            ("-lz4hc", ", to LZ4HC", "lz4hc", True, None),
            ("-raw", ", to raw", False, False, None),
        ):
            ours = _downsampling(bench.wkgpu, path, mode, {"compress": ours_as})
            coarse = path / peers.LAYER / "2"
            ours.run(0)
            expected = _stored(coarse, bench.sizes.volume)
            theirs = _faster(
                lambda executor, p=path, m=mode, c=theirs_as: _downsampling(
                    bench.webknossos, p, m, {"compress": c, "executor": executor}
                )
            )
            np.testing.assert_array_equal(_stored(coarse, bench.sizes.volume), expected)
            yield compare(
                f"downsample-{mode}{name}",
                f"downsample by 2x2x2, {mode}: {KINDS[kind]}{label}",
                ours,
                theirs,
                bench.sizes.rounds,
                nbytes=bench.volume(kind).nbytes,
                at_least=at_least,
            )


def content_is_equal(bench: Workbench) -> Iterator[Figure]:
    """Two equal mags: copies, whose bytes are equal as well, and one in LZ4 and one in LZ4HC, whose bytes are not."""
    if bench.wkgpu is None:
        return
    for kind, label, codec in [(kind, label, codec) for kind, label in KINDS.items() for codec in ("LZ4", "LZ4HC")]:
        path = bench.dataset(kind)
        other = bench.copy(path, f"compared-{kind}") if codec == "LZ4" else bench.dataset(kind, peers.LZ4HC)
        yield compare(
            f"equal-{kind}" if codec == "LZ4" else f"equal-lz4hc-{kind}",
            f"content_is_equal of a mag and {'its copy' if codec == 'LZ4' else 'one in LZ4HC'}: {label}",
            _comparing(bench.wkgpu, path, other, {}),
            _faster(lambda executor, a=path, b=other: _comparing(bench.webknossos, a, b, {"executor": executor})),
            bench.sizes.rounds,
            nbytes=2 * bench.volume(kind).nbytes,
            at_least=4,
        )


def write_slices(bench: Workbench) -> Iterator[Figure]:
    """Slices of 1024² into an LZ4 shard of 1024³, with the default buffer, or for webknossos as deep."""
    if bench.wkgpu is None:
        return
    volume = bench.shard
    yield compare(
        "write-slices",
        f"slice writer, {volume.shape[2]} slices of {volume.shape[0]}²",
        _slicing(bench, bench.wkgpu, volume, {}),
        _slicing(bench, bench.webknossos, volume, {"buffer_size": 1024, "allow_unaligned": True}),
        min(bench.sizes.rounds, 3),
        nbytes=volume.nbytes,
        at_least=5,
    )


# ---- Both sides


def _compressing(bench: Workbench, module: Any, raw: Path, options: dict[str, Any]) -> Side:
    mags: list[Any] = []
    path = bench.scratch / f"compressed-{module.__name__}"

    def prepare(number: int) -> None:
        mags.clear()
        bench.fresh_folder(path.name)
        mags.append(peers.open_mag(module, bench.copy(raw, path.name)))

    def run(number: int) -> None:
        mags[0].compress(**options)

    side = _quiet(Side(module.__name__, run, prepare))
    side.prepare(0)
    side.run(0)
    np.testing.assert_array_equal(
        _stored(peers.mag_folder(path), bench.sizes.volume), _stored(peers.mag_folder(raw), bench.sizes.volume)
    )
    return side


def _downsampling(module: Any, path: Path, mode: str, options: dict[str, Any]) -> Side:
    layers: list[Any] = []

    def prepare(number: int) -> None:
        layers.clear()
        layer = module.Dataset.open(path).get_layer(peers.LAYER)
        if module.Mag(2) in layer.mags:
            layer.delete_mag(2)
        layers.append(layer)

    def run(number: int) -> None:
        layers[0].downsample_mag(module.Mag(1), module.Mag(2), interpolation_mode=mode, **options)

    side = _quiet(Side(module.__name__, run, prepare))
    side.prepare(0)
    return side


def _comparing(module: Any, path: Path, other: Path, options: dict[str, Any]) -> Side:
    mags = peers.open_mag(module, path), peers.open_mag(module, other)

    def run(number: int) -> None:
        assert mags[0].content_is_equal(mags[1], **options)

    return _quiet(Side(module.__name__, run))


def _slicing(bench: Workbench, module: Any, volume: NDArray[Any], options: dict[str, Any]) -> Side:
    mags: list[Any] = []
    name = f"sliced-{module.__name__}"

    def prepare(number: int) -> None:
        mags.clear()
        path = bench.fresh_folder(name)
        peers.create(module, path, volume.dtype, volume.shape, shard=1024)
        shutil.rmtree(peers.mag_folder(path))  # for one with LZ4, where webknossos has LZ4HC
        peers.create_wkw(peers.mag_folder(path), volume.dtype, shard=1024).close()
        mags.append(peers.open_mag(module, path))

    def run(number: int) -> None:
        with mags[0].get_buffered_slice_writer(absolute_offset=ORIGIN, **options) as writer:
            for z in range(volume.shape[2]):
                writer.send(volume[:, :, z])

    side = _quiet(Side(module.__name__, run, prepare))
    side.prepare(0)
    side.run(0)
    np.testing.assert_array_equal(_stored(peers.mag_folder(bench.scratch / name), volume.shape), volume)
    return side


def _faster(side_with: Callable[[Any], Side]) -> Side:
    """Return a side with that executor with which it is faster: one without processes, or its default.

    The first round of each does not count: fresh memory and files that are being written make it many times slower.
    """
    from cluster_tools import get_executor

    sides = [side_with(executor) for executor in (get_executor("sequential"), None)]
    seconds = [[timed(side, number) for number in range(3)][1:] for side in sides]
    return sides[int(np.argmin([min(rounds) for rounds in seconds]))]


def _quiet(side: Side) -> Side:
    """Let a side print nothing: webknossos draws progress bars, which a terminal has to show."""
    return Side(side.library, partial(_silently, side.run), partial(_silently, side.prepare))


def _silently(function: Callable[[int], object], number: int) -> None:
    with Path(os.devnull).open("w") as nothing, redirect_stdout(nothing):
        function(number)


def _stored(folder: Path, shape: tuple[int, ...]) -> NDArray[Any]:
    """What wkw reads in the folder of a mag."""
    import wkw

    found: NDArray[Any] = wkw.Dataset.open(str(folder)).read(ORIGIN, shape)[0]
    return found
