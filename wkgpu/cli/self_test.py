"""What `wkgpu doctor` tries on a device: each step of reading and writing by itself, and against the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wkgpu import BoundingBox, Dataset, MagView, get_engine

_SHAPE = (70, 50, 40)  # voxels, in twelve shards, whose borders it does not meet
_SHARD_EDGE, _CHUNK_EDGE = 32, 16
_INNER = BoundingBox((5, 7, 9), (40, 30, 20))  # in no step with chunks
_OF_EACH_SIZE = ("uint8", "uint16", "uint32", "uint64")
_TESTED_CODECS = {"raw": False, "LZ4": True}


class Step(NamedTuple):
    """A step that was tried.

    Attributes
    ----------
    device : str
        Where.
    name : str
        What was done.
    problem : str
        What went wrong; empty where nothing did.
    seconds : float
        How long it took, with the compilation of kernels that were used for the first time.
    """

    device: str
    name: str
    problem: str
    seconds: float


def self_test(device: str) -> Iterator[Step]:
    """Try a device that exists, on small volumes in a temporary folder.

    A step that fails does not keep the next one from being tried: what is read on the device was written by the CPU,
    and what is written there is read by the CPU.
    """
    volume = _make_volume()
    with TemporaryDirectory(prefix="wkgpu-doctor-", ignore_cleanup_errors=True) as folder:
        yield _step(device, "compile the kernels", partial(_compile, volume, Path(folder) / "compiled", device))
        yield _step(device, "copy an array there and back", partial(_copy, volume, device))
        for codec, compress in _TESTED_CODECS.items():
            arguments = volume, Path(folder) / codec, compress, device
            yield _step(device, f"write {codec}", partial(_write, *arguments))
            yield _step(device, f"read {codec}", partial(_read, *arguments))


def _step(device: str, name: str, work: Callable[[], None]) -> Step:
    begin = perf_counter()
    try:
        work()
    except Exception as error:  # of whatever library: this is what a doctor is asked for
        problem = " ".join(f"{type(error).__name__}: {error}".split())
    else:
        problem = ""
    return Step(device, name, problem, perf_counter() - begin)


def _make_volume() -> NDArray[np.uint16]:
    """Make voxels of which LZ4 can shrink one half, and the other one not."""
    volume = np.zeros(_SHAPE, np.uint16, order="F")
    half = _SHAPE[0] // 2
    volume[:half] = np.random.default_rng(0).integers(0, 1 << 16, (half, *_SHAPE[1:]))
    volume[half:] = np.arange(_SHAPE[2]) // 8
    return volume


def _compile(volume: NDArray[Any], path: Path, device: str) -> None:
    """Use all kernels that read and write, so that only here they are compiled, or loaded from the disk.

    A GPU has versions for words of 1, 2, 4 and 8 bytes, and chooses by where boxes begin and end.
    """
    for dtype, (codec, compress) in product(_OF_EACH_SIZE, _TESTED_CODECS.items()):
        mag_view = _new_mag(path / dtype / codec, compress, device, dtype)
        voxels = volume.astype(dtype)
        x, y, z = (slice(length) for length in _INNER.size)
        mag_view.write(voxels)
        mag_view.write(voxels[x, y, z], absolute_bounding_box=_INNER)
        mag_view.read()
        mag_view.read_many([_INNER, _INNER.offset((50, 0, 0))])


def _copy(volume: NDArray[Any], device: str) -> None:
    _compare(get_engine(device).asarray(volume), volume)


def _write(volume: NDArray[Any], path: Path, compress: bool, device: str) -> None:
    """Write on the device: all, and then a part again, for which parts of chunks have to be kept."""
    mag_view = _new_mag(path / "written", compress, device)
    changed = volume.copy(order="F")
    x, y, z = (slice(first, last) for first, last in zip(_INNER.topleft, _INNER.bottomright, strict=True))
    changed[x, y, z] += 1
    mag_view.write(volume)
    mag_view.write(changed[x, y, z], absolute_bounding_box=_INNER)
    _compare(mag_view.to("cpu").read()[0], changed)


def _read(volume: NDArray[Any], path: Path, compress: bool, device: str) -> None:
    """Read on the device: all, and boxes that cut chunks or lie outside."""
    mag_view = _new_mag(path / "read", compress, "cpu")
    mag_view.write(volume)
    boxes = [_INNER, _INNER.offset((50, 0, 0))]
    padded = np.zeros((200, 100, 100), np.uint16)
    padded[: _SHAPE[0], : _SHAPE[1], : _SHAPE[2]] = volume
    there = mag_view.to(device)
    _compare(there.read()[0], volume)
    for box, read in zip(boxes, there.read_many(boxes), strict=True):
        x, y, z = (slice(first, last) for first, last in zip(box.topleft, box.bottomright, strict=True))
        _compare(read[0], padded[x, y, z])


def _new_mag(path: Path, compress: bool, device: str, dtype: str = "uint16") -> MagView:
    layer = Dataset(path, voxel_size=(1, 1, 1), device=device).add_layer("voxels", "color", dtype=dtype)
    return layer.add_mag(1, chunk_shape=_CHUNK_EDGE, shard_shape=_SHARD_EDGE, compress=compress)


def _compare(found: Any, expected: NDArray[Any]) -> None:
    voxels = get_engine("cpu").asarray(found)
    if voxels.shape != expected.shape:
        raise ValueError(f"{voxels.shape} voxels instead of {expected.shape}")
    different = np.count_nonzero(voxels != expected)
    if different:
        raise ValueError(f"{different:,} of {expected.size:,} voxels are wrong; this is a bug in wkgpu")
