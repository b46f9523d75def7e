"""The kernels that the CPU engine calls: they join files, liblz4 and the placement of voxels.

Each takes a range of rows of a plan's chunk table and runs without the GIL from the first to the last byte: a Python
thread calls it once for some dozens of chunks. Every array argument is a table of int64 and everything else an integer
or an address, so one compiled version, cached on disk, serves all voxel types and memory layouts.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ..bodies import overlap, placement
from ..bodies.exchange import exchange
from ..compilation import cached_kernel
from ..failures import ENCODE_FAILED
from . import intrinsics
from .codec import is_literal
from .files import fetch, fetch_chunks, fetch_segments
from .pipeline import COUNT, PLAIN, SWAPPED, begin, decode, encode, is_plain, swap_items
from .placement import fill_bytes, is_filled, place_run


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
def _next_run(position, order, bases, origins, chunk_x):
    """Return the first position from ``position`` on at which a run of x-neighbours begins, or the end."""
    while 0 < position < order.size and _follows(order[position - 1], order[position], bases, origins, chunk_x):
        position += 1
    return min(position, order.size)


@njit(nogil=True)
def _load_plain(row, low, header, part, descriptors, segments, size, slot, failure):
    """Fetch the ``part`` (first and last byte) of a chunk that lies in the file as it is, behind a header."""
    first, last = part
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
    """Fetch and decode chunks to one after another in the scratch; whether that worked.

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
    first = intrinsics.take(counter, step)
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
                    intrinsics.take(counter, order.size)  # so that no thread goes on
                    return
                row = rows[0]
                origin = (origins[row, 0], origins[row, 1], origins[row, 2])
                place_run(scratch, rows.size, stride, target, bases[row], origin, geometry, streaming, line)
                position += rows.size
        first = intrinsics.take(counter, step)
    if streaming:
        intrinsics.drain_streams()


@cached_kernel
def read_chunks_to_any(
    counter, step, order, descriptors, segments, chunks, origins, layout, pipelines, size,
    staging, capacity, scratch, work, target, failure,
):  # fmt: skip
    """Do as `read_chunks` into an output of any strides, chunk by chunk; ``layout`` is as in `exchange`."""
    bases = chunks[2]
    has_planes = layout[0][0] == 1 or layout[3][0] < layout[3][3]
    first = intrinsics.take(counter, step)
    while first < order.size:
        for position in range(first, min(first + step, order.size)):
            if not _load_run(
                order[position : position + 1], descriptors, segments, chunks, origins, layout[0][3],
                layout[1][3], has_planes, pipelines, size, staging, capacity, scratch, size, work, failure,
            ):  # fmt: skip
                intrinsics.take(counter, order.size)
                return
            row = order[position]
            corner = (np.int64(0), origins[row, 0], origins[row, 1], origins[row, 2])
            exchange(0, 1, 0, 1, corner, layout, target, bases[row], scratch, 0, True)
        first = intrinsics.take(counter, step)


@cached_kernel
def fetch_ranges(counter, step, descriptors, segments, target, failure):
    """Fetch segments to their places after the address ``target``, ``step`` at a time, until all are taken.

    The parameters are those of `read_chunks`; of a failure, the segment is reported instead of a chunk's row.
    """
    files, offsets, lengths, places = segments
    first = intrinsics.take(counter, step)
    while first < places.size:
        for segment in range(first, min(first + step, places.size)):
            descriptor = descriptors[files[segment]]
            if not fetch(descriptor, offsets[segment], lengths[segment], target + places[segment], failure):
                failure[1] = segment
                intrinsics.take(counter, places.size)
                return
        first = intrinsics.take(counter, step)


@cached_kernel
def fill_chunks(first, last, bases, origins, geometry, pattern, target):
    """Fill what the absent chunks of the rows ``first`` to ``last`` would have covered; arguments as above.

    ``pattern`` has the bytes of one channel of the fill value, repeated to 8.
    """
    row = first
    while row < last:
        count = 1
        while row + count < last and _follows(row + count - 1, row + count, bases, origins, geometry[0]):
            count += 1
        origin = (origins[row, 0], origins[row, 1], origins[row, 2])
        placement.fill_group(0, geometry[1], 1, 0, 1, count, target, bases[row], origin, geometry, pattern, 8)
        row += count


@cached_kernel
def fill_chunks_of_any(first, last, bases, origins, layout, pattern, size, scratch, target):
    """Do as `fill_chunks` in an output of any strides; ``scratch`` has room for one chunk, of ``size`` bytes."""
    fill_bytes(scratch, size, pattern)
    for row in range(first, last):
        corner = (np.int64(0), origins[row, 0], origins[row, 1], origins[row, 2])
        exchange(0, 1, 0, 1, corner, layout, target, bases[row], scratch, 0, True)


@cached_kernel
def gather_chunks(first, last, origins, layout, data, size, target):
    """Gather voxels into the chunks of the rows ``first`` to ``last``, each ``size`` bytes behind the one before.

    Parameters are those of `encode_chunks`; ``target`` is the address of the chunk of row 0. Of a chunk that the data
    covers only in part, the other voxels stay.
    """
    for row in range(first, last):
        corner = (np.int64(0), origins[row, 0], origins[row, 1], origins[row, 2])
        exchange(0, 1, 0, 1, corner, layout, data, 0, target + row * size, 0, False)


@cached_kernel
def encode_chunks(
    first, last, descriptor, offsets, lengths, origins, layout, data, pipeline, size, pattern, drops_filled,
    staging, scratch, work, output, capacity, sizes, failure,
):  # fmt: skip
    """Encode the chunks of the rows ``first`` to ``last`` one after another to the address ``output``.

    Parameters
    ----------
    descriptor : int
        The shard as it was, open, or -1; read for chunks that the data covers only in part.
    offsets, lengths : int64 (chunks,)
        Where the chunk was in it; a length of 0 for a chunk that is covered, or is not stored.
    origins : int64 (chunks, 3)
        First voxel of each chunk in the box of new voxels.
    layout : tuple
        As in `exchange`.
    data : int
        Address of the box's first voxel.
    pipeline : int64 (items,)
        See `pipeline`.
    size, pattern : int
        Bytes of a decoded chunk, and the fill value, as in `fill_chunks`.
    drops_filled : bool
        Whether chunks that hold nothing but the fill value get no bytes.
    staging, scratch, work : int
        Addresses of buffers for an encoded and a decoded chunk, and of the working memory of the pipeline.
    output, capacity : int
        Address and bytes of the buffer for the encoded chunks.
    sizes : int64 (chunks,)
        Receives the encoded bytes of each chunk.
    failure : int64 (3,)
        See `failures`.
    """
    begin(pipeline, work)
    is_raw = pipeline[COUNT] == 0
    itemsize = pipeline[SWAPPED]
    end = 0
    is_noise = False
    for row in range(first, last):
        failure[1] = row
        chunk = output + end if is_raw else scratch
        corner = (np.int64(0), origins[row, 0], origins[row, 1], origins[row, 2])
        if lengths[row] > 0:
            if not fetch(descriptor, offsets[row], lengths[row], chunk if is_raw else staging, failure):
                return
            if not is_raw and not decode(
                pipeline, staging, lengths[row], chunk, size, size, work, row, failure
            ):  # fmt: skip
                return
            if itemsize > 0:
                swap_items(chunk, size, itemsize)
        elif not overlap.is_covered(corner, layout[0], layout[1]):
            fill_bytes(chunk, size, pattern)
        exchange(0, 1, 0, 1, corner, layout, data, 0, chunk, 0, False)
        if drops_filled and is_filled(chunk, size, pattern):
            sizes[row] = 0
            continue
        if itemsize > 0:
            swap_items(chunk, size, itemsize)
        written = np.int64(size)
        if not is_raw:
            written, is_noise = encode(pipeline, chunk, size, output + end, capacity - end, work, is_noise)
            if written <= 0:
                failure[0], failure[2] = ENCODE_FAILED, capacity - end
                return
        sizes[row] = written
        end += written


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
    first = intrinsics.take(counter, step)
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
                intrinsics.take(counter, heads.size)
                return
            if pipeline[SWAPPED] > 0:
                swap_items(chunk, size, pipeline[SWAPPED])
        first = intrinsics.take(counter, step)
