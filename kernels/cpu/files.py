"""Reading files from compiled kernels, without the GIL.

``segments`` are tables of int64: file, offset in it, bytes, and ``starts``, the offsets in the staging space, which
ascend.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ..compilation import cached_kernel
from ..failures import READ_FAILED, TRUNCATED
from . import intrinsics


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
    files, offsets, lengths, starts = segments
    left, right = 0, starts.size  # the last segment that begins at or before `low`
    while right - left > 1:
        middle = (left + right) // 2
        if starts[middle] <= low:
            left = middle
        else:
            right = middle
    for segment in range(left, starts.size):
        if starts[segment] >= high:
            break
        begin = max(low, starts[segment])
        end = min(high, starts[segment] + lengths[segment])
        offset = offsets[segment] + begin - starts[segment]
        if end > begin and not fetch(
            descriptors[files[segment]], offset, end - begin, staging + begin - low, failure
        ):  # fmt: skip
            return False
    return True


@njit(nogil=True)
def fetch_chunks(first, last, starts, lengths, segments, descriptors, staging, failure):
    """Fetch the chunks of the rows ``first`` to ``last``, which is included, with all that lies between them.

    Of a failure the row is reported whose bytes cannot be had: neighbours may come from different files.
    """
    low = high = starts[first]
    for row in range(first, last + 1):
        high = max(high, starts[row] + lengths[row])
    failure[1] = first
    if fetch_segments(low, high, segments, descriptors, staging, failure):
        return True
    for row in range(first, last + 1):
        failure[1] = row
        end = starts[row] + lengths[row]
        if not fetch_segments(starts[row], end, segments, descriptors, staging + starts[row] - low, failure):
            return False
    failure[1] = first  # what lies between them, or a fault that has passed
    return False


@cached_kernel
def fetch_ranges(counter, step, descriptors, segments, target, failure):
    """Fetch segments to their offsets after the address ``target``, ``step`` at a time, until all are taken.

    The parameters are those of `read_chunks`; of a failure, the segment is reported instead of a chunk's row.
    """
    files, offsets, lengths, starts = segments
    first = intrinsics.atomic_add(counter, step)
    while first < starts.size:
        for segment in range(first, min(first + step, starts.size)):
            descriptor = descriptors[files[segment]]
            if not fetch(descriptor, offsets[segment], lengths[segment], target + starts[segment], failure):
                failure[1] = segment
                intrinsics.atomic_add(counter, starts.size)
                return
        first = intrinsics.atomic_add(counter, step)
