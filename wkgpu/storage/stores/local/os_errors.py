"""What the operating system refuses, as an error of this library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from wkgpu.errors import ReadOnlyError, StorageAccessError, WkgpuError


@contextmanager
def wrap_os_errors(action: str) -> Iterator[None]:
    """Turn an `OSError` of the block into a `StorageAccessError` that says what could not be done.

    Examples
    --------
    >>> with wrap_os_errors("Cannot read the shard"):
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


def os_error_to_wkgpu(action: str, error: OSError) -> ReadOnlyError | StorageAccessError:
    """Return the error for a change that the system refused: a `ReadOnlyError` where only permission is missing."""
    if isinstance(error, PermissionError):
        return ReadOnlyError(f"{action}: {error.strerror}. Check the permissions of the file and its folder.")
    return StorageAccessError(error.errno, f"{action}: {error.strerror}")
