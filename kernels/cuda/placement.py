"""The bodies of `placement` and `exchange` on a CUDA device: into boxes, out of them, and cleared.

A block serves one chunk at a time, and so does every further block along ``y`` of the grid, which takes other rows of
it: a few chunks fill a GPU as well as many. Neighbouring threads are the lanes of a row, so that accesses are
coalesced. Every kernel takes whatever grid it is launched with.

What a kernel has to know of its chunks comes in one ``table`` of int64: from the item ``at`` on a header of
`HEADER` items, which is the same for all chunks, and then `COLUMNS` columns with an item for each chunk. So a batch
costs one upload, and one compiled version for each width of a machine word serves all voxel types and layouts. All
lengths are in words of the arrays ``source`` and ``target``.
"""

from __future__ import annotations

from numba import cuda

from ..bodies.exchange import exchange
from ..bodies.placement import fill_group, fill_run, place_group
from ..bodies.workers import ALL_ROWS
from ..compilation import cached_cuda_kernel
from . import workers

HEADER = 24
"""Items before the columns of a table."""
PATTERN = 22
"""Where in the header the fill value is, and how many bits a word has."""
COLUMNS = 5
"""Where the chunk begins in the chunks' memory, where its box begins in the box's, and the chunk's x, y, z in it."""


@cached_cuda_kernel
def place_chunks(table, at, count, lanes, source, target):
    """Place decoded chunks into boxes whose channels and x are neighbours in memory.

    Parameters
    ----------
    table, at, count
        Header: the ``geometry`` of `placement.place_group`.
    lanes : int
        Threads that share a line along x; a power of two that divides the threads of a block.
    source, target
        The decoded chunks, and the output.
    """
    geometry = (
        table[at], table[at + 1], table[at + 2], table[at + 3], table[at + 4], table[at + 5], table[at + 6],
        table[at + 7], table[at + 8],
    )  # fmt: skip
    worker = workers.share_of_chunk(geometry[1] * geometry[2], lanes)
    for chunk in range(cuda.blockIdx.x, count, cuda.gridDim.x):
        item = at + HEADER + chunk
        start, base = table[item], table[item + count]
        origin = (table[item + 2 * count], table[item + 3 * count], table[item + 4 * count])
        place_group(worker, source, start, 1, 0, target, base, origin, geometry, False, source, 0)


@cached_cuda_kernel
def fill_chunks(table, at, count, lanes, target):
    """Fill what absent chunks would have covered; arguments as above, with the chunks' memory left unused.

    In the header follow the ``pattern`` and ``bits`` of `placement.fill_group`, from `PATTERN` on.
    """
    geometry = (
        table[at], table[at + 1], table[at + 2], table[at + 3], table[at + 4], table[at + 5], table[at + 6],
        table[at + 7], table[at + 8],
    )  # fmt: skip
    worker = workers.share_of_chunk(geometry[1], lanes)
    for chunk in range(cuda.blockIdx.x, count, cuda.gridDim.x):
        item = at + HEADER + chunk
        origin = (table[item + 2 * count], table[item + 3 * count], table[item + 4 * count])
        fill_group(
            worker, 1, target, table[item + count], origin, geometry, table[at + PATTERN], table[at + PATTERN + 1]
        )


@cached_cuda_kernel
def exchange_chunks(table, at, count, lanes, box, chunks, into_box):
    """Copy the voxels that chunks and boxes of any memory layout share, into the boxes or out of them.

    Parameters
    ----------
    table, at, count
        Header: the ``layout`` of `exchange.exchange`, one number after another.
    lanes : int
        Threads that share the innermost axis.
    box, chunks
        The memory of the boxes and of the decoded chunks.
    into_box : int
        1 to fill boxes, 0 to fill chunks.
    """
    layout = (
        (table[at], table[at + 1], table[at + 2], table[at + 3]),
        (table[at + 4], table[at + 5], table[at + 6], table[at + 7]),
        (table[at + 8], table[at + 9], table[at + 10], table[at + 11]),
        (table[at + 12], table[at + 13], table[at + 14], table[at + 15]),
        (table[at + 16], table[at + 17], table[at + 18], table[at + 19]),
        table[at + 20],
    )
    worker = workers.share_of_chunk(ALL_ROWS, lanes)
    for chunk in range(cuda.blockIdx.x, count, cuda.gridDim.x):
        item = at + HEADER + chunk
        start, base = table[item], table[item + count]
        corner = (0, table[item + 2 * count], table[item + 3 * count], table[item + 4 * count])
        exchange(worker, corner, layout, box, base, chunks, start, into_box != 0)


@cached_cuda_kernel
def fill_words(pattern, count, table):
    """Fill the first ``count`` items of int64 with a number."""
    first = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    fill_run(table, 0, count, pattern, 64, first, cuda.gridDim.x * cuda.blockDim.x)
