"""Decoding LZ4 chunks that hardly shrink: electron microscopy, which is short matches scattered in runs of literals.

liblz4 predicts how long the next run is, whether its length takes a second byte, and how often the copying loop turns.
In noise these branches are unpredictable, and a wrong guess costs more than all the copying. Here the length is
computed without a branch, and 64 bytes are copied whether they are needed or not: what is too much is overwritten by
what follows. That is 1.5 to 2.4 times as fast. Where matches are long or frequent, guesses are good, and liblz4 is.

Everything out of the ordinary is left to liblz4, which continues from any sequence: the end of a chunk, and whatever
does not decode. So the loop here needs no validity checks of its own, only bounds that it never leaves.

Source of the format: "LZ4 Block Format Description".
"""

from __future__ import annotations

import numpy as np
from numba import njit

from . import intrinsics

_NOISE_SHARE = 8  # a chunk that does not shrink by this part is noise
_COPIED = 64  # literals at a time
# What one turn of the loop may read and write beyond where it begins, and liblz4's rules about the end of a chunk
_READ_AHEAD, _WRITTEN_AHEAD = _COPIED + 16, 2 * _COPIED
_LONG_RUN, _LONG_MATCH, _MIN_MATCH = 15, 19, 4  # a length that continues in further bytes; the shortest match
_WORD = 16  # bytes of a match that are copied at once; of one that is nearer than that, each byte is made by another


@njit(nogil=True)
def is_noise(nbytes, size):
    """Whether `decode_noise` is the faster one for a chunk of ``nbytes`` that decodes to ``size`` bytes."""
    return nbytes > size - size // _NOISE_SHARE


@njit(nogil=True)
def _add_length(address, end, length):
    """Read the further bytes of a length; returns the address behind them, at most ``end``, and the length."""
    while address < end:
        more = intrinsics.load_byte(address)
        address += 1
        length += more
        if more != 255:
            break
    return address, length


@njit(nogil=True)
def _copy_run(target, source, length):
    """Copy literals, and up to `_COPIED` bytes more."""
    done = 0
    while done < length:  # LLVM would unroll a loop over a range, for lengths of many hundreds
        intrinsics.copy_32_bytes(target + done, source + done)
        intrinsics.copy_32_bytes(target + done + 32, source + done + 32)
        done += _COPIED


@njit(nogil=True)
def _copy_match(target, source, length):
    """Copy what was decoded before, and up to `_WORD` bytes more where the copy does not make its own source."""
    if target - source >= _WORD:
        done = 0
        while done < length:
            intrinsics.copy_16_bytes(target + done, source + done)
            done += _WORD
    else:
        for done in range(length):
            intrinsics.copy_1_byte(target + done, source + done)


@njit(nogil=True)
def _decode_sequences(source, end, first, wanted_end, room_end):
    """Decode sequences until enough are decoded, the memory ends, or one comes that is not ordinary.

    Parameters
    ----------
    first : int
        The address that the chunk is decoded to.
    source, end : int
        The chunk, and the address up to which sequences may begin, `_READ_AHEAD` before its end.
    wanted_end, room_end : int
        The address up to which sequences are wanted, and that up to which they may begin, `_WRITTEN_AHEAD` before the
        end of the memory.

    Returns
    -------
    source, target : int
        Addresses at which the next sequence begins.
    """
    target = first
    while source < end and target < min(wanted_end, room_end):
        token = intrinsics.load_byte(source)
        is_long = token >= _LONG_RUN << 4
        literals = intrinsics.select(is_long, source + 2, source + 1)
        behind = source + 2 + _LONG_RUN + intrinsics.load_byte(source + 1)
        match = intrinsics.select(is_long, behind, source + 1 + (token >> 4))
        run = match - literals
        intrinsics.copy_32_bytes(target, literals)
        intrinsics.copy_32_bytes(target + 32, literals + 32)
        if run > _COPIED:
            if run == _LONG_RUN + 255:
                literals, run = _add_length(literals, end, run)
            match = literals + run
            if match >= end or target + run >= room_end:
                break
            _copy_run(target, literals, run)
        copy = target + run
        original = copy - intrinsics.load_2_bytes(match)
        length = (token & 15) + _MIN_MATCH
        match += 2
        if original < first or original == copy:
            break
        if length < _LONG_MATCH and copy - original >= _WORD:
            intrinsics.copy_16_bytes(copy, original)
            if length > _WORD:
                intrinsics.copy_16_bytes(copy + _WORD, original + _WORD)
        else:
            if length == _LONG_MATCH:
                match, length = _add_length(match, end, length)
                if match >= end or copy + length >= room_end:
                    break
            _copy_match(copy, original, length)
        source, target = match, copy + length
    return source, target


@njit(nogil=True)
def decode_noise(source, nbytes, target, wanted, size):
    """Decode the first ``wanted`` bytes, or somewhat more, of a chunk of ``size`` bytes.

    There must be memory for all of these bytes; behind the decoded ones it is left with any content.

    Returns
    -------
    int
        Decoded bytes; negative for a malformed chunk.
    """
    end, room_end = source + nbytes, target + size
    wanted_end = target + wanted
    rest, address = _decode_sequences(source, end - _READ_AHEAD, target, wanted_end, room_end - _WRITTEN_AHEAD)
    done = address - target
    if address >= wanted_end:
        return done
    if wanted == size:
        decoded = intrinsics.lz4_decode_on(
            rest, address, np.int32(end - rest), np.int32(size - done), target, np.int32(done)
        )
    else:
        decoded = intrinsics.lz4_decode_part_on(
            rest, address, np.int32(end - rest), np.int32(wanted - done), np.int32(size - done), target, np.int32(done)
        )
    return np.int64(decoded) if decoded < 0 else done + decoded
