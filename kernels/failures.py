"""What a kernel reports instead of raising.

A kernel's argument ``failure`` (int64, 3 items) receives one of these codes, the row of the chunk in the plan's table,
and a detail: a file offset, or a number of bytes.
"""

from __future__ import annotations

OK, READ_FAILED, TRUNCATED, MALFORMED, WRONG_LENGTH, ENCODE_FAILED = range(6)

UNCHECKED = 100
"""No failure: what a decoder leaves to another one, because nothing would show whether it was decoded rightly."""
