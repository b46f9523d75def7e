"""Places in Python's code at which something is done, so that moments are tried that no timer hits.

They are the places where CPython looks for signals: entries of functions, and ends of calls. Each place is as likely to
be chosen as any other one, however often the code passes it.
"""

from __future__ import annotations

import dis
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import numpy as np

_ENTRY = -1  # instead of a bytecode's offset


class Place(NamedTuple):
    """A place in a function, and which time it is passed."""

    code: CodeType
    offset: int
    time: int

    def __str__(self) -> str:
        lines = [line for begin, end, line in self.code.co_lines() if begin <= self.offset < end]
        line = lines[0] if lines else self.code.co_firstlineno
        return f"{Path(self.code.co_filename).name}:{line}, time {self.time + 1}"


class Places:
    """All places in a call."""

    def __init__(self, call: Callable[[], object]) -> None:
        counts: Counter[tuple[CodeType, int]] = Counter()

        def trace(frame: FrameType, event: str, _: object) -> Any:
            code, offset = frame.f_code, frame.f_lasti
            if code.co_filename == __file__:
                return None
            if event == "call":
                frame.f_trace_lines, frame.f_trace_opcodes = False, True
                counts[code, _ENTRY] += 1
            elif event == "opcode" and offset in _after_calls(code):
                counts[code, offset] += 1
            return trace

        _traced(trace, call)
        self._counts = list(counts.items())

    def choose(self, random: np.random.Generator) -> Place:
        """Return any place."""
        (code, offset), times = self._counts[random.integers(len(self._counts))]
        return Place(code, offset, int(random.integers(times)))

    def all(self) -> list[Place]:
        """Return every place, each time that it is passed."""
        return [Place(code, offset, time) for (code, offset), times in self._counts for time in range(times)]


def act_at(place: Place, act: Callable[[], object], call: Callable[[], object]) -> None:
    """Call a function, and do something at a place in it: raise an exception, or end the process."""
    left = place.time

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code is not place.code:
            return None
        if event == "call":
            frame.f_trace_lines, frame.f_trace_opcodes = False, True
        if (_ENTRY if event == "call" else frame.f_lasti) == place.offset and event in ("call", "opcode"):
            left -= 1
            if left < 0:
                sys.settrace(None)
                act()
        return trace

    _traced(trace, call)


def _traced(trace: Any, call: Callable[[], object]) -> None:
    try:
        sys.settrace(trace)
        call()
    finally:
        sys.settrace(None)


@cache
def _after_calls(code: CodeType) -> frozenset[int]:
    """Return the bytecodes that follow a call, and would be treated as the call itself if they raised an exception."""
    handlers = dis._parse_exception_table(code)  # type: ignore[attr-defined]
    targets = set(dis.findlabels(code.co_code))

    def handler(offset: int) -> object:
        return next((entry.target for entry in handlers if entry.start <= offset < entry.end), None)

    return frozenset(
        after.offset
        for call, after in pairwise(dis.get_instructions(code))
        if call.opname in ("CALL", "CALL_FUNCTION_EX", "CALL_KW")
        and after.offset not in targets
        and handler(call.offset) == handler(after.offset)
    )
