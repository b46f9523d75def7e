"""Reading files from compiled kernels, without the GIL."""

from __future__ import annotations

import numpy as np
from numba import njit

from ..failures import READ_FAILED, TRUNCATED
from . import intrinsics


@njit(nogil=True)
def fetch(descriptor, offset, nbytes, target, failure):
    """Read exactly ``nbytes`` of a file to an address; whether that worked."""
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
    files, offsets, lengths, places = segments
    left, right = 0, places.size  # the last segment that begins at or before `low`
    while right - left > 1:
        middle = (left + right) // 2
        if places[middle] <= low:
            left = middle
        else:
            right = middle
    for segment in range(left, places.size):
        if places[segment] >= high:
            break
        begin = max(low, places[segment])
        end = min(high, places[segment] + lengths[segment])
        offset = offsets[segment] + begin - places[segment]
        if end > begin and not fetch(
            descriptors[files[segment]], offset, end - begin, staging + begin - low, failure
        ):  # fmt: skip
            return False
    return True


@njit(nogil=True)
def fetch_chunks(first, last, places, lengths, segments, descriptors, staging, failure):
    """Fetch the chunks of the rows ``first`` to ``last``, which is included, with all that lies between them.

    Of a failure the row is reported whose bytes cannot be had: neighbours may come from different files.
    """
    low = high = places[first]
    for row in range(first, last + 1):
        high = max(high, places[row] + lengths[row])
    failure[1] = first
    if fetch_segments(low, high, segments, descriptors, staging, failure):
        return True
    for row in range(first, last + 1):
        failure[1] = row
        end = places[row] + lengths[row]
        if not fetch_segments(places[row], end, segments, descriptors, staging + places[row] - low, failure):
            return False
    failure[1] = first  # what lies between them, or something that has passed
    return False
