"""The kernel that compares chunks on the CPU: pairs of chunks are fetched, decoded and compared in a core's cache.

Voxels are written nowhere but to two chunks' worth of scratch, and not even there where the encoded bytes of a pair are
equal, or where a chunk lies in the file as it is.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ..compilation import cached_kernel
from ..planning import CHUNK_NBYTES, CHUNK_STAGING_OFFSET
from . import intrinsics
from .files import end_of_chunk, fetch_chunks, take
from .pipeline import PLAIN, begin_decoding_all, decode, is_plain, may_be_plain
from .primitives import fill_bytes


@njit(nogil=True)
def _continues(rows, first, position, chunks, capacity):
    """Whether the chunk at a position follows the one before and fits a buffer that begins with the first one.

    Chunks that are not stored follow each other.
    """
    row = rows[position]
    if rows[first] < 0:
        return row < 0
    begin = chunks[CHUNK_STAGING_OFFSET, rows[first]]
    return row == rows[position - 1] + 1 and end_of_chunk(chunks, row) - begin <= capacity


@njit(nogil=True)
def _run(ones, others, one, other, first, last, capacity):
    """Return the end of the pairs from ``first`` on that can be fetched together, on both sides."""
    end = first + 1
    while (
        end < last
        and _continues(ones, first, end, one[2], capacity)
        and _continues(others, first, end, other[2], capacity)
    ):
        end += 1
    return end


@njit(nogil=True)
def _fetch(side, first, last, staging, failure):
    """Fetch the chunks of the rows up to ``last``, which is included, where they are stored; whether that succeeded."""
    descriptors, segments, chunks, _, _ = side
    return first < 0 or fetch_chunks(first, last, chunks, segments, descriptors, staging, failure)


@njit(nogil=True)
def _place(staging, chunks, first, row):
    """Return the address of a chunk in a buffer that begins with the chunk ``first``; 0 if it is not stored."""
    if row < 0:
        return np.int64(0)
    return staging + chunks[CHUNK_STAGING_OFFSET, row] - chunks[CHUNK_STAGING_OFFSET, first]


@njit(nogil=True)
def _voxels(encoded, row, side, pipelines, size, wanted, scratch, work, failure):
    """Return the address of the first ``wanted`` decoded bytes of a chunk, or 0 for a failure."""
    if row < 0:
        fill_bytes(scratch, wanted, side[4])
        return scratch
    pipeline, nbytes = pipelines[side[3][row]], side[2][CHUNK_NBYTES, row]
    if may_be_plain(pipeline, nbytes, size) and is_plain(pipeline, encoded, size):
        return encoded + pipeline[PLAIN]
    return scratch if decode(pipeline, encoded, nbytes, scratch, wanted, size, work, row, failure) else 0


@njit(nogil=True)
def _are_equal(a, b, origin, geometry):
    """Whether two decoded chunks have the same bytes where they lie in the box."""
    chunk_x, chunk_y, chunk_z, box_x, box_y, box_z, voxel = geometry
    line = chunk_x * voxel
    begin_x, end_x = max(-origin[0], 0), min(box_x - origin[0], chunk_x)
    begin_y, end_y = max(-origin[1], 0), min(box_y - origin[1], chunk_y)
    begin_z, end_z = max(-origin[2], 0), min(box_z - origin[2], chunk_z)
    if end_x - begin_x == chunk_x and end_y - begin_y == chunk_y:
        begin = begin_z * chunk_y * line
        return intrinsics.compare_bytes(a + begin, b + begin, (end_z - begin_z) * chunk_y * line) == 0
    for z in range(begin_z, end_z):
        for y in range(begin_y, end_y):
            begin = (z * chunk_y + y) * line + begin_x * voxel
            if intrinsics.compare_bytes(a + begin, b + begin, (end_x - begin_x) * voxel) != 0:
                return False
    return True


@njit(nogil=True)
def _compare(row, other_row, one, other, pipelines, size, origin, geometry, encoded, scratches, work, failures):
    """Whether two chunks are equal; not where one of them is damaged, which is a failure."""
    plane = geometry[0] * geometry[1] * geometry[6]
    wanted = min(geometry[5] - origin[2], geometry[2]) * plane
    if (
        row >= 0
        and other_row >= 0
        and one[3][row] == other[3][other_row]
        and one[2][CHUNK_NBYTES, row] == other[2][CHUNK_NBYTES, other_row]
        and intrinsics.compare_bytes(encoded[0], encoded[1], one[2][CHUNK_NBYTES, row]) == 0
    ):
        return True
    a = _voxels(encoded[0], row, one, pipelines, size, wanted, scratches[0], work, failures[0])
    b = 0
    if a:
        b = _voxels(encoded[1], other_row, other, pipelines, size, wanted, scratches[1], work, failures[1])
    return a != 0 and b != 0 and _are_equal(a, b, origin, geometry)


@cached_kernel
def compare_chunks(
    taken, step, ones, others, origins, one, other, pipelines, size, geometry, stagings, capacity, scratches, work,
    differs, failures,
):  # fmt: skip
    """Compare pairs of chunks, ``step`` at a time, until no thread finds any that is not yet taken, or two differ.

    Parameters
    ----------
    taken : int64 (1,)
        The first pair that no thread has taken yet, which the threads share.
    step : int
        How many a thread takes at a time.
    ones, others : int64 (pairs,)
        Rows of the pair in the tables of the two sides, -1 where that side does not store it.
    origins : int64 (pairs, 3)
        First voxel of the chunks in their boxes.
    one, other : tuple
        A side: its open files, segments and chunks, as in `reader.read_chunks`; which pipeline decodes each chunk,
        int64 (chunks,); and the fill value, as in `placement.fill_chunks`, in the byte order of the files.
    pipelines : int64 (pipelines, items)
        See `pipeline`, those of both sides.
    size : int
        Bytes of a decoded chunk.
    geometry : tuple of int
        ``(x, y, z)`` voxels of a chunk, ``(x, y, z)`` voxels of the box, bytes of a voxel.
    stagings, scratches : tuple of int
        Addresses, for each side, of a buffer of ``capacity`` bytes for encoded chunks, at least the largest one, and of
        one for a decoded chunk.
    work : int
        Address of the working memory of the pipelines.
    differs : int64 (1,)
        Is set to 1 where chunks differ.
    failures : tuple of int64 (3,)
        For each side; see `failures`.
    """
    begin_decoding_all(pipelines, work)
    first = take(taken, step)
    while first < ones.size:
        last = min(first + step, ones.size)
        while first < last:
            end = _run(ones, others, one, other, first, last, capacity)
            good = _fetch(one, ones[first], ones[end - 1], stagings[0], failures[0]) and _fetch(
                other, others[first], others[end - 1], stagings[1], failures[1]
            )
            for pair in range(first, end):
                row, other_row = ones[pair], others[pair]
                encoded = (
                    _place(stagings[0], one[2], ones[first], row),
                    _place(stagings[1], other[2], others[first], other_row),
                )
                origin = (origins[pair, 0], origins[pair, 1], origins[pair, 2])
                if not good or not _compare(
                    row, other_row, one, other, pipelines, size, origin, geometry, encoded, scratches, work, failures
                ):
                    differs[0] = 1
                    take(taken, ones.size)  # so that every thread ends
                    return
            first = end
        first = take(taken, step)
