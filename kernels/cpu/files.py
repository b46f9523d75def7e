"""Reading files from compiled kernels, without the GIL.

``segments`` is the table of byte ranges of a plan, ``chunks`` that of its chunks: int64 (columns, n); see `planning`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ..compilation import cached_kernel
from ..failures import READ_FAILED, TRUNCATED
from ..planning import CHUNK_NBYTES, CHUNK_STAGING_OFFSET, FILE, NBYTES, OFFSET, STAGING_OFFSET
from . import intrinsics


@njit(nogil=True)
def take(taken, count):
    """Return the first of ``count`` things that no other thread takes; ``taken`` is their int64 (1,), from 0 on."""
    return intrinsics.atomic_add(taken.ctypes.data, count)


@njit(nogil=True)
def fetch(descriptor, offset, nbytes, target, failure):
    """Read exactly ``nbytes`` of a file to an address; whether that succeeded."""
    done = 0
    while done < nbytes:
        got = intrinsics.pread(np.int32(descriptor), target + done, nbytes - done, offset + done)
        if got <= 0:
            failure[0] = READ_FAILED if got < 0 else TRUNCATED
            failure[2] = offset + done
            return False
        done += got
    return True


@njit(nogil=True)
def fetch_segments(low, high, segments, descriptors, staging, failure):
    """Read all of the staging space's bytes ``low`` to ``high`` that segments cover to the address ``staging``."""
    count = segments.shape[1]
    left, right = 0, count  # the last segment that begins at or before `low`
    while right - left > 1:
        middle = (left + right) // 2
        if segments[STAGING_OFFSET, middle] <= low:
            left = middle
        else:
            right = middle
    for segment in range(left, count):
        start = segments[STAGING_OFFSET, segment]
        if start >= high:
            break
        begin = max(low, start)
        end = min(high, start + segments[NBYTES, segment])
        offset = segments[OFFSET, segment] + begin - start
        if end > begin and not fetch(
            descriptors[segments[FILE, segment]], offset, end - begin, staging + begin - low, failure
        ):  # fmt: skip
            return False
    return True


@njit(nogil=True)
def end_of_chunk(chunks, row):
    """Return where an encoded chunk ends in the staging space."""
    return chunks[CHUNK_STAGING_OFFSET, row] + chunks[CHUNK_NBYTES, row]


@njit(nogil=True)
def fetch_chunks(first, last, chunks, segments, descriptors, staging, failure):
    """Fetch the chunks of the rows ``first`` to ``last``, which is included, with all that lies between them.

    Of a failure the row is reported whose bytes cannot be had: neighbours may come from different files.
    """
    low = high = chunks[CHUNK_STAGING_OFFSET, first]
    for row in range(first, last + 1):
        high = max(high, end_of_chunk(chunks, row))
    failure[1] = first
    if fetch_segments(low, high, segments, descriptors, staging, failure):
        return True
    for row in range(first, last + 1):
        failure[1] = row
        start = chunks[CHUNK_STAGING_OFFSET, row]
        if not fetch_segments(
            start, end_of_chunk(chunks, row), segments, descriptors, staging + start - low, failure
        ):  # fmt: skip
            return False
    failure[1] = first  # what lies between them, or a fault that has passed
    return False


@cached_kernel
def fetch_ranges(taken, step, descriptors, segments, target, failure):
    """Fetch segments to their offsets after the address ``target``, ``step`` at a time, until all are taken.

    The parameters are those of `read_chunks`; of a failure, the segment is reported instead of a chunk's row.
    """
    count = segments.shape[1]
    first = take(taken, step)
    while first < count:
        for segment in range(first, min(first + step, count)):
            descriptor, offset = descriptors[segments[FILE, segment]], segments[OFFSET, segment]
            goal = target + segments[STAGING_OFFSET, segment]
            if not fetch(descriptor, offset, segments[NBYTES, segment], goal, failure):
                failure[1] = segment
                take(taken, count)
                return
        first = take(taken, step)
