"""Encoded chunks of different lengths, moved next to each other: bodies that every machine compiles."""

from __future__ import annotations

from .placement import copy_run


def add_up(count, lengths, ends):
    """Write the prefix sums of ``count`` lengths."""
    end = 0
    for row in range(count):
        end += lengths[row]
        ends[row] = end


def pack(first, last, step, lane, lanes, source, stride, lengths, ends, target):
    """Copy encoded chunks to one after another; a row is a chunk.

    Parameters
    ----------
    source, stride
        The encoded chunks, and the bytes from where one begins to where the next one does.
    lengths, ends
        Bytes of each, and their prefix sums: where each ends in the target.
    """
    for row in range(first, last, step):
        copy_run(target, ends[row] - lengths[row], source, row * stride, lengths[row], False, lane, lanes)
