"""Pipelines of codecs on the CPU: what one made, the next one encodes again; decoding goes the other way.

What a kernel has to know of a pipeline is a row of int64: a head, and `STEP` items for each codec, the one first that
encodes first. LZ4 and LZ4HC are compiled in. Any other codec is two functions at addresses, of C or compiled by
``numba.cfunc``, of which all arguments and the result are int64:

- ``decode(source, nbytes, target, wanted, capacity, parameter, state)`` returns the decoded bytes, at least ``wanted``
  of them and at most ``capacity``, or a negative number for what is damaged. Behind the decoded bytes, up to
  ``capacity``, it may leave anything.
- ``encode(source, nbytes, target, capacity, parameter, state)`` returns the encoded bytes, 0 where they do not fit.

``state`` is the address of memory that is the thread's own and holds anything. They are called without the GIL.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from ..failures import MALFORMED, WRONG_LENGTH
from . import intrinsics
from .codec import CALLED, LZ4, decode_lz4, encode_lz4

# The head of a row
COUNT, PLAIN, SWAPPED, FIRST_BUFFER, SECOND_BUFFER, HEAD = range(6)
"""How many codecs there are; bytes before a chunk that may lie in the file as it is, -1 where none does; bytes of an
item whose bytes lie in the other order than this machine's, 0 where none do; and where in the working memory of a
thread the two buffers are for what is between codecs."""

# Of each codec
NUMBER, DECODE, ENCODE, PARAMETER, CAPACITY, DECODER_STATE, ENCODER_STATE, STEP = range(8)
"""Which codec; addresses of its functions; its parameter; most bytes that it is given to encode; where in the working
memory its states are."""


def _caller(count):
    """Return a call of the function at an address, with so many int64."""

    @intrinsic
    def call(context, address, numbers):
        def generate(context, builder, signature, arguments):
            number = ir.IntType(64)
            kind = ir.FunctionType(number, [number] * count)
            function = builder.inttoptr(arguments[0], kind.as_pointer())
            return builder.call(function, cgutils.unpack_tuple(builder, arguments[1], count))

        return types.int64(types.int64, types.UniTuple(types.int64, count)), generate

    return call


_call_decode, _call_encode = _caller(7), _caller(6)


@njit(nogil=True)
def begin(pipeline, work):
    """Prepare the encoders' states in the working memory."""
    for step in range(HEAD, HEAD + pipeline[COUNT] * STEP, STEP):
        if pipeline[step + NUMBER] == LZ4:
            intrinsics.lz4_begin(work + pipeline[step + ENCODER_STATE], intrinsics.LZ4_STATE_BYTES)


@njit(nogil=True)
def _decode_step(pipeline, step, source, nbytes, target, wanted, capacity, work):
    """Undo one codec; the decoded bytes."""
    if pipeline[step + NUMBER] != CALLED:
        return decode_lz4(source, nbytes, target, wanted, capacity)
    parameter, state = pipeline[step + PARAMETER], work + pipeline[step + DECODER_STATE]
    return _call_decode(pipeline[step + DECODE], (source, nbytes, target, wanted, capacity, parameter, state))


@njit(nogil=True)
def decode(pipeline, source, nbytes, target, wanted, size, work, row, failure):
    """Decode the first ``wanted`` bytes, or somewhat more, of a chunk of ``size`` bytes; return whether it succeeded.

    Of a chunk that is wanted whole this includes that it has exactly its size. Behind the decoded bytes, up to ``size``
    of them, memory is left with any content.
    """
    for number in range(pipeline[COUNT] - 1, 0, -1):
        step = HEAD + number * STEP
        buffer = work + pipeline[FIRST_BUFFER + number % 2]
        capacity = pipeline[step + CAPACITY]
        nbytes = _decode_step(pipeline, step, source, nbytes, buffer, capacity, capacity, work)
        if nbytes < 0 or nbytes > capacity:
            failure[0], failure[1], failure[2] = MALFORMED, row, nbytes
            return False
        source = buffer
    decoded = _decode_step(pipeline, HEAD, source, nbytes, target, wanted, size, work)
    good = decoded == size if wanted == size else decoded >= wanted
    if not good:
        failure[0] = MALFORMED if decoded < 0 else WRONG_LENGTH
        failure[1], failure[2] = row, decoded
    return good


@njit(nogil=True)
def encode(pipeline, source, nbytes, target, capacity, work, was_noise):
    """Encode one chunk.

    Parameters
    ----------
    was_noise : bool
        Whether LZ4 could not shrink the chunk before: then this one is probed before it is fully compressed.

    Returns
    -------
    written : int
        Encoded bytes; 0 where they do not fit.
    is_noise : bool
        Whether LZ4 could not shrink this chunk.
    """
    is_noise = False
    count = pipeline[COUNT]
    for number in range(count):
        step = HEAD + number * STEP
        goal, room = target, capacity
        if number + 1 < count:
            goal, room = work + pipeline[FIRST_BUFFER + number % 2], pipeline[step + STEP + CAPACITY]
        state = work + pipeline[step + ENCODER_STATE]
        parameter = pipeline[step + PARAMETER]
        if pipeline[step + NUMBER] == CALLED:
            nbytes = _call_encode(pipeline[step + ENCODE], (source, nbytes, goal, room, parameter, state))
        else:
            nbytes, is_noise = encode_lz4(
                pipeline[step + NUMBER], parameter, state, source, nbytes, goal, room, was_noise
            )  # fmt: skip
        if nbytes <= 0:
            return np.int64(0), is_noise
        source = goal
    return nbytes, is_noise


@njit(nogil=True)
def is_plain(pipeline, nbytes, size):
    """Whether an encoded chunk may be the chunk itself, behind `PLAIN` bytes."""
    return pipeline[PLAIN] >= 0 and nbytes == size + pipeline[PLAIN]


@njit(nogil=True)
def swap_items(address, nbytes, itemsize):
    """Reverse the bytes of each item."""
    for item in range(address, address + nbytes, itemsize):
        for byte in range(itemsize // 2):
            front, back = item + byte, item + itemsize - 1 - byte
            low, high = intrinsics.load_byte(front), intrinsics.load_byte(back)
            intrinsics.store_byte(front, high)
            intrinsics.store_byte(back, low)
