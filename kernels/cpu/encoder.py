"""The kernel that encodes chunks on the CPU: voxels are gathered, encoded and put next to each other.

It takes chunks of a plan's table and runs without the GIL from the first to the last byte. One compiled version serves
all voxel types and memory layouts; see `reader`.
"""

from __future__ import annotations

import numpy as np

from ..bodies import overlap
from ..bodies.exchange import exchange
from ..bodies.workers import alone
from ..compilation import cached_kernel
from ..failures import ENCODE_FAILED
from .files import fetch
from .pipeline import COUNT, SWAPPED, begin_decoding, begin_encoding, decode, encode, swap_items
from .primitives import fill_bytes, is_filled


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
        Bytes of a decoded chunk, and the fill value, as in `placement.fill_chunks`.
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
    begin_encoding(pipeline, work)
    if descriptor >= 0:
        begin_decoding(pipeline, work)
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
        exchange(alone(), corner, layout, data, 0, chunk, 0, False)
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
