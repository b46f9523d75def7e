"""Launches of the kernels of ``frames.cu`` and ``blosc.cu`` under AddressSanitizer; see `chunk_kernels.cpp`."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import building

_SECONDS = 120
ORDERS = (0, 1)
"""In which the lanes of a warp run: ascending, descending."""


class Region(NamedTuple):
    """Memory of a script, by its number."""

    number: int


def _int64(*numbers: int) -> bytes:
    return np.array([number if number < 1 << 63 else number - (1 << 64) for number in numbers], np.int64).tobytes()


class Script:
    """Memory, and launches that change it."""

    def __init__(self) -> None:
        self._regions: list[bytes] = []
        self._contents: list[bytes] = []
        self._nbytes: list[int] = []
        self._addresses: list[tuple[int, int, int, int]] = []
        self._launches: list[bytes] = []

    def memory(self, content: bytes, misfit: int = 0, unit: int = 4) -> Region:
        """Add bytes that begin ``misfit`` after a multiple of 16; words of ``unit`` that hold one may be touched."""
        self._regions.append(_int64(len(content), misfit, unit))
        self._nbytes.append(len(content))
        self._contents.append(content)
        return Region(len(self._regions) - 1)

    def column(self, numbers: Sequence[int], dtype: str = "int64") -> Region:
        """Add a number for each chunk."""
        return self.memory(np.array(numbers, dtype).tobytes(), unit=1)

    def addresses(self, regions: Sequence[Region], more: int = 0) -> Region:
        """Add the address of each chunk, or of what is so many bytes behind it."""
        column = self.column([0] * len(regions))
        self._addresses += [(column.number, 8 * row, of.number, more) for row, of in enumerate(regions)]
        return column

    def launch(self, name: str, *arguments: Region | int, blocks: int = 1, warps: int = 1) -> None:
        """Add a launch."""
        values = b"".join(
            _int64(1, value.number) if isinstance(value, Region) else _int64(0, value) for value in arguments
        )
        head = _int64(len(name)) + name.encode() + _int64(blocks, warps)
        self._launches.append(head + b"ORDER..." + _int64(len(arguments)) + values)

    def run(self, order: int = 0) -> list[bytes]:
        """Run all launches, and return what the regions hold then.

        Raises
        ------
        AssertionError
            If something beside the regions is touched, lanes diverge, or there is no end.
        """
        program = building.chunk_kernels_program()
        content = _int64(len(self._regions)) + b"".join(self._regions) + b"".join(self._contents)
        content += _int64(len(self._addresses)) + b"".join(_int64(*address) for address in self._addresses)
        content += _int64(len(self._launches))
        content += b"".join(launch.replace(b"ORDER...", _int64(order)) for launch in self._launches)
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "script", Path(folder) / "results"
            source.write_bytes(content)
            command = [str(program), str(source), str(target)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
            assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr[:3000]}"
            found = target.read_bytes()
        ends = np.cumsum(self._nbytes).tolist()
        return [found[end - nbytes : end] for end, nbytes in zip(ends, self._nbytes, strict=True)]

    def run_in_both_orders(self) -> list[bytes]:
        """Run with the lanes of warps in either order, which must make no difference."""
        one, other = (self.run(order) for order in ORDERS)
        different = [number for number, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1]]
        addresses = {column for column, *_ in self._addresses}
        assert [number for number in different if number not in addresses] == []
        return one
