"""The bodies of `packing` as kernels of a CUDA device, on whatever grid they are launched with.

What they have to know of the chunks comes in one ``table`` of int64; see `placement`.
"""

from __future__ import annotations

from numba import cuda

from ..bodies.packing import add_up, pack
from ..compilation import cached_cuda_kernel


@cached_cuda_kernel
def drop_filled(table, lengths_at, count, words, pattern, numbers):
    """Set the encoded length of each chunk to 0 that holds nothing but one number; a thread looks at a chunk.

    Parameters
    ----------
    table, lengths_at, count
        Where in the table the lengths begin, and of how many chunks.
    words, pattern : int
        Numbers of a chunk, and the one.
    numbers : int64
        The decoded chunks.
    """
    step = cuda.gridDim.x * cuda.blockDim.x
    for chunk in range(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x, count, step):
        word = 0
        while word < words and numbers[chunk * words + word] == pattern:
            word += 1
        if word == words:
            table[lengths_at + chunk] = 0


@cached_cuda_kernel
def add_up_lengths(table, lengths_at, ends_at, count, stride):
    """Write the prefix sums of encoded lengths. A batch has some thousand: one thread is fast enough."""
    if cuda.blockIdx.x == 0 and cuda.threadIdx.x == 0:
        add_up(count, stride, table[lengths_at : lengths_at + count], table[ends_at : ends_at + count])


@cached_cuda_kernel
def pack_chunks(table, lengths_at, ends_at, count, stride, source, target):
    """Move encoded chunks next to each other; a block copies one chunk, its threads are the lanes.

    Parameters
    ----------
    table, lengths_at, ends_at, count
        Where in the table the ``lengths`` and ``ends`` of `packing.pack` begin.
    """
    lengths = table[lengths_at : lengths_at + count]
    ends = table[ends_at : ends_at + count]
    worker = cuda.blockIdx.x, count, cuda.gridDim.x, cuda.threadIdx.x, cuda.blockDim.x
    pack(worker, source, stride, lengths, ends, target)
