"""How much of the disk a mag takes, and how much it would take without compression."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wkgpu import MagView

RATIO = "Ratio: decoded bytes of the stored voxels in the bounding box / bytes on disk."
"""What `DiskUse.ratio` is, for people. Wherever a command shows a ratio, it is this one."""

_STAT_BLOCK = 512  # bytes of a unit of `st_blocks`, whatever the file system


@dataclass(frozen=True)
class DiskUse:
    """Files of a mag.

    Attributes
    ----------
    shard_files : int
        How many shards exist.
    bytes_on_disk : int
        Bytes of all files of the mag; holes that a file has are not counted.
    decoded_bytes : int
        Bytes of the voxels that these shards hold inside the mag's bounding box, decoded. A shard is as large as the
        format makes it, 1024³ voxels by default, and what it has outside of the box are zeros that were never written.
    """

    shard_files: int
    bytes_on_disk: int
    decoded_bytes: int

    @property
    def ratio(self) -> float | None:
        """Decoded bytes for each byte on disk; None where there are none."""
        return self.decoded_bytes / self.bytes_on_disk if self.shard_files and self.bytes_on_disk else None


def disk_use(mag_view: MagView) -> DiskUse:
    """Look at all files of a mag, without reading one of them.

    Raises
    ------
    NotFoundError, FormatError, StorageAccessError
        If the mag cannot be opened.
    """
    info = mag_view.info
    corners = np.array([box.topleft_xyz.to_tuple() for box in mag_view.get_bounding_boxes_on_disk()], np.int64)
    corners = corners.reshape(-1, 3)
    mag = mag_view.mag.to_np()
    box = mag_view.bounding_box
    first = box.topleft_xyz.to_np()
    inside = np.minimum(corners + info.shard_shape.to_np() * mag, first + box.size_xyz.to_np())
    inside = (inside - np.maximum(corners, first)).clip(min=0) // mag
    voxels = int(inside.prod(axis=1).sum())
    voxel_bytes = info.voxel_type.itemsize * info.num_channels
    return DiskUse(len(corners), bytes_in(mag_view.path), voxels * voxel_bytes)


def bytes_in(folder: Path | str) -> int:
    """Return the bytes that all files in a folder and its folders take on disk."""
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                total += bytes_in(entry.path)
            else:
                status = entry.stat(follow_symlinks=False)
                blocks = getattr(status, "st_blocks", 0)  # not everywhere, and 0 for what is not written out yet
                total += min(status.st_size, blocks * _STAT_BLOCK) if blocks else status.st_size
    return total
