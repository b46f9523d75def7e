"""Places in Python's code at which something is done, so that moments are tried that no timer hits."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from types import CodeType, FrameType
from typing import Any


class Place:
    """Does something at one of the places where CPython looks for signals: entries of functions, and ends of calls.

    Parameters
    ----------
    act : callable
        What is done: it raises an exception, or ends the process.
    number : int
        How many such places are passed before.
    """

    def __init__(self, act: Callable[[], object], number: int = sys.maxsize) -> None:
        self._act = act
        self._left = self._number = number

    @classmethod
    def count(cls, call: Callable[[], object]) -> int:
        """Return how many places there are in a call."""
        place = cls(lambda: None)
        place.during(call)
        return place._number - place._left

    def during(self, call: Callable[[], object]) -> None:
        """Call a function, with this place in it."""
        try:
            sys.settrace(self._trace)
            call()
        finally:
            sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename == __file__:
            return None
        if event == "call":
            frame.f_trace_lines, frame.f_trace_opcodes = False, True
            self._pass()
        elif event == "opcode" and frame.f_lasti in _after_calls(frame.f_code):
            self._pass()
        return self._trace

    def _pass(self) -> None:
        self._left -= 1
        if self._left == -1:
            sys.settrace(None)
            self._act()


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
