"""What is current in a thread while a call works: a GPU, and a stream of CuPy's."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import cupy

from wkgpu.engines.cuda.torch_stream import has_torch, is_default, torch_stream


class _Handle:
    """A stream of another library, by CUDA's stream protocol."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._handle


class Current:
    """Makes a GPU CuPy's current one for a ``with`` block, and PyTorch's current stream CuPy's, where one is set.

    That stream first waits for what CuPy's own stream was given before, so that whatever waits for the one waits for
    both. In the end CuPy's own stream waits for what the block has queued.

    Parameters
    ----------
    ordinal : int
        The GPU.
    stream : cupy.cuda.Stream, optional
        What is current in any case, as in the thread that this one works for.
    """

    def __init__(self, ordinal: int, stream: Any = None) -> None:
        self._ordinal = ordinal
        self._given = stream
        self._stream: Any = None
        self._own: Any = None

    def __enter__(self) -> Current:
        self._device = cupy.cuda.Device(self._ordinal)  # one each: it remembers what was current before
        self._device.__enter__()
        try:
            if self._given is not None:
                self._given.__enter__()
                self._stream = self._given
            elif has_torch():
                self._enter_torch()
        except BaseException:
            self._device.__exit__()
            raise
        return self

    def _enter_torch(self) -> None:
        own = cupy.cuda.get_current_stream()
        if not is_default(own.ptr):  # the caller's choice, or entered before
            return
        handle = torch_stream(self._ordinal)
        if handle is None:
            return
        stream = cupy.cuda.Stream.from_external(_Handle(handle))
        _order(own, stream)
        stream.__enter__()
        self._stream, self._own = stream, own

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._stream is not None:
                self._stream.__exit__(kind, error, traceback)
            if self._own is not None and error is None:
                _order(self._stream, self._own)
        finally:
            self._device.__exit__()


def _order(before: Any, after: Any) -> None:
    """Let a stream wait for what another one has been given so far."""
    event = cupy.cuda.Event(disable_timing=True)
    event.record(before)
    after.wait_event(event)
