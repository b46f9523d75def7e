"""Members of enumerations, by what a caller may write for them."""

from __future__ import annotations

from enum import Enum
from typing import Any, TypeVar

from wkgpu.errors import WkgpuError

_Choice = TypeVar("_Choice", bound=Enum)


def member_of(choices: type[_Choice], value: Any, argument: str, error: type[WkgpuError]) -> _Choice:
    """Return a member from its name, or from the same member of another library's enumeration.

    Raises
    ------
    WkgpuError
        Of the class `error`, naming the argument and all members, if there is no such member.
    """
    name = value.value if isinstance(value, Enum) else value
    try:
        return choices(name)
    except ValueError:
        known = ", ".join(repr(member.value) for member in choices)
        raise error(f"{argument} {name!r} is unknown; use one of {known}.") from None
