"""Vectors as text: ``VecInt(5,1, axes=('t', 'x'))`` or ``t=5, x=1``."""

from __future__ import annotations

import re

_REPR = re.compile(r"\s*VecInt\((?P<values>[-+\d,\s]*?),?\s*axes=\((?P<axes>[^()]*)\)\)\s*")
_COMPONENT = r"\w+\s*=\s*[-+]?\d+"
_NAMED = re.compile(rf"\s*(?:VecInt\()?\s*({_COMPONENT}(?:\s*,\s*{_COMPONENT})*)\s*\)?\s*")


def parsed_vector(string: str) -> tuple[list[str], list[str]]:
    """Return the components of a vector, as digits, and its axes.

    Raises
    ------
    ValueError
        If the string is no vector.

    Examples
    --------
    >>> parsed_vector("t=5, x=1")
    (['5', '1'], ['t', 'x'])
    """
    if match := _REPR.fullmatch(string):
        return re.findall(r"[-+]?\d+", match["values"]), re.findall(r"'([^']*)'", match["axes"])
    if match := _NAMED.fullmatch(string):
        axes, numbers = zip(*re.findall(r"(\w+)\s*=\s*([-+]?\d+)", match[1]), strict=True)
        return list(numbers), list(axes)
    raise ValueError(f"Cannot read a vector from {string!r}. Write it as 't=5, x=1' or as str(vector) prints it.")
