"""The tables of read plans, for any number of boxes: which chunks they touch, and where these lie in their files.

Boxes have one shape. All lengths are voxels along the three axes of storage, the fastest first; a *piece* is a chunk,
or a slab of a large raw one. One int64 array holds what is the same for all boxes; `planning` names its items. So one
compiled version serves every array, and a call costs microseconds.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ..compilation import cached_kernel
from ..planning import (
    ABSENT,
    BEGIN,
    CHUNK_BOX,
    CHUNK_CODEC,
    CHUNK_COLUMNS,
    CHUNK_NBYTES,
    CHUNK_ORIGIN,
    CHUNK_STAGING_OFFSET,
    CODEC,
    END,
    ENTRIES,
    EXACT_NBYTES,
    FILE,
    FIRST_BOX,
    FIRST_ORDINAL,
    KIND,
    MAX_GAP,
    MISSING_BOX,
    MISSING_COLUMNS,
    MISSING_ORIGIN,
    NBYTES,
    OFFSET,
    PER_CHUNK,
    PER_SHARD,
    PIECE,
    PIECE_NBYTES,
    PLACEMENT_ORDER,
    SEGMENT_COLUMNS,
    SHAPE,
    SHIFT,
    SKIPPED,
    STAGING_OFFSET,
    STRIDES,
    TABLE,
)
from . import intrinsics

# Rows of the pieces that are found: those of missing ones, and
_FOUND_OFFSET, _FOUND_NBYTES = MISSING_COLUMNS, MISSING_COLUMNS + 1
_FOUND_COLUMNS = MISSING_COLUMNS + 2


@njit(nogil=True)
def _spread(value):
    """Move bit ``i`` of a number below 2**21 to bit ``3 i``; see `wkgpu.storage.wkw.morton`."""
    code = value & 0x1FFFFF
    code = (code | (code << 32)) & 0x001F00000000FFFF
    code = (code | (code << 16)) & 0x001F0000FF0000FF
    code = (code | (code << 8)) & 0x100F00F00F00F00F
    code = (code | (code << 4)) & 0x10C30C30C30C30C3
    return (code | (code << 2)) & 0x1249249249249249


@njit(nogil=True)
def _ordinal(x, y, z, numbers):
    """Position of a chunk in its shard's index."""
    stride_x, stride_y, stride_z = numbers[STRIDES], numbers[STRIDES + 1], numbers[STRIDES + 2]
    if stride_x | stride_y | stride_z:
        return x * stride_x + y * stride_y + z * stride_z + numbers[FIRST_ORDINAL]
    return (_spread(x) | _spread(y) << 1 | _spread(z) << 2) + numbers[FIRST_ORDINAL]


@njit(nogil=True)
def _per_shard(numbers, axis):
    """Pieces of a shard along an axis."""
    return numbers[PER_CHUNK + axis] * numbers[PER_SHARD + axis]


@njit(nogil=True)
def _first_shard(corners, box, axis, numbers):
    return corners[box, axis] // (numbers[PIECE + axis] * _per_shard(numbers, axis))


@njit(nogil=True)
def _last_shard(corners, box, axis, numbers):
    end = corners[box, axis] + numbers[SHAPE + axis] - 1
    return end // (numbers[PIECE + axis] * _per_shard(numbers, axis))


@njit(nogil=True)
def _shards_of_box(corners, box, numbers):
    count = 1
    for axis in range(3):
        count *= _last_shard(corners, box, axis, numbers) - _first_shard(corners, box, axis, numbers) + 1
    return count


@njit(nogil=True)
def _is_before(shards, one, other):
    """Whether a shard comes before another one, by z, y, x."""
    for axis in (2, 1, 0):
        if shards[one, axis] != shards[other, axis]:
            return shards[one, axis] < shards[other, axis]
    return False


@cached_kernel
def find_shards(corners, numbers):
    """List the shards that boxes touch.

    Parameters
    ----------
    corners : int64 (boxes, 3)
        First voxels.
    numbers : int64 (NUMBERS,)
        See `planning`.

    Returns
    -------
    shards : int64 (shards, 4)
        Each once, by z, y, x: ``x, y, z`` in shards, and where its boxes end.
    boxes : int64 (n,)
        The boxes that touch the first shard, ascending, then those that touch the second one, ...
    """
    count = 0
    for box in range(len(corners)):
        count += _shards_of_box(corners, box, numbers)
    shards = np.empty((count, 4), np.int64)
    boxes = np.empty(count, np.int64)
    row = 0
    is_sorted = True
    for box in range(len(corners)):
        x0, x1 = _first_shard(corners, box, 0, numbers), _last_shard(corners, box, 0, numbers) + 1
        for z in range(_first_shard(corners, box, 2, numbers), _last_shard(corners, box, 2, numbers) + 1):
            for y in range(_first_shard(corners, box, 1, numbers), _last_shard(corners, box, 1, numbers) + 1):
                for x in range(x0, x1):
                    shards[row, 0], shards[row, 1], shards[row, 2] = x, y, z
                    boxes[row] = box
                    if row and _is_before(shards, row, row - 1):
                        is_sorted = False
                    row += 1
    if not is_sorted:
        for axis in range(3):
            order = np.argsort(shards[:, axis].copy(), kind="mergesort")
            shards, boxes = shards[order], boxes[order]
    found = 0
    for row in range(count):
        if row == 0 or _is_before(shards, row - 1, row):
            shards[found, :3] = shards[row, :3]
            found += 1
        shards[found - 1, 3] = row + 1
    return shards[:found], boxes


@njit(nogil=True)
def _span(corners, box, shard, axis, numbers):
    """Return the first piece of a box in a shard along an axis, and the one behind the last; in pieces of the mag."""
    piece = numbers[PIECE + axis]
    begin = shard * _per_shard(numbers, axis)
    corner = corners[box, axis]
    first = max(corner // piece, begin)
    last = min((corner + numbers[SHAPE + axis] - 1) // piece + 1, begin + _per_shard(numbers, axis))
    return first, last


@njit(nogil=True)
def _count_rows(corners, numbers, shards, boxes):
    count = shard = 0
    for pair in range(len(boxes)):
        if pair == shards[shard, 3]:
            shard += 1
        rows = 1
        for axis in range(3):
            first, last = _span(corners, boxes[pair], shards[shard, axis], axis, numbers)
            rows *= last - first
        count += rows
    return count


@njit(nogil=True)
def _extent(index, ordinal, part, numbers):
    """Return the file offset and the encoded bytes of a piece, 0 where it is not stored; -1 for what cannot be."""
    if index[KIND] == ABSENT:
        return 0, 0
    if ordinal >= index[ENTRIES]:
        return 0, -1
    if index[KIND] == TABLE:
        begin = intrinsics.load_8_bytes(index[BEGIN] + 8 * ordinal)
        nbytes = intrinsics.load_8_bytes(index[END] + 8 * ordinal) - begin
    else:
        begin, nbytes = index[BEGIN] + ordinal * index[END], index[END]
    if index[EXACT_NBYTES] and nbytes and nbytes != index[EXACT_NBYTES]:
        return 0, -1
    if nbytes and numbers[PER_CHUNK + 1] * numbers[PER_CHUNK + 2] > 1:
        return begin + part * numbers[PIECE_NBYTES], numbers[PIECE_NBYTES]
    return begin, nbytes


@njit(nogil=True)
def _sort_rows(offsets, first, last, order):
    """Sort the rows of a file by their offsets in it, and rows of equal offsets as they came."""
    count = last - first
    bits = 0
    while count >> bits:
        bits += 1
    low, high = offsets[first], offsets[first]
    for row in range(first, last):
        low, high = min(low, offsets[row]), max(high, offsets[row])
    if (high - low) >> (62 - bits):  # does not fit into one number with the row
        order[first:last] = np.argsort(offsets[first:last], kind="mergesort")
        return
    keys = order[first:last]
    is_sorted = True
    for row in range(count):
        keys[row] = (offsets[first + row] - low) << bits | row
        is_sorted = is_sorted and (row == 0 or keys[row - 1] < keys[row])
    if not is_sorted:
        keys.sort()
    for row in range(count):
        keys[row] &= (1 << bits) - 1


@njit(nogil=True)
def _find_rows(corners, numbers, shard, boxes, index, found, missing, counts):
    """Add the pieces of a shard that boxes touch, by box, z, y, x, to those that are stored, or missing.

    Parameters
    ----------
    shard, boxes, index : int64 (4,), (n,), (INDEX_COLUMNS,)
        Its row of the shards; the boxes that touch it; its row of the indexes.
    found, missing : int64 (_FOUND_COLUMNS, rows), (MISSING_COLUMNS, rows)
        Box, origin, and of what is stored also file offset and bytes.
    counts : tuple of int
        Rows of both.

    Returns
    -------
    counts : tuple of int
        Rows of both; the first is -1 if the index has fewer chunks than the shard, or raw ones of a wrong length.
    """
    count, absent = counts
    begin_x, begin_y, begin_z = (
        shard[0] * _per_shard(numbers, 0), shard[1] * _per_shard(numbers, 1), shard[2] * _per_shard(numbers, 2)
    )  # fmt: skip
    parts_y, parts_z = numbers[PER_CHUNK + 1], numbers[PER_CHUNK + 2]
    for box in boxes:
        first_x, last_x = _span(corners, box, shard[0], 0, numbers)
        first_y, last_y = _span(corners, box, shard[1], 1, numbers)
        first_z, last_z = _span(corners, box, shard[2], 2, numbers)
        for z in range(first_z, last_z):
            for y in range(first_y, last_y):
                chunk_y, chunk_z = (y - begin_y) // parts_y, (z - begin_z) // parts_z
                part = (z - begin_z - chunk_z * parts_z) * parts_y + y - begin_y - chunk_y * parts_y
                for x in range(first_x, last_x):
                    ordinal = _ordinal((x - begin_x) // numbers[PER_CHUNK], chunk_y, chunk_z, numbers)
                    offset, nbytes = _extent(index, ordinal, part, numbers)
                    if nbytes < 0:
                        return -1, absent
                    table, row = (found, count) if nbytes else (missing, absent)
                    table[MISSING_BOX, row] = box + numbers[FIRST_BOX]
                    table[MISSING_ORIGIN, row] = x * numbers[PIECE] - corners[box, 0] + numbers[SHIFT]
                    table[MISSING_ORIGIN + 1, row] = y * numbers[PIECE + 1] - corners[box, 1] + numbers[SHIFT + 1]
                    table[MISSING_ORIGIN + 2, row] = z * numbers[PIECE + 2] - corners[box, 2] + numbers[SHIFT + 2]
                    if nbytes:
                        found[_FOUND_OFFSET, count], found[_FOUND_NBYTES, count] = offset, nbytes
                        count += 1
                    else:
                        absent += 1
    return count, absent


@njit(nogil=True)
def _lay_out(file, found, order, span, max_gap, segments, chunks, codec, totals):
    """Add the rows of one file, in the order in which they lie there, to the staging space.

    Parameters
    ----------
    span : tuple of int
        The first of the rows, and the one behind the last.
    totals : tuple of int
        Segments, bytes that are fetched, and bytes of the largest chunk, before and (as the result) after that.
    """
    first, last = span
    segment, staged, largest = totals
    _sort_rows(found[_FOUND_OFFSET], first, last, order)
    end = np.int64(0)  # of the last segment, in the file
    for row in range(first, last):
        source = first + order[row]
        begin, nbytes = found[_FOUND_OFFSET, source], found[_FOUND_NBYTES, source]
        if row == first or begin - end > max_gap:
            segments[FILE, segment], segments[OFFSET, segment] = file, begin
            segments[STAGING_OFFSET, segment] = staged
            segment += 1
            end = begin
        if begin + nbytes > end:
            staged += begin + nbytes - end
            end = begin + nbytes
            segments[NBYTES, segment - 1] = end - segments[OFFSET, segment - 1]
        offset = begin - segments[OFFSET, segment - 1] + segments[STAGING_OFFSET, segment - 1]
        chunks[CHUNK_STAGING_OFFSET, row], chunks[CHUNK_NBYTES, row] = offset, nbytes
        chunks[CHUNK_BOX, row], chunks[CHUNK_CODEC, row] = found[MISSING_BOX, source], codec
        for axis in range(3):
            chunks[CHUNK_ORIGIN + axis, row] = found[MISSING_ORIGIN + axis, source]
        chunks[PLACEMENT_ORDER, source] = row
        largest = max(largest, nbytes)
    return segment, staged, largest


@njit(nogil=True)
def _first_columns(table, count):
    """Return a table of the first columns of another one."""
    if count == table.shape[1]:
        return table
    part = np.empty((table.shape[0], count), np.int64)
    for row in range(table.shape[0]):
        for column in range(count):
            part[row, column] = table[row, column]
    return part


@cached_kernel
def read_tables(corners, numbers, shards, boxes, indexes):
    """Make the tables of a read plan.

    Parameters
    ----------
    corners, numbers, shards, boxes
        As `find_shards` takes and returns them.
    indexes : int64 (shards, INDEX_COLUMNS)
        How the index of each shard answers.

    Returns
    -------
    segments, chunks : int64 (SEGMENT_COLUMNS, n), (CHUNK_COLUMNS, n)
        The tables that are fetched and decoded, ascending by staging offset; files are counted without absent ones.
    missing : int64 (MISSING_COLUMNS, n)
        The chunks that are not stored.
    summary : tuple of int
        Bytes that are fetched, and bytes of the largest encoded chunk. -1 bytes: an index has fewer chunks than its
        shard, or raw ones of a wrong length; then, which file's.
    """
    rows = _count_rows(corners, numbers, shards, boxes)
    segments, chunks = np.empty((SEGMENT_COLUMNS, rows), np.int64), np.empty((CHUNK_COLUMNS, rows), np.int64)
    missing = np.empty((MISSING_COLUMNS, rows), np.int64)
    found, order = np.empty((_FOUND_COLUMNS, rows), np.int64), np.empty(rows, np.int64)
    count, absent, file = np.int64(0), np.int64(0), np.int64(0)
    totals = np.int64(0), np.int64(0), np.int64(0)
    begin = end = 0
    for shard in range(len(shards)):
        first, index = count, indexes[shard]
        begin, end = end, shards[shard, 3]
        if index[KIND] == SKIPPED:
            continue
        count, absent = _find_rows(
            corners, numbers, shards[shard], boxes[begin:end], index, found, missing, (count, absent)
        )
        if count < 0:
            count, totals = np.int64(0), (np.int64(0), np.int64(-1), file)
            break
        if count > first:
            totals = _lay_out(
                file, found, order, (first, count), numbers[MAX_GAP], segments, chunks, index[CODEC], totals
            )
        if index[KIND] != ABSENT:
            file += 1
    return (
        _first_columns(segments, totals[0]), _first_columns(chunks, count), _first_columns(missing, absent), totals[1:]
    )  # fmt: skip
