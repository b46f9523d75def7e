"""The kernels compiled for the CPU, and the two loops that join them with liblz4: `read_chunks` and `encode_chunks`.

Both take a range of rows of a plan's chunk table and run without the GIL from the first to the last byte: a Python
thread calls them once for some dozens of chunks. Every array argument is a table of int64 and everything else an
integer or an address, so one compiled version, cached on disk, serves all voxel types and memory layouts.

A failure does not raise here: ``failure`` (int64, 3 items) receives the code, the row of the chunk, and a detail.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numba.extending import overload, register_jitable

from . import gathering, machine, placement
from .compilation import cached_kernel

# Failures, as ``failure[0]``
OK, READ_FAILED, TRUNCATED, MALFORMED, WRONG_LENGTH, ENCODE_FAILED = range(6)
# Codecs, as the ``codec`` argument
RAW, LZ4, LZ4HC = range(3)

# Lines that are joined in a buffer before they are streamed: enough for the stores to leave the store buffer.
LINES = 8


@overload(placement.copy_run, target="cpu", inline="always")
def _copy_run(target, at, source, start, units, streaming, lane, lanes):
    def copy(target, at, source, start, units, streaming, lane, lanes):
        goal = target + at
        begin = source + start
        if not streaming:
            machine.copy_bytes(goal, begin, units)
        elif (goal | units) & 31 == 0:
            for offset in range(0, units, 32):
                machine.stream_32_bytes(goal + offset, begin + offset)
        else:
            _stream(goal, begin, units)

    return copy


@njit(nogil=True)
def _stream(goal, begin, units):
    """Stream the whole cache lines of a run, and copy what it has of the first and the last one."""
    head = min(-goal & 63, units)
    machine.copy_bytes(goal, begin, head)
    whole = (units - head) & ~63
    for offset in range(head, head + whole, 32):
        machine.stream_32_bytes(goal + offset, begin + offset)
    done = head + whole
    machine.copy_bytes(goal + done, begin + done, units - done)


@overload(placement.clear_run, target="cpu", inline="always")
def _clear_run(target, at, units, lane, lanes):
    def clear(target, at, units, lane, lanes):
        machine.clear_bytes(target + at, units)

    return clear


@overload(placement.copy_item, target="cpu", inline="always")
def _copy_item(target, at, source, start, units):
    def copy(target, at, source, start, units):
        goal = target + at
        begin = source + start
        if units == 1:
            machine.copy_1_byte(goal, begin)
        elif units == 2:
            machine.copy_2_bytes(goal, begin)
        elif units == 4:
            machine.copy_4_bytes(goal, begin)
        else:
            machine.copy_8_bytes(goal, begin)

    return copy


for _body in (
    placement.copy_line, placement.place_joined, placement.place_group, placement.clear_group, placement.copy_box,
    gathering.common_length, gathering.common_begin, gathering.is_covered,
):  # fmt: skip
    register_jitable(_body)


@njit(nogil=True)
def _fetch(descriptor, offset, nbytes, target, failure):
    """Read exactly ``nbytes`` of a file to an address; whether that worked."""
    done = 0
    while done < nbytes:
        got = machine.pread(np.int32(descriptor), target + done, nbytes - done, offset + done)
        if got <= 0:
            failure[0] = READ_FAILED if got < 0 else TRUNCATED
            failure[2] = offset + done
            return False
        done += got
    return True


@njit(nogil=True)
def _fetch_segments(low, high, segments, descriptors, staging, failure):
    """Read all of the staging space's bytes ``low`` to ``high`` that segments cover to the address ``staging``."""
    files, offsets, lengths, places = segments
    left, right = 0, places.size  # the last segment that begins at or before `low`
    while right - left > 1:
        middle = (left + right) // 2
        if places[middle] <= low:
            left = middle
        else:
            right = middle
    for segment in range(left, places.size):
        if places[segment] >= high:
            break
        begin = max(low, places[segment])
        end = min(high, places[segment] + lengths[segment])
        offset = offsets[segment] + begin - places[segment]
        if end > begin and not _fetch(
            descriptors[files[segment]], offset, end - begin, staging + begin - low, failure
        ):  # fmt: skip
            return False
    return True


@njit(nogil=True)
def _follows(a, b, bases, origins, chunk_x):
    """Whether chunk ``b`` is the x-neighbour of chunk ``a`` in the same box."""
    return (
        bases[a] == bases[b]
        and origins[a, 2] == origins[b, 2]
        and origins[a, 1] == origins[b, 1]
        and origins[a, 0] + chunk_x == origins[b, 0]
    )


@njit(nogil=True)
def _decode(codec, source, nbytes, target, size, row, failure):
    """Decode one chunk; whether it decoded to exactly ``size`` bytes."""
    if nbytes > machine.LZ4_MAX_INPUT_BYTES:
        failure[0], failure[1], failure[2] = MALFORMED, row, nbytes
        return False
    decoded = machine.lz4_decode(source, target, np.int32(nbytes), np.int32(size))
    if decoded != size:
        failure[0] = MALFORMED if decoded < 0 else WRONG_LENGTH
        failure[1], failure[2] = row, decoded
        return False
    return True


@njit(nogil=True)
def _place_run(source, count, target, base, origin, geometry, streaming, line):
    """Place decoded x-neighbours, so that as many whole cache lines as possible are streamed."""
    chunk_x, chunk_y, chunk_z, box_x, _, _, voxel, stride_y, stride_z = geometry
    joined = 0
    if streaming:
        ends = (target + base + origin[0] * voxel) | chunk_x * voxel | stride_y | stride_z | box_x * voxel
        joined = 0 if ends & 31 == 0 else LINES
    lines = chunk_y * chunk_z
    placement.place_group(0, lines, 1, 0, 1, source, 0, count, target, base, origin, geometry, streaming, line, joined)


@njit(nogil=True)
def _exchange(corner, layout, box, chunk, into_box):
    """Copy the voxels that a chunk and a box share, from the one into the other.

    ``layout`` is ``(chunk shape, box shape, strides of the box, strides of a chunk, axes, units)``. Shapes and strides
    are ``(c, x, y, z)``, ``axes`` the order in which they are walked, ``units`` the bytes of one item.
    """
    chunk_shape, box_shape, box_strides, chunk_strides, (a, b, c, d), units = layout
    in_box, in_chunk = gathering.common_begin(corner, box_strides, chunk_strides)
    extents = (
        gathering.common_length(corner[a], chunk_shape[a], box_shape[a]),
        gathering.common_length(corner[b], chunk_shape[b], box_shape[b]),
        gathering.common_length(corner[c], chunk_shape[c], box_shape[c]),
        gathering.common_length(corner[d], chunk_shape[d], box_shape[d]),
    )
    of_box = (box_strides[a], box_strides[b], box_strides[c], box_strides[d])
    of_chunk = (chunk_strides[a], chunk_strides[b], chunk_strides[c], chunk_strides[d])
    rows = extents[0] * extents[1]
    if into_box:
        placement.copy_box(0, rows, 1, 0, 1, chunk, in_chunk, box, in_box, extents, of_chunk, of_box, units)
    else:
        placement.copy_box(0, rows, 1, 0, 1, box, in_box, chunk, in_chunk, extents, of_box, of_chunk, units)


@njit(nogil=True)
def _load_run(
    rows, descriptors, segments, places, lengths, codec, size, staging, capacity, scratch, failure
):  # fmt: skip
    """Fetch and decode chunks to one after another in the scratch; whether that worked.

    Chunks that also follow each other in the table, and so in the file, are fetched together. Raw chunks are fetched
    to where they would be decoded.
    """
    done = 0
    while done < rows.size:
        row = rows[done]
        low = places[row]
        together = 1
        while done + together < rows.size and rows[done + together] == row + together:
            end = places[row + together] + lengths[row + together]
            if end - low > capacity or (codec == RAW and end - low != (together + 1) * size):
                break
            together += 1
        last = row + together - 1
        slot = scratch + done * size
        failure[1] = row
        goal = slot if codec == RAW else staging
        if not _fetch_segments(low, places[last] + lengths[last], segments, descriptors, goal, failure):
            return False
        if codec != RAW:
            for chunk in range(row, last + 1):
                start = staging + places[chunk] - low
                if not _decode(codec, start, lengths[chunk], slot, size, chunk, failure):
                    return False
                slot += size
        done += together
    return True


@cached_kernel
def read_chunks(
    first, last, order, descriptors, segments, chunks, origins, geometry, codec, size,
    staging, capacity, scratch, slots, line, target, streaming, failure,
):  # fmt: skip
    """Fetch, decode and place the chunks ``order[first:last]``.

    Parameters
    ----------
    order : int64 (chunks,)
        Rows of the tables, sorted by box, z, y, x: runs along x are placed together.
    descriptors : int64 (files,)
        Open files.
    segments : tuple of int64 (segments,)
        File, offset in it, bytes, and place in the staging space, ascending.
    chunks : tuple of int64 (chunks,)
        Place in the staging space, ascending; encoded bytes; and where the chunk's box begins in the output.
    origins : int64 (chunks, 3)
        First voxel of each chunk in its box.
    geometry : tuple of int
        As in `placement.place_group`, in bytes.
    codec, size : int
        How chunks are encoded, and the bytes of a decoded one.
    staging, capacity : int
        Address and bytes of a buffer that holds at least the largest encoded chunk.
    scratch, slots : int
        Address of a buffer for ``slots`` decoded chunks, the most that are placed together.
    line : int
        Address of a buffer for `LINES` lines through that many chunks.
    target : int
        Address of the output.
    """
    places, lengths, bases = chunks
    position = first
    while position < last:
        count = 1
        while (
            position + count < last
            and count < slots
            and _follows(order[position + count - 1], order[position + count], bases, origins, geometry[0])
        ):
            count += 1
        rows = order[position : position + count]
        if not _load_run(
            rows, descriptors, segments, places, lengths, codec, size, staging, capacity, scratch, failure
        ):  # fmt: skip
            return
        row = rows[0]
        origin = (origins[row, 0], origins[row, 1], origins[row, 2])
        _place_run(scratch, count, target, bases[row], origin, geometry, streaming, line)
        position += count
    if streaming:
        machine.drain_streams()


@cached_kernel
def clear_chunks(first, last, bases, origins, geometry, target):
    """Zero what the absent chunks of the rows ``first`` to ``last`` would have covered; arguments as above."""
    row = first
    while row < last:
        count = 1
        while row + count < last and _follows(row + count - 1, row + count, bases, origins, geometry[0]):
            count += 1
        origin = (origins[row, 0], origins[row, 1], origins[row, 2])
        placement.clear_group(0, geometry[1], 1, 0, 1, count, target, bases[row], origin, geometry)
        row += count


@cached_kernel
def read_chunks_to_any(
    first, last, order, descriptors, segments, chunks, origins, layout, codec, size,
    staging, capacity, scratch, target, failure,
):  # fmt: skip
    """Do as `read_chunks` into an output of any strides, chunk by chunk; ``layout`` is as in `_exchange`."""
    places, lengths, bases = chunks
    for row in range(first, last):
        if not _load_run(
            order[row : row + 1], descriptors, segments, places, lengths, codec, size, staging, capacity, scratch,
            failure,
        ):  # fmt: skip
            return
        chunk = order[row]
        corner = (np.int64(0), origins[chunk, 0], origins[chunk, 1], origins[chunk, 2])
        _exchange(corner, layout, target + bases[chunk], scratch, True)


@cached_kernel
def clear_chunks_of_any(first, last, bases, origins, layout, size, scratch, target):
    """Do as `clear_chunks` in an output of any strides; ``scratch`` has room for one chunk, of ``size`` bytes."""
    machine.clear_bytes(scratch, size)
    for row in range(first, last):
        corner = (np.int64(0), origins[row, 0], origins[row, 1], origins[row, 2])
        _exchange(corner, layout, target + bases[row], scratch, True)


@njit(nogil=True)
def _encode(codec, level, state, source, size, target, capacity):
    """Encode one chunk; its encoded bytes, 0 where they do not fit."""
    room = np.int32(min(capacity, machine.LZ4_MAX_OUTPUT_BYTES))
    if codec == LZ4:
        return np.int64(machine.lz4_encode(state, source, target, np.int32(size), room, 1))
    return np.int64(machine.lz4hc_encode(state, source, target, np.int32(size), room, np.int32(level)))


@cached_kernel
def encode_chunks(
    first, last, descriptor, offsets, lengths, origins, layout, data, codec, level, size,
    staging, scratch, state, output, capacity, sizes, failure,
):  # fmt: skip
    """Encode the chunks of the rows ``first`` to ``last`` one after another to the address ``output``.

    Parameters
    ----------
    descriptor : int
        The shard as it was, open, or -1; read for chunks that the data covers only in part.
    offsets, lengths : int64 (chunks,)
        Where the chunk was in it; a length of 0 for a chunk that is covered, or was never stored (then it was zero).
    origins : int64 (chunks, 3)
        First voxel of each chunk in the box of new voxels.
    layout : tuple
        As in `_exchange`.
    data : int
        Address of the box's first voxel.
    codec, level, size : int
        How to encode, LZ4HC's level, and the bytes of a decoded chunk.
    staging, scratch, state : int
        Addresses of buffers for an encoded and a decoded chunk, and of an encoder state.
    output, capacity : int
        Address and bytes of the buffer for the encoded chunks.
    sizes : int64 (chunks,)
        Receives the encoded bytes of each chunk.
    """
    if codec == LZ4:
        machine.lz4_begin(state, machine.LZ4_STATE_BYTES)
    end = 0
    for row in range(first, last):
        failure[1] = row
        chunk = output + end if codec == RAW else scratch
        corner = (np.int64(0), origins[row, 0], origins[row, 1], origins[row, 2])
        if lengths[row] > 0:
            if not _fetch(descriptor, offsets[row], lengths[row], chunk if codec == RAW else staging, failure):
                return
            if codec != RAW and not _decode(codec, staging, lengths[row], chunk, size, row, failure):
                return
        elif not gathering.is_covered(corner, layout[0], layout[1]):
            machine.clear_bytes(chunk, size)
        _exchange(corner, layout, data, chunk, False)
        written = np.int64(size)
        if codec != RAW:
            written = _encode(codec, level, state, chunk, size, output + end, capacity - end)
            if written <= 0:
                failure[0], failure[2] = ENCODE_FAILED, capacity - end
                return
        sizes[row] = written
        end += written
