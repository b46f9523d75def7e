"""Pipelines of codecs on the CPU: what one made, the next one encodes again; decoding goes the other way.

What a kernel has to know of a pipeline is a row of int64: a head, and `STEP` items for each codec, the one first that
encodes first. LZ4 and LZ4HC are compiled in. Any other codec is two functions at addresses, of C or compiled by
``numba.cfunc``, of which all arguments and the result are int64:

- ``decode(source, nbytes, target, wanted, capacity, parameter, state)`` returns the decoded bytes, at least ``wanted``
  of them and at most ``capacity``, or a negative number for what is damaged. Behind the decoded bytes, up to
  ``capacity``, it may leave anything.
- ``encode(source, nbytes, target, capacity, parameter, state)`` returns the encoded bytes, 0 where they do not fit.

``state`` is the address of memory that is the thread's own and holds anything. A codec that has to prepare it has
``begin(parameter, state, state_bytes)`` for either, which each kernel calls once before the first chunk. One that may
store chunks as they are behind a header has ``is_plain(header, size)``, which is given the address of the header and
the bytes of a decoded chunk. All are called without the GIL.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from ..failures import MALFORMED, WRONG_LENGTH
from . import intrinsics
from .codec import CALLED, LZ4, decode_lz4, encode_lz4, is_literal

# The head of a row
COUNT, PLAIN, IS_PLAIN, SWAPPED, FIRST_BUFFER, SECOND_BUFFER, HEAD = range(7)
"""How many codecs there are; bytes before a chunk that may lie in the file as it is, -1 where none does; the address of
the function that tells by these bytes whether it does, 0 for LZ4; bytes of an item whose bytes lie in the other order
than this machine's, 0 where none do; and where in the working memory of a thread the two buffers are for what is
between codecs."""

# Of each codec
(
    NUMBER, CAPACITY, DECODE, DECODE_PARAMETER, DECODER_STATE, BEGIN_DECODING, DECODER_BYTES,
    ENCODE, ENCODE_PARAMETER, ENCODER_STATE, BEGIN_ENCODING, ENCODER_BYTES, STEP,
) = range(13)  # fmt: skip
"""Which codec; most bytes that it is given to encode; then of its decoder and of its encoder: addresses of its
function, its parameter, where in the working memory its state is, and the function that prepares that, 0 where there is
nothing to prepare, or another codec with the same state does it, and how many bytes it has."""


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


_call_decode, _call_encode, _call_begin, _call_is_plain = _caller(7), _caller(6), _caller(3), _caller(2)


@njit(nogil=True)
def begin_decoding(pipeline, work):
    """Prepare the decoders' states in the working memory."""
    for step in range(HEAD, HEAD + pipeline[COUNT] * STEP, STEP):
        if pipeline[step + BEGIN_DECODING] != 0:
            state = work + pipeline[step + DECODER_STATE]
            parameter, nbytes = pipeline[step + DECODE_PARAMETER], pipeline[step + DECODER_BYTES]
            _call_begin(pipeline[step + BEGIN_DECODING], (parameter, state, nbytes))


@njit(nogil=True)
def begin_decoding_all(pipelines, work):
    """Do so for several pipelines."""
    for pipeline in pipelines:
        begin_decoding(pipeline, work)


@njit(nogil=True)
def begin_encoding(pipeline, work):
    """Prepare the encoders' states in the working memory."""
    for step in range(HEAD, HEAD + pipeline[COUNT] * STEP, STEP):
        state = work + pipeline[step + ENCODER_STATE]
        if pipeline[step + NUMBER] == LZ4:
            intrinsics.lz4_begin(state, intrinsics.LZ4_STATE_BYTES)
        elif pipeline[step + BEGIN_ENCODING] != 0:
            parameter, nbytes = pipeline[step + ENCODE_PARAMETER], pipeline[step + ENCODER_BYTES]
            _call_begin(pipeline[step + BEGIN_ENCODING], (parameter, state, nbytes))


@njit(nogil=True)
def _decode_step(pipeline, step, source, nbytes, target, wanted, capacity, work):
    """Undo one codec; the decoded bytes."""
    if pipeline[step + NUMBER] != CALLED:
        return decode_lz4(source, nbytes, target, wanted, capacity)
    parameter, state = pipeline[step + DECODE_PARAMETER], work + pipeline[step + DECODER_STATE]
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
        parameter = pipeline[step + ENCODE_PARAMETER]
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
def may_be_plain(pipeline, nbytes, size):
    """Whether an encoded chunk has the bytes of one that lies there as it is, behind `PLAIN` bytes."""
    return pipeline[PLAIN] >= 0 and nbytes == size + pipeline[PLAIN]


@njit(nogil=True)
def is_plain(pipeline, header, size):
    """Whether a chunk that `may_be_plain` is; of it only the header is read."""
    if pipeline[PLAIN] == 0:
        return True
    if pipeline[IS_PLAIN] != 0:
        return _call_is_plain(pipeline[IS_PLAIN], (header, size)) != 0
    return is_literal(header, size)


@njit(nogil=True)
def swap_items(address, nbytes, itemsize):
    """Reverse the bytes of each item."""
    for item in range(address, address + nbytes, itemsize):
        for byte in range(itemsize // 2):
            front, back = item + byte, item + itemsize - 1 - byte
            low, high = intrinsics.load_byte(front), intrinsics.load_byte(back)
            intrinsics.store_byte(front, high)
            intrinsics.store_byte(back, low)
