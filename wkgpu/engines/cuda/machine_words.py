"""Layouts in machine words: the widest that every run of bytes is a multiple of, so that a GPU moves few of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wkgpu.engines.voxel_layout import VoxelLayout
from wkgpu.storage.plans.chunk_lookup import Ints

WIDEST = 8
_X = 1  # among the axes (channel, x, y, z)


def word_width(*multiples: int) -> int:
    """Return the bytes of the widest machine word of which all these are multiples.

    Examples
    --------
    >>> word_width(64, 24), word_width(64, -6), word_width(0)
    (8, 2, 8)
    """
    bits = WIDEST
    for number in multiples:
        bits |= int(number)
    return bits & -bits


def common_bits(numbers: Ints) -> int:
    """Return a number that is a multiple of the powers of two of which all these are.

    Examples
    --------
    >>> common_bits(np.array([8, 24, -4])) % 8
    4
    """
    return int(np.bitwise_or.reduce(numbers)) if len(numbers) else 0


class WordLayout(NamedTuple):
    """An exchange, counted in machine words."""

    numbers: list[int]
    """The layout of `wkgpu.kernels.bodies.exchange`, one number after another."""
    width: int
    """Bytes of a word."""
    scale: int
    """An x coordinate becomes ``x * scale // width``."""
    rows: int
    """Planes of the two innermost axes in a chunk, at most."""
    along: int
    """Items along the innermost axis, at most."""


def layout_in_words(layout: VoxelLayout, corners_x: int, *multiples: int) -> WordLayout:
    """Count the layout of an exchange, which is in bytes, in machine words.

    Where the innermost axis is x, and its voxels are neighbours in the box as in the chunk, a line of them is a run of
    bytes, whatever a voxel is: then x itself is counted in words.

    Parameters
    ----------
    layout
        Of `voxel_layout`.
    corners_x : int
        `common_bits` of the chunks' first x.
    multiples : int
        Addresses and offsets that must be multiples of a word.
    """
    chunk, box, of_box, of_chunk, axes, item = layout
    scale = None
    walked = (1, 2, 3) if chunk[0] == 1 else (0, 1, 2, 3)  # nothing is ever a stride of the only channel away
    if axes[3] == _X and of_box[_X] == item == of_chunk[_X]:
        others = [stride for axis in walked if axis != _X for stride in (of_box[axis], of_chunk[axis])]
        width = word_width(chunk[_X] * item, box[_X] * item, corners_x * item, *others, *multiples)
        scale = item
        chunk = (chunk[0], chunk[_X] * item // width, *chunk[2:])
        box = (box[0], box[_X] * item // width, *box[2:])
        of_box, of_chunk, item = (of_box[0], width, *of_box[2:]), (of_chunk[0], width, *of_chunk[2:]), width
    else:
        width = word_width(item, *(stride for axis in walked for stride in (of_box[axis], of_chunk[axis])), *multiples)
    strides = [stride // width for stride in (*of_box, *of_chunk)]
    extents = [min(chunk[axis], box[axis]) for axis in axes]
    return WordLayout(
        [*chunk, *box, *strides, *axes, item // width],
        width, width if scale is None else scale, extents[0] * extents[1], extents[3],
    )  # fmt: skip
