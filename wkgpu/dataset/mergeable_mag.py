"""A mag that another one, such as a volume annotation, can be merged into."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from wkgpu.dataset.view import View
from wkgpu.errors import ArgumentError, DtypeError, MismatchError, RegionError, ShapeError
from wkgpu.geometry.bounding_box import BoundingBox
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.geometry.voxel_box import Triple
from wkgpu.operations.jobs import Executor, run_jobs
from wkgpu.operations.merging import files_by_shard, merge_files
from wkgpu.storage.plans.chunk_lookup import Ints

if TYPE_CHECKING:
    from wkgpu.dataset.mag_view import MagView


class MergeableMag(View):
    """What a `MagView` can take over from another mag."""

    @abstractmethod
    def _grow(self, box: BoundingBox) -> None:
        """Let the bounding box hold another box as well."""

    def merge_with_view(
        self, other: MagView, executor: Executor | None = None, *, progress_desc: str | None = None
    ) -> None:
        """Overlay another mag, such as a volume annotation, whose files hold one chunk each.

        Each file of the other mag replaces all voxels of its box, with zeros too, and also those beyond the other
        layer's bounding box. All other voxels stay. The layer's bounding box then holds the boxes of these files.
        (webknossos lets it grow to whole shards.)

        Others may read and write meanwhile: each shard is locked like in any write, and takes the place of the old one
        when it is whole (a raw shard changes in place). Shards that were merged before a failure stay merged, all
        others are as they were; merging once more completes them.

        Parameters
        ----------
        other : MagView
            Of the same mag, dtype and number of channels; of a dataset or from `open_mag`. Its chunks may have another
            shape and codec.
        executor : Executor, optional
            Runs a job for each shard that changes; without it they run one after another in this process, on all
            cores. A job holds up to 1 GiB of new voxels, and as much again where files fill chunks only in part.
        progress_desc : str, optional
            Shows a progress bar with this text.

        Raises
        ------
        ArgumentError
            If `other` is no MagView.
        ReadOnlyError
            If this mag is read-only.
        MismatchError, DtypeError, ShapeError
            If the other mag has another magnification, dtype or number of channels, or several chunks in a file.

        Examples
        --------
        >>> annotation = open_mag("annotation/data_Volume/1")  # doctest: +SKIP
        >>> mag_view.merge_with_view(annotation)  # doctest: +SKIP
        """
        if not isinstance(other, View):
            raise ArgumentError(
                f"other is {other!r}; give the MagView to merge, from a layer's get_mag() or open_mag()."
            )
        self._check_writable()
        self._check_mergeable(other)
        regions = other._array.shard_boxes()
        if not regions:
            return
        frame, shard_shape = self._frame, self._array.spec.shard_shape
        files, file_shape = np.array([topleft for topleft, _ in regions], np.int64), other._array.spec.shard_shape
        boxes = [frame.bounding_box(region) for region in regions]
        # In another process a view opens its folder and no more, where a whole mag lists its files or its dataset.
        source = View(other.path, other.bounding_box, other.mag, read_only=True)
        jobs = [
            (source, frame.bounding_box((shard, shard_shape)), [boxes[file] for file in inside])
            for shard, inside in files_by_shard(files, file_shape, shard_shape)
        ]
        shard_boxes = [box for _, box, _ in jobs]
        run_jobs(self.merge_chunk, jobs, executor=executor, boxes=shard_boxes, progress_desc=progress_desc)
        first = files.min(axis=0)
        merged = frame.bounding_box((_triple(first), _triple(files.max(axis=0) + file_shape - first)))
        if not self.bounding_box.contains_bbox(merged):
            self._grow(merged)

    def merge_chunk(self, args: tuple[View, NDBoundingBox, Sequence[NDBoundingBox]]) -> None:
        """Overlay files of another mag on one shard; the job of `merge_with_view` for that shard.

        The layer's bounding box does not grow.

        Parameters
        ----------
        args : tuple
            The other mag, or any view of it; the box of a shard of this mag, whether the shard exists or not; and
            the boxes of files of the other mag, of which those parts are used that lie in the shard. A file that does
            not exist holds zeros. All boxes are in Mag(1).

        Raises
        ------
        RegionError
            For a box that is not that of one file.
        ReadOnlyError, MismatchError, DtypeError, ShapeError
            As for `merge_with_view`.

        Examples
        --------
        >>> shard_box = BoundingBox((0, 0, 0), (1024, 1024, 1024))  # doctest: +SKIP
        >>> mag_view.merge_chunk((other, shard_box, [BoundingBox((64, 32, 0), (32, 32, 32))]))  # doctest: +SKIP
        """
        try:
            other, shard_box, boxes = args
        except (TypeError, ValueError):
            raise ArgumentError(f"args is {args!r}; give a view, the box of a shard, and boxes of files.") from None
        if not isinstance(other, View):
            raise ArgumentError(f"args begins with {other!r}; give the MagView to merge, or a view of it.")
        self._check_writable()
        self._check_mergeable(other)
        target, source = self._array, other._array
        (shard,) = self._file_corners([shard_box], target.spec.shard_shape)
        files = self._file_corners(boxes, source.spec.shard_shape)
        merge_files(target, source, self._engine, _triple(shard), files)

    def _check_mergeable(self, other: View) -> None:
        ours, theirs = self._array.spec, other._array.spec
        if other.mag != self._mag:
            raise MismatchError(
                f"{other!r} has the mag {other.mag}, {self!r} has {self._mag}; merge mags that are equal."
            )
        if theirs.dtype != ours.dtype:
            raise DtypeError(f"{other!r} has voxels of {theirs.dtype}, {self!r} of {ours.dtype}; merge equal dtypes.")
        if theirs.num_channels != ours.num_channels:
            raise ShapeError(
                f"{other!r} has {theirs.num_channels} channels, {self!r} has {ours.num_channels}; merge as many."
            )
        if theirs.chunks_in_shard != 1:
            raise ShapeError(
                f"{other!r} has {theirs.chunks_in_shard} chunks in a file, so its files do not tell which voxels are "
                "set; rechunk() it to one chunk in a file, which leaves files of zeros out."
            )

    def _file_corners(self, boxes: Sequence[NDBoundingBox], file_shape: Triple) -> Ints:
        """Return the first voxels, in the mag's own grid, (n, 3), of boxes in Mag(1) that each are that of a file."""
        found = np.array([(*box.topleft_xyz, *box.size_xyz) for box in boxes], np.int64).reshape(-1, 6)
        shape = np.multiply(file_shape, self._mag.to_tuple())
        topleft, size = found[:, :3], found[:, 3:]
        is_file = ((topleft >= 0) & (topleft % shape == 0) & (size == shape)).all(axis=1)
        if not is_file.all():
            raise RegionError(
                f"{boxes[int(is_file.argmin())]} is not the box of a file; a box has {shape.tolist()} voxels of Mag(1) "
                "and begins at a multiple of them. Use those of MagView.get_bounding_boxes_on_disk()."
            )
        return topleft // self._mag.to_tuple()


def _triple(numbers: Ints) -> Triple:
    x, y, z = numbers.tolist()
    return x, y, z
