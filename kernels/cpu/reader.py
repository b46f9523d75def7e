"""The kernels that read chunks on the CPU: they join files, liblz4 and the placement of voxels.

Each takes chunks of a plan's table and runs without the GIL from the first to the last byte: a Python thread calls it
once for some dozens of chunks. Every array argument is a table of int64 and everything else an integer or an address,
so one compiled version, cached on disk, serves all voxel types and memory layouts.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ..bodies.exchange import exchange
from ..bodies.workers import alone
from ..compilation import cached_kernel
from . import intrinsics
from .codec import RAW, decode, is_literal, literal_header
from .files import fetch_chunks, fetch_segments
from .placement import is_next_along_x, place_run


@njit(nogil=True)
def _next_run(position, order, bases, origins, chunk_x):
    """Return the first position from ``position`` on at which a run of x-neighbours begins, or the end."""
    while 0 < position < order.size and is_next_along_x(order[position - 1], order[position], bases, origins, chunk_x):
        position += 1
    return min(position, order.size)


@njit(nogil=True)
def _load_plain(row, low, header, byte_range, descriptors, segments, size, slot, failure):
    """Fetch the ``byte_range`` (first and last byte) of a chunk that lies in the file as it is, behind a header."""
    first, last = byte_range
    if first == 0 and last == size:
        return fetch_segments(low, low + header + size, segments, descriptors, slot - header, failure)
    begin = low + header + first
    return fetch_segments(low, low + header, segments, descriptors, slot - header, failure) and fetch_segments(
        begin, begin + last - first, segments, descriptors, slot + first, failure
    )


@njit(nogil=True)
def _followers(rows, first, starts, size):
    """How many raw chunks, with the first, lie consecutively in the file."""
    row = rows[first]
    count = 1
    while (
        first + count < rows.size
        and rows[first + count] == row + count
        and starts[row + count] == starts[row] + count * size
    ):
        count += 1
    return count


@njit(nogil=True)
def _load_run(
    rows, descriptors, segments, starts, lengths, origins, chunk_z, box_z, codec, size,
    staging, capacity, scratch, stride, failure,
):  # fmt: skip
    """Fetch and decode chunks to one after another in the scratch; whether that succeeded.

    Of raw chunks and runs of literals only the planes that the box wants are fetched, to where they would be decoded;
    of others only the planes up to the last wanted one are decoded, and those that also follow each other in the
    table, and so in the file, are fetched together.
    """
    plain_bytes = size if codec == RAW else size + literal_header(size)
    plane = size // chunk_z
    done = 0
    while done < rows.size:
        row = rows[done]
        low = starts[row]
        failure[1] = row
        if lengths[row] == plain_bytes:
            byte_range = max(-origins[row, 2], 0) * plane, min(box_z - origins[row, 2], chunk_z) * plane
            slot = scratch + done * stride
            header = plain_bytes - size
            if codec == RAW and byte_range[0] == 0 and byte_range[1] == size and stride == size:
                together = _followers(rows, done, starts, size)
                last = row + together - 1
                if not fetch_chunks(row, last, starts, lengths, segments, descriptors, slot, failure):
                    return False
                done += together
                continue
            if not _load_plain(row, low, header, byte_range, descriptors, segments, size, slot, failure):
                return False
            if codec == RAW or is_literal(slot - header, size):
                done += 1
                continue
        together = 1
        while (
            done + together < rows.size
            and rows[done + together] == row + together
            and lengths[row + together] != plain_bytes
            and starts[row + together] + lengths[row + together] - low <= capacity
        ):
            together += 1
        last = row + together - 1
        if not fetch_chunks(row, last, starts, lengths, segments, descriptors, staging, failure):
            return False
        for chunk in range(row, last + 1):
            start = staging + starts[chunk] - low
            wanted = min(box_z - origins[chunk, 2], chunk_z) * plane
            if not decode(start, lengths[chunk], scratch + done * stride, wanted, size, chunk, failure):
                return False
            done += 1
    return True


@cached_kernel
def read_chunks(
    counter, step, order, descriptors, segments, chunks, origins, geometry, codec, size,
    staging, capacity, scratch, stride, slots, line, target, streaming, failure,
):  # fmt: skip
    """Fetch, decode and place chunks, ``step`` at a time, until none is left.

    Parameters
    ----------
    counter, step : int
        Address of the number of chunks that are taken, shared by all threads, and how many a thread takes at a time.
    order : int64 (chunks,)
        Rows of the tables, sorted by box, z, y, x: runs along x are placed together.
    descriptors : int64 (files,)
        Open files.
    segments : tuple of int64 (segments,)
        File, offset in it, bytes, and offset in the staging space, ascending.
    chunks : tuple of int64 (chunks,)
        Offset in the staging space, ascending; encoded bytes; and where the chunk's box begins in the output.
    origins : int64 (chunks, 3)
        First voxel of each chunk in its box.
    geometry : tuple of int
        As in `placement.place_group`, in bytes.
    codec, size : int
        How chunks are encoded, and the bytes of a decoded one.
    staging, capacity : int
        Address and bytes of a buffer that holds at least the largest encoded chunk.
    scratch, stride, slots : int
        Address for ``slots`` decoded chunks, the most that are placed together, and the bytes from one to the next. Of
        LZ4 chunks there is room for the header of a run of literals before each.
    line : int
        Address of a buffer for `LINES` lines through that many chunks.
    target : int
        Address of the output.
    streaming : bool
        Whether the output is too large to stay in the caches.
    failure : int64 (3,)
        See `failures`.
    """
    starts, lengths, bases = chunks
    first = intrinsics.atomic_add(counter, step)
    while first < order.size:
        # A run along x goes to the thread that takes its first chunk, even where it ends in what others take.
        position = _next_run(first, order, bases, origins, geometry[0])
        while position < order.size and position < first + step:
            end = _next_run(position + 1, order, bases, origins, geometry[0])
            while position < end:
                rows = order[position : min(position + slots, end)]
                if not _load_run(
                    rows, descriptors, segments, starts, lengths, origins, geometry[2], geometry[5], codec, size,
                    staging, capacity, scratch, stride, failure,
                ):  # fmt: skip
                    intrinsics.atomic_add(counter, order.size)  # so that every thread ends
                    return
                row = rows[0]
                origin = (origins[row, 0], origins[row, 1], origins[row, 2])
                place_run(scratch, rows.size, stride, target, bases[row], origin, geometry, streaming, line)
                position += rows.size
        first = intrinsics.atomic_add(counter, step)
    if streaming:
        intrinsics.memory_fence()


@cached_kernel
def read_chunks_to_any(
    counter, step, order, descriptors, segments, chunks, origins, layout, codec, size,
    staging, capacity, scratch, target, failure,
):  # fmt: skip
    """Do as `read_chunks` into an output of any strides, chunk by chunk; ``layout`` is as in `exchange`."""
    starts, lengths, bases = chunks
    first = intrinsics.atomic_add(counter, step)
    while first < order.size:
        for position in range(first, min(first + step, order.size)):
            if not _load_run(
                order[position : position + 1], descriptors, segments, starts, lengths, origins, layout[0][3],
                layout[1][3], codec, size, staging, capacity, scratch, size, failure,
            ):  # fmt: skip
                intrinsics.atomic_add(counter, order.size)
                return
            row = order[position]
            corner = (np.int64(0), origins[row, 0], origins[row, 1], origins[row, 2])
            exchange(alone(), corner, layout, target, bases[row], scratch, 0, True)
        first = intrinsics.atomic_add(counter, step)
