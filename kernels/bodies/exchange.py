"""Voxels between one chunk and a box of any memory layout."""

from __future__ import annotations

from .overlap import common_begin, common_length
from .placement import copy_box
from .registration import body


@body
def exchange(worker, corner, layout, box, base, chunk, start, into_box):
    """Copy the voxels that a chunk and a box share, from the one into the other.

    Parameters
    ----------
    worker
        See `workers`; a row is a plane of the two innermost axes, of which this one knows how many there are.
    corner
        ``(c, x, y, z)`` of the chunk's first item in the box; negative where it begins before it.
    layout
        ``(chunk shape, box shape, strides of the box, strides of a chunk, axes, units)``. Shapes and strides are
        ``(c, x, y, z)``, ``axes`` the order in which they are walked, ``units`` the length of one item.
    box, base, chunk, start
        The box's memory and where its first item is in it, and the same of the chunk.
    """
    chunk_shape, box_shape, box_strides, chunk_strides, (a, b, c, d), units = layout
    in_box, in_chunk = common_begin(corner, box_strides, chunk_strides)
    extents = (
        common_length(corner[a], chunk_shape[a], box_shape[a]),
        common_length(corner[b], chunk_shape[b], box_shape[b]),
        common_length(corner[c], chunk_shape[c], box_shape[c]),
        common_length(corner[d], chunk_shape[d], box_shape[d]),
    )
    of_box = (box_strides[a], box_strides[b], box_strides[c], box_strides[d])
    of_chunk = (chunk_strides[a], chunk_strides[b], chunk_strides[c], chunk_strides[d])
    first, _, step, lane, lanes = worker
    worker = first, extents[0] * extents[1], step, lane, lanes
    in_box += base
    in_chunk += start
    if into_box:
        copy_box(worker, chunk, in_chunk, box, in_box, extents, of_chunk, of_box, units)
    else:
        copy_box(worker, box, in_box, chunk, in_chunk, extents, of_box, of_chunk, units)
