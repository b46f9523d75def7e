"""The members of a JSON object as text, so that a change of one leaves all others as another program has written them.

Attributes may be large or deep, have numbers that no float holds, and be indented in any way: read and written again,
they would become others, or so much longer that the file is not read any more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


class _Member(NamedTuple):
    """The name of a member, and where its value begins and ends."""

    name: str
    begin: int
    end: int


def members(data: bytes) -> dict[str, str]:
    """Return the names of an object's members, and their values as they are written.

    Parameters
    ----------
    data : bytes
        A JSON object that `json.loads` reads. Of members with one name, the last one counts, as it does there.

    Examples
    --------
    >>> members(b'{"a": 1e400, "b": [1,  2]}')
    {'a': '1e400', 'b': '[1,  2]'}
    """
    text = _text(data)
    return {name: text[begin:end] for name, begin, end in _found(text)}


def with_members(data: bytes, changes: Mapping[str, str]) -> bytes:
    """Return an object in which members have other values, or are added behind all others.

    Parameters
    ----------
    changes : mapping of str to str
        Names, and values as they are to be written.

    Examples
    --------
    >>> with_members(b'{"a": 1e400, "b": 2}', {"b": "3"})
    b'{"a": 1e400, "b": 3}'
    """
    text = _text(data)
    known = {member.name: member for member in _found(text)}
    added = [f"\n  {json.dumps(name)}: {value}" for name, value in changes.items() if name not in known]
    last = max((member.end for member in known.values()), default=text.index("{") + 1)
    text = text[:last] + ("," if known and added else "") + ",".join(added) + text[last:]
    for member in sorted(known.values(), key=lambda member: -member.begin):
        if member.name in changes:
            text = text[: member.begin] + changes[member.name] + text[member.end :]
    return text.encode(errors="surrogatepass")


def _text(data: bytes) -> str:
    return data.decode(json.detect_encoding(data), "surrogatepass")


def _found(text: str) -> Iterator[_Member]:
    at = _behind_space(text, _behind_space(text, 0) + 1)
    while text[at] != "}":
        name, at = _DECODER.raw_decode(text, at)
        begin = _behind_space(text, _behind_space(text, at) + 1)  # behind the colon
        _, end = _DECODER.raw_decode(text, begin)
        yield _Member(name, begin, end)
        at = _behind_space(text, end)
        if text[at] == ",":
            at = _behind_space(text, at + 1)


def _behind_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()
