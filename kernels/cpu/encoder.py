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
from . import intrinsics
from .codec import LZ4, RAW, decode, encode
from .files import fetch


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
        As in `exchange`.
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
    failure : int64 (3,)
        See `failures`.
    """
    if codec == LZ4:
        intrinsics.lz4_begin(state, intrinsics.LZ4_STATE_BYTES)
    end = 0
    is_noise = False
    for row in range(first, last):
        failure[1] = row
        chunk = output + end if codec == RAW else scratch
        corner = (np.int64(0), origins[row, 0], origins[row, 1], origins[row, 2])
        if lengths[row] > 0:
            if not fetch(descriptor, offsets[row], lengths[row], chunk if codec == RAW else staging, failure):
                return
            if codec != RAW and not decode(staging, lengths[row], chunk, size, size, row, failure):
                return
        elif not overlap.is_covered(corner, layout[0], layout[1]):
            intrinsics.clear_bytes(chunk, size)
        exchange(alone(), corner, layout, data, 0, chunk, 0, False)
        written = np.int64(size)
        if codec != RAW:
            written, is_noise = encode(
                codec, level, state, chunk, size, output + end, capacity - end, is_noise
            )  # fmt: skip
            if written <= 0:
                failure[0], failure[2] = ENCODE_FAILED, capacity - end
                return
        sizes[row] = written
        end += written
