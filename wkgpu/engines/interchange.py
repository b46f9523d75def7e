"""Arrays of other libraries, on the memory where they lie (DLPack)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wkgpu.errors import DtypeError


def from_dlpack(data: Any, convert: Callable[[Any], Any]) -> Any:
    """Return data as an array of a library, which ``convert`` is the ``from_dlpack`` of.

    Raises
    ------
    DtypeError
        Where the libraries cannot share it: a type that one of them lacks, a tensor that needs gradients.
    """
    try:
        return convert(data)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise DtypeError(f"The data are a {type(data).__name__} that cannot be shared: {error}") from error
