"""What the operating system refuses, as an error of this library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from wkgpu.errors import StorageAccessError, WkgpuError


@contextmanager
def reporting_as(action: str) -> Iterator[None]:
    """Turn an `OSError` of the block into a `StorageAccessError` that says what could not be done.

    Examples
    --------
    >>> with reporting_as("Cannot read the shard"):
    ...     open("/")
    Traceback (most recent call last):
    ...
    wkgpu.errors.StorageAccessError: [Errno 21] Cannot read the shard: Is a directory
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, WkgpuError):
            raise
        raise StorageAccessError(error.errno, f"{action}: {error.strerror}") from error
