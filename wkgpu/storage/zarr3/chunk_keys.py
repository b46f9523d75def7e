"""Keys of the chunks of a Zarr array: the files in its folder. Of a sharded array, they are the shards.

Source: the chunk key encodings of the Zarr 3 specification, https://zarr-specs.readthedocs.io.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wkgpu.errors import UnsupportedError
from wkgpu.storage.numbered_entries import SHARD_NUMBER, checked_number, numbered
from wkgpu.storage.stores.store import Location

_SEPARATORS = {"default": "/", "v2": "."}
_KEY = re.compile(r"c([/.])[0-9]+(\1[0-9]+)*|[0-9]+(([/.])[0-9]+(\4[0-9]+)*)?")


@dataclass(frozen=True)
class ChunkKeys:
    """A chunk key encoding.

    Parameters
    ----------
    name : {"default", "v2"}
        The keys of the former begin with a "c".
    separator : {"/", "."}
        What is between numbers.

    Examples
    --------
    >>> ChunkKeys("default", "/").key((0, 3, 5)), ChunkKeys("v2", ".").key((0, 3, 5))
    ('c/0/3/5', '0.3.5')
    """

    name: str = "default"
    separator: str = "/"

    @classmethod
    def of(cls, said: Any, path: str) -> ChunkKeys:
        """Read the ``chunk_key_encoding`` of metadata that zarr has checked.

        Raises
        ------
        UnsupportedError
            For an encoding that is none of the specification's.
        """
        name = said.get("name") if isinstance(said, Mapping) else said
        configuration = said.get("configuration") or {} if isinstance(said, Mapping) else {}
        if name not in _SEPARATORS:
            raise UnsupportedError(f"{path}: chunk_key_encoding {name!r} is unknown; wkgpu reads 'default' and 'v2'.")
        separator = configuration.get("separator", _SEPARATORS[name])
        if separator not in ("/", "."):
            raise UnsupportedError(f"{path}: the separator of chunk keys is {separator!r}; it is '/' or '.'.")
        return cls(name, separator)

    def key(self, chunk: Sequence[int | str]) -> str:
        """Return the key of a chunk, relative to the array's folder."""
        numbers = map(str, chunk)
        return self.separator.join(["c", *numbers] if self.name == "default" else numbers)

    def existing(self, folder: Location, wanted: Sequence[range], lengths: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """Yield the chunks whose files exist.

        Parameters
        ----------
        wanted : sequence of range
            Along each axis, the chunks that are looked for.
        lengths : sequence of int
            Elements of a chunk along each axis.
        """
        if self.separator == ".":
            yield from self._in_one_folder(folder, wanted, lengths)
            return
        yield from _nested(folder / "c" if self.name == "default" else folder, wanted, lengths)

    def _in_one_folder(
        self, folder: Location, wanted: Sequence[range], lengths: Sequence[int]
    ) -> Iterator[tuple[int, ...]]:
        before = ["c"] if self.name == "default" else []
        for name, is_folder in folder.store.entries(folder.key):
            digits = name.split(".")
            if is_folder or digits[: len(before)] != before or len(digits) != len(before) + len(wanted):
                continue
            digits = digits[len(before) :]
            if not all(map(SHARD_NUMBER.fullmatch, digits)):
                continue
            place = folder / name
            chunk = tuple(checked_number(place, *pair) for pair in zip(digits, lengths, strict=True))
            if all(number in span for number, span in zip(chunk, wanted, strict=True)):
                yield chunk


def _nested(folder: Location, wanted: Sequence[range], lengths: Sequence[int]) -> Iterator[tuple[int, ...]]:
    is_file = len(wanted) == 1
    for number, place in numbered(folder, "", "", lengths[0], wanted[0], files=is_file):
        if is_file:
            yield (number,)
        else:
            yield from ((number, *rest) for rest in _nested(place, wanted[1:], lengths[1:]))


def is_key(path: str) -> bool:
    """Whether a path relative to an array's folder is that of a chunk, whatever the array's encoding and axes.

    The key "c", that of an array without axes, is none: no mag is such an array.

    Examples
    --------
    >>> is_key("c/0/0/12/3"), is_key("0.0.12"), is_key("zarr.json"), is_key("c/x"), is_key("c")
    (True, True, False, False, False)
    """
    return _KEY.fullmatch(path) is not None
