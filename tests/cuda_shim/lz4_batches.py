"""Batches of chunks for `lz4_program.cpp`, and what it has found."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

FAULTS = {
    1: "depends on the order of lanes",
    2: "writes to the source",
    4: "writes beside the target",
    8: "the check replaces what is sound, or keeps what is damaged",
}
_SECONDS_PER_LAUNCH = 30  # what takes longer hangs
_SHOWN = 2000  # characters of what a program that ended early has said


@dataclass
class Chunk:
    """A chunk as the kernels get it.

    Attributes
    ----------
    encoded : bytes
        Its source.
    capacity, wanted : int
        Decoded bytes that it should have, and how many of them are needed.
    misfits : (int, int)
        Bytes by which source and target begin after a multiple of 16.
    found : (int, int)
        Status and bytes that the decoder reports which comes after the check.
    length : int or None
        What the kernels are told instead of the number of bytes of the source. Only numbers that no chunk can have are
        lawful for this, and for a capacity above `room`.
    room : int or None
        Bytes of the target, where they are not ``capacity``.
    """

    encoded: bytes
    capacity: int
    wanted: int
    misfits: tuple[int, int] = (0, 0)
    found: tuple[int, int] = (0, 0)
    length: int | None = None
    room: int | None = None

    @property
    def room_bytes(self) -> int:
        """Bytes of the target."""
        return self.capacity if self.room is None else self.room

    def packed(self) -> bytes:
        """As `lz4_program.cpp` reads it."""
        length = len(self.encoded) if self.length is None else self.length
        numbers = (len(self.encoded), self.room_bytes, length, self.capacity, self.wanted, *self.misfits, *self.found)
        return np.array(numbers, np.int64).tobytes() + self.encoded


class Result(NamedTuple):
    """What the kernels have made of a chunk; ``target`` has all its bytes, those behind ``decoded`` are undefined."""

    status: int
    decoded: int
    check_status: int
    check_decoded: int
    joined_status: int
    joined_decoded: int
    faults: int
    target: bytes


class Ended(NamedTuple):
    """What the program said of a launch at which it ended early."""

    reason: str


def run(program: Path, launches: Sequence[Sequence[Chunk]], blocks: Iterable[int]) -> list[list[Result] | Ended]:
    """Run launches of chunks, each on a grid of its own; what ends the program is the result of one of them."""
    contents = [
        np.array([len(chunks), count], np.int64).tobytes() + b"".join(chunk.packed() for chunk in chunks)
        for chunks, count in zip(launches, blocks, strict=True)
    ]
    results: list[list[Result] | Ended] = []
    while len(results) < len(launches):
        rest = launches[len(results) :]
        content, reason = _run(program, b"".join(contents[len(results) :]), _SECONDS_PER_LAUNCH * len(rest))
        results += _parsed(content, rest)
        if len(results) < len(launches):
            results.append(Ended(reason))
    return results


def _run(program: Path, content: bytes, seconds: float) -> tuple[bytes, str]:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "chunks", Path(folder) / "results"
        source.write_bytes(content)
        command = [str(program), str(source), str(target)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
            reason = f"ended with {done.returncode}: {done.stderr[:_SHOWN]}"
        except subprocess.TimeoutExpired:
            reason = f"has no end after {seconds:.0f} s"
        return target.read_bytes() if target.exists() else b"", reason


def _parsed(content: bytes, launches: Sequence[Sequence[Chunk]]) -> list[list[Result]]:
    """The results of the launches that are there whole."""
    found, at, numbers = [], 0, len(Result._fields) - 1
    for chunks in launches:
        results = []
        for chunk in chunks:
            begin = at + 8 * numbers
            end = begin + chunk.room_bytes
            if end > len(content):
                return found
            fields = np.frombuffer(content, np.int64, numbers, at).tolist()
            results.append(Result(*fields, content[begin:end]))
            at = end
        found.append(results)
    return found
