"""What the demo does with a layer after that: maps, merges, compresses and downsamples it, and checks each result."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wkgpu import BoundingBox, Dataset, MagView, SegmentationLayer, VoxelMap, get_engine, maps
from wkgpu.cli.trial import DifferenceError, Measurement, compare

_ANNOTATION_CHUNK = 32
_ANNOTATION_EDGE = 64
_CHECKED_EDGE = 64  # voxels of a coarser mag that are computed with NumPy as well


class Processing:
    """Changes one layer.

    Parameters
    ----------
    mag_view : MagView
        In Mag(1).
    voxels : array (x, y, z)
        What it holds. What a step changes in the layer is changed here, too.
    shard_edge : int
        Of the coarser mags.
    """

    def __init__(self, mag_view: MagView, voxels: NDArray[Any], shard_edge: int) -> None:
        self._mag_view = mag_view
        self._layer = mag_view.layer
        self._voxels = voxels
        self._shard_edge = shard_edge

    def measurements(self) -> Iterator[Measurement]:
        """Do one step after another.

        Raises
        ------
        DifferenceError
            If a result is not what NumPy makes of the same voxels.
        """
        if isinstance(self._layer, SegmentationLayer):
            yield self._renumber()
            yield self._merge()
        else:
            yield self._spread()
        yield self._compress()
        yield self._downsample()

    def _spread(self) -> Measurement:
        """Give an image more contrast: its grey levels from 1 % to 99 % of all voxels fill the whole range."""
        counts, _ = self._mag_view.histogram(256, (0, 256))
        low, high = np.searchsorted(counts.cumsum() / counts.sum(), (0.01, 0.99)).tolist()
        return self._map("map, more contrast", maps.rescale((low, max(high, low + 1)), (0, 255)))

    def _renumber(self) -> Measurement:
        """Number the segments by their size, from the largest on."""
        ids, counts = self._mag_view.count_labels()
        table = np.zeros(int(ids[-1]) + 1, self._voxels.dtype)
        segments = ids[counts.argsort()[::-1]]
        segments = segments[segments > 0]
        table[segments] = np.arange(1, len(segments) + 1)
        return self._map("map, other ids", maps.relabel(table))

    def _map(self, step: str, function: VoxelMap) -> Measurement:
        begin = perf_counter()
        self._mag_view.map_voxels(function, self._mag_view)
        seconds = perf_counter() - begin
        self._voxels[...] = np.rint(function(self._voxels))
        self._check()
        return Measurement(step, self._voxels.nbytes, seconds)

    def _merge(self) -> Measurement:
        """Merge an annotation, in which two cells were joined."""
        box, corrected = correction(self._voxels)
        with TemporaryDirectory(prefix="wkgpu-demo-") as scratch:
            annotation = _annotation(Path(scratch) / "annotation", box, corrected)
            begin = perf_counter()
            self._mag_view.merge_with_view(annotation)
            seconds = perf_counter() - begin
        self._voxels[box.to_slices()] = corrected
        self._check()
        return Measurement(f"merge, {_ANNOTATION_EDGE}³ annotation", corrected.nbytes, seconds)

    def _compress(self) -> Measurement:
        begin = perf_counter()
        self._mag_view.compress(codec="lz4hc")
        seconds = perf_counter() - begin
        self._check()
        return Measurement("compress, LZ4HC", self._voxels.nbytes, seconds)

    def _downsample(self) -> Measurement:
        begin = perf_counter()
        self._layer.downsample(shard_shape=self._shard_edge)
        seconds = perf_counter() - begin
        mags = list(self._layer.mags.values())
        for finer, coarser in pairwise(mags):
            _check_coarser(finer, coarser, isinstance(self._layer, SegmentationLayer))
        return Measurement(f"downsample, {len(mags) - 1} mags", self._voxels.nbytes, seconds)

    def _check(self) -> None:
        compare(self._mag_view.read(), self._voxels, (0, 0, 0))


def correction(segmentation: NDArray[Any]) -> tuple[BoundingBox, NDArray[Any]]:
    """Return a box in the middle of a segmentation, and its voxels, of whose ids the two most frequent became one."""
    middle = np.array(segmentation.shape) // 2 // _ANNOTATION_CHUNK * _ANNOTATION_CHUNK
    box = BoundingBox((middle - _ANNOTATION_EDGE // 2).clip(min=0).tolist(), (_ANNOTATION_EDGE,) * 3)
    corrected = segmentation[box.to_slices()].copy()
    ids, counts = np.unique(corrected, return_counts=True)
    kept, joined = ids[counts.argsort()[[-1, max(-2, -len(ids))]]]
    corrected[corrected == joined] = kept
    return box, corrected


def _annotation(path: Path, box: BoundingBox, voxels: NDArray[Any]) -> MagView:
    """Write a volume annotation as WEBKNOSSOS does: one chunk in each file."""
    layer = Dataset(path, voxel_size=(1, 1, 1), device="cpu").add_layer("volume", "segmentation", dtype=voxels.dtype)
    mag_view = layer.add_mag(1, chunk_shape=_ANNOTATION_CHUNK, shard_shape=_ANNOTATION_CHUNK)
    mag_view.write(voxels, absolute_bounding_box=box)
    return mag_view


def _check_coarser(finer: MagView, coarser: MagView, is_segmentation: bool) -> None:
    """Check a part of a coarser mag: its voxels are most frequent ids, or medians, of those that lie in them."""
    factors = coarser.mag.to_np() // finer.mag.to_np()
    whole = finer.bounding_box.in_mag(finer.mag).size_xyz.to_np() // factors  # blocks that no border cuts
    shape = whole.clip(max=_CHECKED_EDGE)
    corner = (whole - shape) // 2
    if not shape.all():
        return
    box = BoundingBox((corner * coarser.mag.to_np()).tolist(), (shape * coarser.mag.to_np()).tolist())
    host = get_engine("cpu")
    found = host.asarray(coarser.read(absolute_bounding_box=box))[0]
    fine = host.asarray(finer.read(absolute_bounding_box=box))[0]
    (x, y, z), (a, b, c) = shape.tolist(), factors.tolist()
    blocks = fine.reshape(x, a, y, b, z, c).transpose(0, 2, 4, 1, 3, 5).reshape(x, y, z, a * b * c)
    right = _are_modes(found, blocks) if is_segmentation else _are_medians(found, blocks)
    if not right.all():
        voxel = tuple((np.argwhere(~right)[0] + corner).tolist())
        kind = "most frequent ids" if is_segmentation else "medians"
        raise DifferenceError(
            f"{np.count_nonzero(~right):,} voxels of mag {coarser.mag} are no {kind} of mag {finer.mag}, first {voxel}"
        )


def _are_modes(found: NDArray[Any], blocks: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether no value of a block ``(x, y, z, n)`` is more frequent than the one that was found."""
    counts = [(blocks == blocks[..., [one]]).sum(axis=-1) for one in range(blocks.shape[-1])]
    right: NDArray[np.bool_] = (blocks == found[..., np.newaxis]).sum(axis=-1) == np.max(counts, axis=0)
    return right


def _are_medians(found: NDArray[Any], blocks: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether what was found lies in the middle of a block ``(x, y, z, n)``, or between both values in the middle."""
    ascending = np.sort(blocks, axis=-1)
    count = blocks.shape[-1]
    right: NDArray[np.bool_] = (ascending[..., (count - 1) // 2] <= found) & (found <= ascending[..., count // 2])
    return right
