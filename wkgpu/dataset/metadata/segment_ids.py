"""Segment ids in JSON: beyond what each reader of JSON holds exactly, as the object that WEBKNOSSOS writes."""

from __future__ import annotations

import re
from operator import index
from typing import Any

from wkgpu.errors import ArgumentError

_FIRST_BIG = 1 << 53  # JavaScript's numbers are doubles, which hold the integers below this one
_DIGITS = re.compile(r"-?[0-9]{1,20}")


def checked_segment_id(value: Any) -> int | None:
    """Return a segment id as an integer, or raise an `ArgumentError`; None, for one that is not known, stays None."""
    if value is None:
        return None
    try:
        found = index(value)
    except TypeError:
        raise ArgumentError(f"largest_segment_id is {value!r}; give an integer, or None if it is not known.") from None
    if not -(1 << 63) <= found < 1 << 64:
        raise ArgumentError(f"largest_segment_id is {found}; no voxel type has room for it.")
    return found


def segment_id_to_json(value: int) -> Any:
    """Return how a properties file says a segment id.

    Examples
    --------
    >>> segment_id_to_json(7), segment_id_to_json(2**64 - 1)
    (7, {'customJsonEncoding': 'bigint', 'value': '18446744073709551615'})
    """
    if abs(value) < _FIRST_BIG:
        return value
    return {"customJsonEncoding": "bigint", "value": str(value)}


def segment_id_from_json(value: Any) -> int | None:
    """Read a segment id of a properties file in any of its forms, or raise an `ArgumentError`.

    Examples
    --------
    >>> segment_id_from_json({"customJsonEncoding": "bigint", "value": "18446744073709551615"})
    18446744073709551615
    """
    found = value
    if isinstance(found, dict) and found.get("customJsonEncoding") == "bigint":
        found = found.get("value")
        if isinstance(found, str) and _DIGITS.fullmatch(found):
            found = int(found)
    elif isinstance(found, float) and found.is_integer():
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, int | None):
        raise ArgumentError(f"largestSegmentId is {value!r}, which is no segment id; correct it, or remove the key.")
    return checked_segment_id(found)
