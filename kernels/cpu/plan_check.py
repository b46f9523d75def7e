"""Checking the tables of a read plan before other kernels, which look at no bounds, follow them."""

from __future__ import annotations

from numba import njit

from ..compilation import cached_kernel
from ..planning import (
    CHUNK_BOX,
    CHUNK_CODEC,
    CHUNK_COLUMNS,
    CHUNK_NBYTES,
    FILE,
    MISSING_BOX,
    MISSING_COLUMNS,
    PLACEMENT_ORDER,
    SEGMENT_COLUMNS,
)


@njit(nogil=True)
def _is_within(numbers, count):
    """Whether numbers are those of rows of a table."""
    for number in numbers:
        if number < 0 or number >= count:
            return False
    return True


@cached_kernel
def find_bad_column(segments, chunks, missing, counts, max_chunk_nbytes, raw, piece_nbytes):
    """Return which column of a read plan names what does not exist: its place in the list below, or -1.

    Parameters
    ----------
    segments, chunks, missing : int64 (columns, n)
        The plan's tables, of which files of segments, bytes, boxes, pipelines and placement order of chunks, and boxes
        of missing chunks are looked at; the columns are counted first.
    counts : tuple of int
        Files, boxes and pipelines of the plan.
    max_chunk_nbytes : int
        What no length exceeds.
    raw, piece_nbytes : int
        The pipeline of chunks that are stored as they are, or -1, and the bytes that each of them has.
    """
    columns = len(segments), len(chunks), len(missing)
    if columns != (SEGMENT_COLUMNS, CHUNK_COLUMNS, MISSING_COLUMNS):
        return 0
    if not _is_within(segments[FILE], counts[0]):
        return 1
    if not _is_within(chunks[CHUNK_NBYTES], max_chunk_nbytes + 1):
        return 2
    if not _is_within(chunks[CHUNK_BOX], counts[1]):
        return 3
    if not _is_within(chunks[CHUNK_CODEC], counts[2]):
        return 4
    if not _is_within(chunks[PLACEMENT_ORDER], chunks.shape[1]):
        return 5
    if not _is_within(missing[MISSING_BOX], counts[1]):
        return 6
    if raw >= 0:
        for row in range(chunks.shape[1]):
            if chunks[CHUNK_CODEC, row] == raw and chunks[CHUNK_NBYTES, row] != piece_nbytes:
                return 7
    return -1
