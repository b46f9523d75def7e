"""The grid of chunks that covers a box, axis by axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from wkgpu.geometry.vec_int import VecInt


class ChunkGrid(NamedTuple):
    """Equal chunks, side by side, without end in all directions.

    Attributes
    ----------
    origin
        A voxel at which a chunk begins along every axis.
    shape
        The shape of a chunk in voxels.
    """

    origin: VecInt
    shape: VecInt

    @classmethod
    def covering(cls, topleft: VecInt, shape: VecInt, border_alignments: VecInt | None) -> ChunkGrid:
        """Return a grid that begins at the top left of a box, or one whose borders are multiples of the alignments.

        Raises
        ------
        AssertionError
            If the shape or the alignments are not positive, or the shape is no multiple of the alignments.
        """
        if not shape.is_positive(strictly_positive=True):
            raise AssertionError(f"The chunk shape {shape.to_tuple()} must be at least 1 along each axis.")
        if border_alignments is None:
            return cls(topleft, shape)
        if not border_alignments.is_positive(strictly_positive=True):
            raise AssertionError(
                f"The border alignments {border_alignments.to_tuple()} must be at least 1 along each axis."
            )
        if any(shape % border_alignments):
            raise AssertionError(
                f"The chunk shape {shape.to_tuple()} must be a multiple of the border alignments "
                f"{border_alignments.to_tuple()}, or the borders between chunks would miss them."
            )
        return cls(topleft - topleft % border_alignments, shape)

    def toplefts(self, lower: VecInt, upper: VecInt) -> Iterator[tuple[int, ...]]:
        """Iterate over the first voxels of all chunks that share a voxel with a box, the last axis fastest."""
        if any(first >= end for first, end in zip(lower, upper, strict=True)):
            return iter(())
        return product(*map(_starts, lower, upper, self.origin, self.shape))

    def clipped(self, lower: VecInt, upper: VecInt) -> Iterator[Sequence[tuple[int, int]]]:
        """Iterate over the same chunks, cut off at the box, as (first voxel, extent) along each axis."""
        if any(first >= end for first, end in zip(lower, upper, strict=True)):
            return iter(())
        return product(*map(_clipped_starts, lower, upper, self.origin, self.shape))


def _starts(lower: int, upper: int, origin: int, step: int) -> range:
    """Return where the chunks begin that share a voxel with ``lower:upper``, along one axis."""
    return range(lower - (lower - origin) % step, upper, step)


def _clipped_starts(lower: int, upper: int, origin: int, step: int) -> list[tuple[int, int]]:
    starts = _starts(lower, upper, origin, step)
    return [(first := max(start, lower), min(start + step, upper) - first) for start in starts]
