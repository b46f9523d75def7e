"""Members of enumerations, by what a caller may write for them."""

from __future__ import annotations

from enum import Enum
from typing import Any, TypeVar

from wkgpu.errors import WkgpuError

_Member = TypeVar("_Member", bound=Enum)


def member_of(kind: type[_Member], value: Any, argument: str, error: type[WkgpuError]) -> _Member:
    """Return a member from its name, or from the same member of another library's enumeration.

    Raises
    ------
    WkgpuError
        Of the class `error`, naming the argument and all members, if there is no such member.
    """
    name = value.value if isinstance(value, Enum) else value
    try:
        return kind(name)
    except ValueError:
        known = ", ".join(repr(member.value) for member in kind)
        raise error(f"{argument} {name!r} is unknown; use one of {known}.") from None
