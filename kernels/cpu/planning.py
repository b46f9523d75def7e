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
    CHUNK_NBYTES,
    CHUNK_STAGING_OFFSET,
    CODEC,
    END,
    ENTRIES,
    FILE,
    FIRST_BOX,
    KIND,
    MAX_GAP,
    MISSING_BOX,
    NBYTES,
    OFFSET,
    PER_CHUNK,
    PER_SHARD,
    PIECE,
    PIECE_NBYTES,
    PLACEMENT_ORDER,
    SHAPE,
    SHIFT,
    STAGING_OFFSET,
    STRIDES,
    TABLE,
    TABLE_COLUMNS,
)
from . import intrinsics


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
        return x * stride_x + y * stride_y + z * stride_z
    return _spread(x) | _spread(y) << 1 | _spread(z) << 2


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
    shards : int64 (shards, 3)
        Each once, by z, y, x; in shards.
    boxes : int64 (n,)
        The boxes that touch the first shard, ascending, then those that touch the second one, ...
    begins : int64 (shards + 1,)
        Where the boxes of each shard begin.
    """
    count = 0
    for box in range(len(corners)):
        count += _shards_of_box(corners, box, numbers)
    shards = np.empty((count, 3), np.int64)
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
    begins = np.empty(count + 1, np.int64)
    found = 0
    for row in range(count):
        if row == 0 or _is_before(shards, row - 1, row):
            shards[found] = shards[row]
            begins[found] = row
            found += 1
    begins[found] = count
    return shards[:found], boxes, begins[: found + 1]


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
def _count_rows(corners, numbers, shards, boxes, begins):
    count = 0
    for shard in range(len(shards)):
        for pair in range(begins[shard], begins[shard + 1]):
            rows = 1
            for axis in range(3):
                first, last = _span(corners, boxes[pair], shards[shard, axis], axis, numbers)
                rows *= last - first
            count += rows
    return count


@njit(nogil=True)
def _extent(index, ordinal, part, numbers):
    """Return the file offset and the encoded bytes of a piece, 0 where it is not stored; -1 beyond the index."""
    if index[KIND] == ABSENT:
        return 0, 0
    if ordinal >= index[ENTRIES]:
        return 0, -1
    if index[KIND] == TABLE:
        begin = intrinsics.load_8_bytes(index[BEGIN] + 8 * ordinal)
        return begin, intrinsics.load_8_bytes(index[END] + 8 * ordinal) - begin
    begin = index[BEGIN] + ordinal * index[END]
    if numbers[PER_CHUNK + 1] * numbers[PER_CHUNK + 2] > 1:
        return begin + part * numbers[PIECE_NBYTES], numbers[PIECE_NBYTES]
    return begin, index[END]


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
    shard, boxes, index : int64 (3,), (n,), (INDEX_COLUMNS,)
        The shard; the boxes that touch it; its row of the indexes.
    found, missing : tuple of int64 (rows,), (rows, 3), ...
        Box, origin, and of what is stored also file offset and bytes.
    counts : tuple of int
        Rows of both.

    Returns
    -------
    counts : tuple of int
        Rows of both; the first is -1 if the index has fewer chunks than the shard.
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
                    rows, row = (found[0], count) if nbytes else (missing[0], absent)
                    origins = found[1] if nbytes else missing[1]
                    rows[row] = box + numbers[FIRST_BOX]
                    origins[row, 0] = x * numbers[PIECE] - corners[box, 0] + numbers[SHIFT]
                    origins[row, 1] = y * numbers[PIECE + 1] - corners[box, 1] + numbers[SHIFT + 1]
                    origins[row, 2] = z * numbers[PIECE + 2] - corners[box, 2] + numbers[SHIFT + 2]
                    if nbytes:
                        found[2][count], found[3][count] = offset, nbytes
                        count += 1
                    else:
                        absent += 1
    return count, absent


@njit(nogil=True)
def _lay_out(file, found, order, span, max_gap, tables, origins, codec, totals):
    """Add the rows of one file, in the order in which they lie there, to the staging space.

    Parameters
    ----------
    span : tuple of int
        The first of the rows, and the one behind the last.
    totals : tuple of int
        Segments, bytes that are fetched, and bytes of the largest chunk, before and (as the result) after that.
    """
    boxes, found_origins, offsets, lengths = found
    first, last = span
    segment, staged, largest = totals
    _sort_rows(offsets, first, last, order)
    end = np.int64(0)  # of the last segment, in the file
    for row in range(first, last):
        source = first + order[row]
        begin, nbytes = offsets[source], lengths[source]
        if row == first or begin - end > max_gap:
            tables[FILE, segment], tables[OFFSET, segment] = file, begin
            tables[STAGING_OFFSET, segment] = staged
            segment += 1
            end = begin
        if begin + nbytes > end:
            staged += begin + nbytes - end
            end = begin + nbytes
            tables[NBYTES, segment - 1] = end - tables[OFFSET, segment - 1]
        offset = begin - tables[OFFSET, segment - 1] + tables[STAGING_OFFSET, segment - 1]
        tables[CHUNK_STAGING_OFFSET, row], tables[CHUNK_NBYTES, row] = offset, nbytes
        tables[CHUNK_BOX, row], tables[CHUNK_CODEC, row] = boxes[source], codec
        for axis in range(3):
            origins[row, axis] = found_origins[source, axis]
        tables[PLACEMENT_ORDER, source] = row
        largest = max(largest, nbytes)
    return segment, staged, largest


@cached_kernel
def read_tables(corners, numbers, shards, boxes, begins, indexes):
    """Make the tables of a read plan.

    Parameters
    ----------
    corners, numbers, shards, boxes, begins
        As `find_shards` takes and returns them.
    indexes : int64 (shards, INDEX_COLUMNS)
        How the index of each shard answers.

    Returns
    -------
    tables : int64 (TABLE_COLUMNS, >= rows)
        The columns of the segments, ascending by staging offset: file, counted without absent ones; offset; bytes;
        staging offset. Those of the chunks, ascending by staging offset: staging offset; encoded bytes; box; codec. The
        rows of the chunks by shard, box, z, y, x. The boxes of chunks that are not stored, in that order.
    origins, missing_origins : int64 (>= rows, 3)
        First voxels of the chunks, and of those that are not stored, in their boxes.
    summary : tuple of int
        Segments, chunks, missing chunks, bytes that are fetched, bytes of the largest encoded chunk. -1 segments: an
        index has fewer chunks than its shard.
    """
    rows = _count_rows(corners, numbers, shards, boxes, begins)
    tables, origins = np.empty((TABLE_COLUMNS, rows), np.int64), np.empty((rows, 3), np.int64)
    missing = tables[MISSING_BOX], np.empty((rows, 3), np.int64)
    columns = np.empty((4, rows), np.int64)
    found, order = (columns[0], np.empty((rows, 3), np.int64), columns[1], columns[2]), columns[3]
    count, absent, file = np.int64(0), np.int64(0), np.int64(0)
    totals = np.int64(0), np.int64(0), np.int64(0)
    for shard in range(len(shards)):
        first, index = count, indexes[shard]
        count, absent = _find_rows(
            corners, numbers, shards[shard], boxes[begins[shard] : begins[shard + 1]], index, found, missing,
            (count, absent),
        )  # fmt: skip
        if count < 0:
            totals = np.int64(-1), np.int64(0), np.int64(0)
            break
        if count > first:
            totals = _lay_out(
                file, found, order, (first, count), numbers[MAX_GAP], tables, origins, index[CODEC], totals
            )
        if index[KIND] != ABSENT:
            file += 1
    return tables, origins, missing[1], (totals[0], count, absent, totals[1], totals[2])


@njit(nogil=True)
def _is_within(numbers, count):
    """Whether numbers are those of rows of a table."""
    for number in numbers:
        if number < 0 or number >= count:
            return False
    return True


@cached_kernel
def find_bad_column(files, lengths, boxes, codecs, placement_order, missing_boxes, counts, max_chunk_nbytes):
    """Return which column of a read plan names what does not exist: its position among the arguments, or -1.

    Parameters
    ----------
    files, lengths, boxes, codecs, placement_order, missing_boxes : int64 (n,)
        Of segments; of chunks four times; of missing chunks.
    counts : tuple of int
        Files, boxes and pipelines of the plan.
    max_chunk_nbytes : int
        What no length exceeds.
    """
    if not _is_within(files, counts[0]):
        return 0
    if not _is_within(lengths, max_chunk_nbytes + 1):
        return 1
    if not _is_within(boxes, counts[1]):
        return 2
    if not _is_within(codecs, counts[2]):
        return 3
    if not _is_within(placement_order, lengths.size):
        return 4
    return -1 if _is_within(missing_boxes, counts[1]) else 5
