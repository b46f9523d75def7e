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
from ..planning import CHUNK_BOX, CHUNK_CODEC, CHUNK_NBYTES, CHUNK_ORIGIN, CHUNK_STAGING_OFFSET, PLACEMENT_ORDER
from . import intrinsics
from .files import end_of_chunk, fetch_chunks, fetch_segments, take
from .pipeline import COUNT, PLAIN, SWAPPED, begin_decoding_all, decode, is_plain, may_be_plain, swap_items
from .placement import corner_of, is_next_along_x, place_run


@njit(nogil=True)
def _next_run(position, begin, last, chunks, chunk_x):
    """Return the first position from ``position`` on at which a run of x-neighbours begins, or ``last``.

    None of them is before ``begin``, whatever the chunk before that one is.
    """
    while begin < position < last and is_next_along_x(
        chunks[PLACEMENT_ORDER, position - 1], chunks[PLACEMENT_ORDER, position], chunks, CHUNK_BOX, chunk_x
    ):
        position += 1
    return min(position, last)


@njit(nogil=True)
def _load_plain(low, header, byte_range, descriptors, segments, size, slot, failure):
    """Fetch the ``byte_range`` (first and last byte) of a chunk that lies in the file as it is, behind a header."""
    first, last = byte_range
    if first == 0 and last == size:
        return fetch_segments(low, low + header + size, segments, descriptors, slot - header, failure)
    begin = low + header + first
    return fetch_segments(low, low + header, segments, descriptors, slot - header, failure) and fetch_segments(
        begin, begin + last - first, segments, descriptors, slot + first, failure
    )


@njit(nogil=True)
def _followers(first, last, chunks, size):
    """How many raw chunks, with the first, lie consecutively in the file; both are positions in placement order."""
    row = chunks[PLACEMENT_ORDER, first]
    count = 1
    while (
        first + count < last
        and chunks[PLACEMENT_ORDER, first + count] == row + count
        and chunks[CHUNK_STAGING_OFFSET, row + count] == chunks[CHUNK_STAGING_OFFSET, row] + count * size
        and chunks[CHUNK_CODEC, row + count] == chunks[CHUNK_CODEC, row]
    ):
        count += 1
    return count


@njit(nogil=True)
def _load_run(
    first, last, descriptors, segments, chunks, chunk_z, box_z, has_planes, pipelines, size,
    staging, capacity, scratch, stride, work, failure,
):  # fmt: skip
    """Fetch and decode chunks to one after another in the scratch; whether that succeeded.

    The chunks are those from ``first`` to before ``last`` in placement order. Of raw chunks and runs of literals only
    the planes that the box wants are fetched, to where they would be decoded; of others only the planes up to the last
    wanted one are decoded, and those that also follow each other in the table, and so in the file, are fetched
    together. Without planes, because a chunk has one channel after another, all of it is fetched and decoded.
    """
    plane = size // chunk_z
    position = first
    while position < last:
        row = chunks[PLACEMENT_ORDER, position]
        low, origin_z = chunks[CHUNK_STAGING_OFFSET, row], chunks[CHUNK_ORIGIN + 2, row]
        failure[1] = row
        pipeline = pipelines[chunks[CHUNK_CODEC, row]]
        if may_be_plain(pipeline, chunks[CHUNK_NBYTES, row], size):
            part = 0, size
            if has_planes:
                part = max(-origin_z, 0) * plane, min(box_z - origin_z, chunk_z) * plane
            slot = scratch + (position - first) * stride
            header = pipeline[PLAIN]
            if header == 0 and part[0] == 0 and part[1] == size and stride == size:
                together = _followers(position, last, chunks, size)
                if not fetch_chunks(row, row + together - 1, chunks, segments, descriptors, slot, failure):
                    return False
                position += together
                continue
            if not _load_plain(low, header, part, descriptors, segments, size, slot, failure):
                return False
            if is_plain(pipeline, slot - header, size):
                position += 1
                continue
        together = 1
        while (
            position + together < last
            and chunks[PLACEMENT_ORDER, position + together] == row + together
            and not may_be_plain(
                pipelines[chunks[CHUNK_CODEC, row + together]], chunks[CHUNK_NBYTES, row + together], size
            )
            and end_of_chunk(chunks, row + together) - low <= capacity
        ):
            together += 1
        if not fetch_chunks(row, row + together - 1, chunks, segments, descriptors, staging, failure):
            return False
        for chunk in range(row, row + together):
            start = staging + chunks[CHUNK_STAGING_OFFSET, chunk] - low
            wanted = min(box_z - chunks[CHUNK_ORIGIN + 2, chunk], chunk_z) * plane if has_planes else size
            slot = scratch + (position - first) * stride
            if not decode(
                pipelines[chunks[CHUNK_CODEC, chunk]], start, chunks[CHUNK_NBYTES, chunk], slot, wanted, size, work,
                chunk, failure,
            ):  # fmt: skip
                return False
            position += 1
    itemsize = pipelines[0, SWAPPED]
    if itemsize > 0:
        for slot in range(scratch, scratch + (last - first) * stride, stride):
            swap_items(slot, size, itemsize)
    return True


@cached_kernel
def read_chunks(
    taken, step, begin, last, descriptors, segments, chunks, box_stride, geometry, pipelines, size,
    staging, capacity, scratch, stride, slots, work, line, target, streaming, failure,
):  # fmt: skip
    """Fetch, decode and place chunks, ``step`` at a time, until no thread finds any that is not yet taken.

    Chunks are taken in placement order, which sorts them by shard, box, z, y, x: runs along x are placed together.

    Parameters
    ----------
    taken : int64 (1,)
        The first chunk that no thread has taken yet, which the threads share.
    step : int
        How many a thread takes at a time.
    begin, last : int
        The first chunk of all, and the one behind the last.
    descriptors : int64 (files,)
        Open files.
    segments, chunks : int64 (SEGMENT_COLUMNS, segments), (CHUNK_COLUMNS, chunks)
        The tables of a read plan; see `planning`.
    box_stride : int
        Bytes from one box of the output to the next.
    geometry : tuple of int
        As in `placement.place_group`, in bytes.
    pipelines : int64 (pipelines, items)
        See `pipeline`; byte orders do not differ.
    size : int
        Bytes of a decoded chunk.
    staging, capacity : int
        Address and bytes of a buffer that holds at least the largest encoded chunk.
    scratch, stride, slots : int
        Address for ``slots`` decoded chunks, the most that are placed together, and the bytes from one to the next. Of
        chunks that may lie in the file as they are there is room for the header before each.
    work : int
        Address of the working memory of the pipelines.
    line : int
        Address of a buffer for `LINES` lines through that many chunks.
    target : int
        Address of the output.
    streaming : bool
        Whether the output is too large to stay in the caches.
    failure : int64 (3,)
        See `failures`.
    """
    begin_decoding_all(pipelines, work)
    chunk_x, chunk_z, box_z = geometry[0], geometry[2], geometry[5]
    first = take(taken, step)
    while first < last:
        # A run along x goes to the thread that takes its first chunk, even where it ends in what others take.
        position = _next_run(first, begin, last, chunks, chunk_x)
        while position < last and position < first + step:
            end = _next_run(position + 1, begin, last, chunks, chunk_x)
            while position < end:
                after = min(position + slots, end)
                if not _load_run(
                    position, after, descriptors, segments, chunks, chunk_z, box_z, True, pipelines, size,
                    staging, capacity, scratch, stride, work, failure,
                ):  # fmt: skip
                    take(taken, last)  # so that every thread ends
                    return
                row = chunks[PLACEMENT_ORDER, position]
                base = chunks[CHUNK_BOX, row] * box_stride
                origin = corner_of(chunks, CHUNK_BOX, row)
                place_run(scratch, after - position, stride, target, base, origin, geometry, streaming, line)
                position = after
        first = take(taken, step)
    if streaming:
        intrinsics.memory_fence()


@cached_kernel
def read_chunks_to_any(
    taken, step, last, descriptors, segments, chunks, box_stride, layout, pipelines, size,
    staging, capacity, scratch, work, target, failure,
):  # fmt: skip
    """Do as `read_chunks` into an output of any strides, chunk by chunk; ``layout`` is as in `exchange`."""
    begin_decoding_all(pipelines, work)
    has_planes = layout[0][0] == 1 or layout[3][0] < layout[3][3]
    first = take(taken, step)
    while first < last:
        for position in range(first, min(first + step, last)):
            if not _load_run(
                position, position + 1, descriptors, segments, chunks, layout[0][3],
                layout[1][3], has_planes, pipelines, size, staging, capacity, scratch, size, work, failure,
            ):  # fmt: skip
                take(taken, last)
                return
            row = chunks[PLACEMENT_ORDER, position]
            corner = (np.int64(0), *corner_of(chunks, CHUNK_BOX, row))
            exchange(alone(), corner, layout, target, chunks[CHUNK_BOX, row] * box_stride, scratch, 0, True)
        first = take(taken, step)


@cached_kernel
def decode_chunks(
    taken, step, heads, wanted, descriptors, segments, chunks, pipelines, size, staging, work, target, failure
):  # fmt: skip
    """Fetch and decode chunks, ``step`` at a time, each to ``size`` bytes behind the one before.

    Parameters
    ----------
    heads, wanted : int64 (chunks,)
        Rows of the tables, and how many bytes of each chunk are needed.
    staging : int
        Address of a buffer for the largest encoded chunk.
    target : int
        Address of the first decoded chunk.
    Others are as in `read_chunks`.
    """
    begin_decoding_all(pipelines, work)
    first = take(taken, step)
    while first < heads.size:
        for position in range(first, min(first + step, heads.size)):
            row = heads[position]
            begin, nbytes = chunks[CHUNK_STAGING_OFFSET, row], chunks[CHUNK_NBYTES, row]
            pipeline = pipelines[chunks[CHUNK_CODEC, row]]
            chunk = target + position * size
            is_raw = pipeline[COUNT] == 0
            goal = chunk if is_raw else staging
            failure[1] = row
            good = fetch_segments(begin, begin + nbytes, segments, descriptors, goal, failure)
            if good and not is_raw:
                good = decode(pipeline, staging, nbytes, chunk, wanted[position], size, work, row, failure)
            if not good:
                take(taken, heads.size)
                return
            if pipeline[SWAPPED] > 0:
                swap_items(chunk, size, pipeline[SWAPPED])
        first = take(taken, step)
