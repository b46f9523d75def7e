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
from .codec import is_literal
from .files import fetch_chunks, fetch_segments
from .pipeline import COUNT, PLAIN, SWAPPED, decode, is_plain, swap_items
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
def _followers(rows, first, places, codecs, size):
    """How many raw chunks, with the first, lie consecutively in the file."""
    row = rows[first]
    count = 1
    while (
        first + count < rows.size
        and rows[first + count] == row + count
        and places[row + count] == places[row] + count * size
        and codecs[row + count] == codecs[row]
    ):
        count += 1
    return count


@njit(nogil=True)
def _load_run(
    rows, descriptors, segments, chunks, origins, chunk_z, box_z, has_planes, pipelines, size,
    staging, capacity, scratch, stride, work, failure,
):  # fmt: skip
    """Fetch and decode chunks to one after another in the scratch; whether that succeeded.

    Of raw chunks and runs of literals only the planes that the box wants are fetched, to where they would be decoded;
    of others only the planes up to the last wanted one are decoded, and those that also follow each other in the
    table, and so in the file, are fetched together. Without planes, because a chunk has one channel after another, all
    of it is fetched and decoded.
    """
    places, lengths, _, codecs = chunks
    plane = size // chunk_z
    done = 0
    while done < rows.size:
        row = rows[done]
        low = places[row]
        failure[1] = row
        pipeline = pipelines[codecs[row]]
        if is_plain(pipeline, lengths[row], size):
            part = 0, size
            if has_planes:
                part = max(-origins[row, 2], 0) * plane, min(box_z - origins[row, 2], chunk_z) * plane
            slot = scratch + done * stride
            header = pipeline[PLAIN]
            if header == 0 and part[0] == 0 and part[1] == size and stride == size:
                together = _followers(rows, done, places, codecs, size)
                last = row + together - 1
                if not fetch_chunks(row, last, places, lengths, segments, descriptors, slot, failure):
                    return False
                done += together
                continue
            if not _load_plain(row, low, header, part, descriptors, segments, size, slot, failure):
                return False
            if header == 0 or is_literal(slot - header, size):
                done += 1
                continue
        together = 1
        while (
            done + together < rows.size
            and rows[done + together] == row + together
            and not is_plain(pipelines[codecs[row + together]], lengths[row + together], size)
            and places[row + together] + lengths[row + together] - low <= capacity
        ):
            together += 1
        last = row + together - 1
        if not fetch_chunks(row, last, places, lengths, segments, descriptors, staging, failure):
            return False
        for chunk in range(row, last + 1):
            start = staging + places[chunk] - low
            wanted = min(box_z - origins[chunk, 2], chunk_z) * plane if has_planes else size
            slot = scratch + done * stride
            if not decode(
                pipelines[codecs[chunk]], start, lengths[chunk], slot, wanted, size, work, chunk, failure
            ):  # fmt: skip
                return False
            done += 1
    itemsize = pipelines[0, SWAPPED]
    if itemsize > 0:
        for slot in range(scratch, scratch + rows.size * stride, stride):
            swap_items(slot, size, itemsize)
    return True


@cached_kernel
def read_chunks(
    counter, step, order, descriptors, segments, chunks, origins, geometry, pipelines, size,
    staging, capacity, scratch, stride, slots, work, line, target, streaming, failure,
):  # fmt: skip
    """Fetch, decode and place chunks, ``step`` at a time, until no thread finds any that is not yet taken.

    Parameters
    ----------
    counter, step : int
        Address of the number of chunks that are taken, which the threads share, and how many one takes at a time.
    order : int64 (chunks,)
        Rows of the tables, sorted by box, z, y, x: runs along x are placed together.
    descriptors : int64 (files,)
        Open files.
    segments : tuple of int64 (segments,)
        File, offset in it, bytes, and place in the staging space, ascending.
    chunks : tuple of int64 (chunks,)
        Place in the staging space, ascending; encoded bytes; where the chunk's box begins in the output; and which
        pipeline encodes it.
    origins : int64 (chunks, 3)
        First voxel of each chunk in its box.
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
        LZ4 chunks there is room for the header of a run of literals before each.
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
    bases = chunks[2]
    first = intrinsics.atomic_add(counter, step)
    while first < order.size:
        # A run along x goes to the thread that takes its first chunk, even where it ends in what others take.
        position = _next_run(first, order, bases, origins, geometry[0])
        while position < order.size and position < first + step:
            end = _next_run(position + 1, order, bases, origins, geometry[0])
            while position < end:
                rows = order[position : min(position + slots, end)]
                if not _load_run(
                    rows, descriptors, segments, chunks, origins, geometry[2], geometry[5], True, pipelines, size,
                    staging, capacity, scratch, stride, work, failure,
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
    counter, step, order, descriptors, segments, chunks, origins, layout, pipelines, size,
    staging, capacity, scratch, work, target, failure,
):  # fmt: skip
    """Do as `read_chunks` into an output of any strides, chunk by chunk; ``layout`` is as in `exchange`."""
    bases = chunks[2]
    has_planes = layout[0][0] == 1 or layout[3][0] < layout[3][3]
    first = intrinsics.atomic_add(counter, step)
    while first < order.size:
        for position in range(first, min(first + step, order.size)):
            if not _load_run(
                order[position : position + 1], descriptors, segments, chunks, origins, layout[0][3],
                layout[1][3], has_planes, pipelines, size, staging, capacity, scratch, size, work, failure,
            ):  # fmt: skip
                intrinsics.atomic_add(counter, order.size)
                return
            row = order[position]
            corner = (np.int64(0), origins[row, 0], origins[row, 1], origins[row, 2])
            exchange(alone(), corner, layout, target, bases[row], scratch, 0, True)
        first = intrinsics.atomic_add(counter, step)


@cached_kernel
def decode_chunks(
    counter, step, heads, wanted, descriptors, segments, chunks, pipelines, size, staging, work, target, failure
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
    places, lengths, _, codecs = chunks
    first = intrinsics.atomic_add(counter, step)
    while first < heads.size:
        for position in range(first, min(first + step, heads.size)):
            row = heads[position]
            pipeline = pipelines[codecs[row]]
            chunk = target + position * size
            is_raw = pipeline[COUNT] == 0
            goal = chunk if is_raw else staging
            failure[1] = row
            good = fetch_segments(places[row], places[row] + lengths[row], segments, descriptors, goal, failure)
            if good and not is_raw:
                good = decode(pipeline, staging, lengths[row], chunk, wanted[position], size, work, row, failure)
            if not good:
                intrinsics.atomic_add(counter, heads.size)
                return
            if pipeline[SWAPPED] > 0:
                swap_items(chunk, size, pipeline[SWAPPED])
        first = intrinsics.atomic_add(counter, step)
