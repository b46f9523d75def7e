"""A coarser mag made of a finer one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from operator import mul, sub
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wkgpu.engines import Engine
from wkgpu.engines.kernel import NamedKernel
from wkgpu.errors import MismatchError
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.vec3_int import Vec3Int
from wkgpu.geometry.voxel_box import Triple, VoxelBox, triple
from wkgpu.operations.coordinates import EVERYWHERE, Ranges
from wkgpu.operations.downsampling.interpolation import InterpolationMode
from wkgpu.operations.jobs import Executor
from wkgpu.operations.streaming import stream
from wkgpu.operations.voxels import Array
from wkgpu.storage.stored_array import StoredArray

_KERNEL_NAMES = {
    InterpolationMode.MODE: "mode",
    InterpolationMode.NEAREST: "nearest",
    InterpolationMode.MAX: "maximum",
    InterpolationMode.MIN: "minimum",
}
_PAIRS = (2, 2, 2), (2, 2, 1)  # blocks that need no memory to be sorted in, unless they have several channels
_VECTOR = 32  # items: whole vectors, of every voxel type
# What the WEBKNOSSOS library computes at a time, determined by experiment
_BUFFER_EDGE = 1024  # source voxels, or a shard of the target
_CHUNK_EDGE = 1024  # target voxels, or a shard: buffers start again at multiples of it


class AxisTiling(NamedTuple):
    """What a downsampling is along one axis, in voxels.

    Attributes
    ----------
    begin, end : int
        The source voxels that count, and the first one behind them.
    factor : int
        Source voxels of a block.
    tile, chunk : int
        Target voxels that the WEBKNOSSOS library computes on their own: tiles, which start again at multiples
        of ``chunk``. Reflection does not cross their borders, and "nearest" spreads what it takes among them.
    """

    begin: int
    end: int
    factor: int
    tile: int
    chunk: int

    def source_voxels(self, first: int, last: int) -> tuple[int, int]:
        """Return which source voxels the blocks from ``first`` to before ``last`` are made of, with mirror images."""
        low, high = first * self.factor, last * self.factor
        return min(low, max(2 * self.end - high, self.begin)), max(high, min(2 * self.begin - low, self.end))

    def beyond(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Yield the voxels of a span that do not count, and which ones stand for them: mirror images, over and over."""
        (_, near), (far, _) = (self._tile_of(voxel // self.factor) for voxel in (self.begin, self.end - 1))
        near = min(near * self.factor, self.end) - self.begin
        far = self.end - max(far * self.factor, self.begin)
        for voxel in range(first, self.begin):
            distance = (self.begin - 1 - voxel) % (2 * near)
            yield voxel, self.begin + min(distance, 2 * near - 1 - distance)
        for voxel in range(self.end, last):
            distance = (voxel - self.end) % (2 * far)
            yield voxel, self.end - 1 - min(distance, 2 * far - 1 - distance)

    def picked(self, first: int, last: int) -> NDArray[np.int64]:
        """Return the source voxels that "nearest" takes: of a tile both ends, and others at equal distances."""
        voxels = np.arange(first, last)
        begin, end = self._tiles_of(voxels)
        length = end - begin
        step = (length * self.factor - 1) / np.maximum(length - 1, 1)
        found: NDArray[np.int64] = begin * self.factor + np.floor((voxels - begin) * step + 0.5).astype(np.int64)
        return found

    def _tile_of(self, voxel: int) -> tuple[int, int]:
        begin, end = self._tiles_of(np.array([voxel]))
        return int(begin[0]), int(end[0])

    def _tiles_of(self, voxels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where the tiles of target voxels begin and end."""
        first, last = self.begin // self.factor, -(-self.end // self.factor)
        chunk_begin = np.maximum(voxels // self.chunk * self.chunk, first)
        chunk_end = np.minimum((voxels // self.chunk + 1) * self.chunk, last)
        begin = chunk_begin + (voxels - chunk_begin) // self.tile * self.tile
        return begin, np.minimum(begin + self.tile, chunk_end)


class Downsampling(NamedTuple):
    """See `wkgpu.operations.streaming.Transformation`."""

    axes: tuple[AxisTiling, AxisTiling, AxisTiling]
    interpolation: InterpolationMode

    @property
    def preserves_zero(self) -> bool:
        """All of them make zeros of zeros."""
        return True

    @property
    def ratio(self) -> Triple:
        """Voxels of a block."""
        return triple(axis.factor for axis in self.axes)

    def source_boxes(self, target: VoxelBox) -> tuple[VoxelBox, ...]:
        """Return the source voxels of the blocks."""
        ends = [axis.source_voxels(*span) for axis, *span in zip(self.axes, target.topleft, target.end, strict=True)]
        box = VoxelBox.from_corners((begin for begin, _ in ends), (end for _, end in ends))
        assert box is not None, f"nothing that counts is in {target}"
        return (box,)

    def target_box(self, source: int, box: VoxelBox) -> VoxelBox | None:
        """Return the blocks that a box touches, and those at the border that have mirror images of it."""
        blocks = box_of_blocks(box, self.ratio)
        begin, end = list(blocks.topleft), list(blocks.end)
        for number, axis in enumerate(self.axes):  # images lie at most one block further in
            begin[number] -= begin[number] - 1 == axis.begin // axis.factor
            end[number] += end[number] + 1 == -(-axis.end // axis.factor)
        return VoxelBox.from_corners(begin, end)

    def apply(self, engine: Engine, target: VoxelBox, arrays: Sequence[Array], out: Array, inside: VoxelBox) -> None:
        """Make each block one voxel."""
        (source,) = arrays
        (needed,) = self.source_boxes(target)
        self._fill_up(source, needed)
        channels, lines = source.shape[0], target.shape
        first_block = VoxelBox(triple(map(mul, target.topleft, self.ratio)), self.ratio)
        memory = *_start_and_strides(channels, first_block, needed), *_start_and_strides(channels, target, inside)
        rows, width = lines[1] * lines[2], channels * lines[0]
        engine.launch(
            NamedKernel("pooling", _kernel_name(self.interpolation, source.dtype)), rows, width,
            source.T.reshape(-1), out.T.reshape(-1), (channels, lines, self.ratio, *memory),
            *self._tables(engine, target, source),
        )  # fmt: skip

    def _fill_up(self, source: Array, box: VoxelBox) -> None:
        """Replace voxels that do not count by mirror images: along an axis there are fewer of them than in a block."""
        for number, (axis, first, last) in enumerate(zip(self.axes, box.topleft, box.end, strict=True)):
            planes = source.swapaxes(0, number + 1)
            for voxel, image in axis.beyond(first, last):
                planes[voxel - first] = planes[image - first]

    def _tables(self, engine: Engine, target: VoxelBox, source: Array) -> tuple[Any, ...]:
        """Return what the kernel takes beyond source, target and geometry."""
        channels, factors = source.shape[0], self.ratio
        if self.interpolation is InterpolationMode.NEAREST:
            spans = zip(self.axes, target.topleft, target.end, strict=True)
            return tuple(engine.asarray(axis.picked(low, high) - low * axis.factor) for axis, low, high in spans)
        if self.interpolation in (InterpolationMode.MEDIAN, InterpolationMode.MODE):
            width = -(-channels * target.shape[0] // _VECTOR) * _VECTOR
            voxels = 0 if channels == 1 and factors in _PAIRS else prod(factors)
            return engine.empty((voxels * target.shape[1] * target.shape[2] * width,), source.dtype), width
        return ()


def _start_and_strides(channels: int, box: VoxelBox, memory: VoxelBox) -> tuple[int, tuple[int, int]]:
    """Return where a box begins in the memory of one that holds it, and the strides of y and z there."""
    x, y, z = map(sub, box.topleft, memory.topleft)
    strides = channels * memory.shape[0], channels * memory.shape[0] * memory.shape[1]
    return channels * x + strides[0] * y + strides[1] * z, strides


def downsample(
    source: StoredArray,
    target: StoredArray,
    region: VoxelBox,
    mags: tuple[Mag, Mag],
    interpolation: InterpolationMode,
    device: str,
    *,
    buffer_shape: Vec3Int | None = None,
    executor: Executor | None = None,
    progress_desc: str | None = None,
    ranges: Ranges = EVERYWHERE,
) -> None:
    """Fill an array with what a finer one holds in a box.

    Parameters
    ----------
    source, target : StoredArray
        The finer array and the coarser one.
    region : VoxelBox
        The source voxels that count, in the source's own grid.
    mags : tuple of Mag
        Of the source and of the target, which is a multiple of it.
    device : str
        The engine that computes.
    buffer_shape : Vec3Int, optional
        Voxels of the target that the WEBKNOSSOS library computes on their own, on which its results depend; by default
        made of 1024³ source voxels, and not more than a shard.
    executor : Executor, optional
        Runs jobs of one or more shards.
    ranges : mapping
        As for `stream`. Each coordinate is downsampled on its own.

    Raises
    ------
    MismatchError
        If the arrays differ in dtype or number of channels.
    """
    _check_voxels(source, target)
    fine, coarse = mags
    factors = triple(coarse.to_vec3_int() // fine.to_vec3_int())
    shards = target.current().spec.shard_shape
    chunks = (max(shard, _CHUNK_EDGE) for shard in shards)
    tiles = buffer_shape or [
        min(shard, max(_BUFFER_EDGE // factor, 1)) for shard, factor in zip(shards, factors, strict=True)
    ]
    x, y, z = map(AxisTiling, region.topleft, region.end, factors, tiles, chunks)
    stream(
        [source], target, box_of_blocks(region, factors), Downsampling((x, y, z), interpolation), coarse, device,
        executor, progress_desc, ranges,
    )  # fmt: skip


def _check_voxels(source: StoredArray, target: StoredArray) -> None:
    """See that both arrays have the same voxels: a kernel would leave what lies between them undefined."""
    fine, coarse = ((array.spec.num_channels, array.spec.memory_dtype) for array in (source, target))
    if fine != coarse:
        raise MismatchError(
            f"{source.path} has {fine[0]} channel(s) of {fine[1]}, and {target.path} has {coarse[0]} of {coarse[1]}; "
            "a coarser mag has those of the finer one. If the target is new, correct the layer's properties: they "
            "contradict the header of the source."
        )


def box_of_blocks(box: VoxelBox, factors: Triple) -> VoxelBox:
    """Return the smallest box of coarser voxels that covers a box of finer ones."""
    begin = [low // factor for low, factor in zip(box.topleft, factors, strict=True)]
    end = [-(-high // factor) for high, factor in zip(box.end, factors, strict=True)]
    found = VoxelBox.from_corners(begin, end)
    assert found is not None
    return found


def _kernel_name(interpolation: InterpolationMode, dtype: np.dtype[np.generic]) -> str:
    """Return which kernel of `pooling` computes it for voxels of a type."""
    if interpolation is InterpolationMode.MEDIAN:
        return {"u": "median_unsigned", "i": "median_signed", "f": "median_float"}[dtype.kind]
    if interpolation is InterpolationMode.BILINEAR:
        if dtype.kind != "f" and dtype.itemsize < 8:
            return "mean_integer"
        return {"u": "mean_unsigned", "i": "mean_signed", "f": "mean_float"}[dtype.kind]
    return _KERNEL_NAMES[interpolation]
