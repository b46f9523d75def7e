"""Encoded chunks of different lengths, moved next to each other."""

from __future__ import annotations

from .placement import copy_run
from .registration import body


@body
def add_up(count, max_length, lengths, ends):
    """Write the prefix sums of ``count`` lengths; those of chunks that failed to be encoded may need to be limited."""
    end = 0
    for row in range(count):
        length = min(max(lengths[row], 0), max_length)
        lengths[row] = length
        end += length
        ends[row] = end


@body
def pack(worker, source, stride, lengths, ends, target):
    """Copy encoded chunks to one after another; a row is a chunk.

    Parameters
    ----------
    source, stride
        The encoded chunks, and the bytes from where one begins to where the next one does.
    lengths, ends
        Bytes of each, and their prefix sums: where each ends in the target.
    """
    first, last, step, lane, lanes = worker
    for row in range(first, last, step):
        copy_run(target, ends[row] - lengths[row], source, row * stride, lengths[row], False, lane, lanes)
