"""Which stream of a GPU a call works in: its caller's, which is PyTorch's or CuPy's current one.

Both libraries have a current stream for each thread and GPU, and neither knows the other's. CuPy's pool keeps memory
that is given back for the stream in which it was taken, because there it is used again only behind what that stream
still has to do. So where PyTorch computes in a side stream, arrays have to be taken and filled in that stream.

Neither library is imported here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import local
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

from wkgpu.errors import DeviceError

_AnyStream = TypeVar("_AnyStream")

Streams: TypeAlias = dict[int, int]
"""The ``cudaStream_t`` by the number of its GPU. Default streams are left out."""

DEFAULTS = frozenset((0, 1, 2))
"""The null stream, ``cudaStreamLegacy`` and ``cudaStreamPerThread``, which wait for each other in CUDA."""


class _Handed(local):
    streams: Streams | MappingProxyType[int, int] = MappingProxyType({})


_handed = _Handed()


def stream_of_call(ordinal: int, of_cupy: int, is_capturing: Callable[[int], bool]) -> int:
    """Return the stream that a call of this thread works in.

    Parameters
    ----------
    ordinal : int
        The GPU.
    of_cupy : int
        CuPy's current stream of that GPU. It is returned where no other stream is to be entered.
    is_capturing : callable
        Whether a stream captures a CUDA graph. It is not asked about default streams.

    Raises
    ------
    DeviceError
        While the stream captures a CUDA graph.
    """
    stream = calling_stream(ordinal, of_cupy)
    if stream not in DEFAULTS and is_capturing(stream):
        raise DeviceError(
            f"The current stream of cuda:{ordinal} captures a CUDA graph, and reads and writes of files cannot be a "
            f"part of one. Read before the capture begins; before each replay, fill the tensor that the graph reads, "
            f"with view.read(out=tensor)."
        )
    return stream


def calling_stream(ordinal: int, of_cupy: int) -> int:
    """Return the stream of this thread's calls: CuPy's own side stream, else PyTorch's, else what was handed to it."""
    if of_cupy not in DEFAULTS:
        return of_cupy
    if "torch" in sys.modules and (cuda := _cuda_of_torch()) is not None:
        of_torch: int = cuda.current_stream(ordinal).cuda_stream
        if of_torch not in DEFAULTS:
            return of_torch
    return _handed.streams.get(ordinal, of_cupy)


def _cuda_of_torch() -> Any:
    """Return ``torch.cuda`` if this process uses it; another thread may have imported only a half of it yet."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    is_initialized = getattr(cuda, "is_initialized", None)
    return cuda if is_initialized is not None and is_initialized() else None


@contextmanager
def joined(own: _AnyStream, stream: _AnyStream, follow: Callable[[_AnyStream, _AnyStream], None]) -> Iterator[None]:
    """Let a block work in a stream instead of CuPy's own one, in one order with it.

    What CuPy's stream has been given is done before the block's work, and that before what CuPy's stream is given next.
    So an event of the stream stands for both, memory that was given back while CuPy's stream reads it is not
    overwritten, and CuPy's functions find what the block has made.

    Parameters
    ----------
    own, stream
        CuPy's current stream, and the one that is entered instead.
    follow : callable
        ``follow(one, other)`` lets what one stream is given from now on wait for what the other one has been given.
    """
    follow(stream, own)
    try:
        yield
    except BaseException:
        with suppress(Exception):  # what went wrong first counts
            follow(own, stream)
        raise
    follow(own, stream)


# ---- Threads that work for another one


def side_streams_of_thread() -> Streams:
    """Return PyTorch's side streams in this thread, and those that were handed to it, for `in_streams`."""
    streams = dict(_handed.streams)
    if "torch" in sys.modules and (cuda := _cuda_of_torch()) is not None:
        for ordinal in range(cuda.device_count()):
            of_torch = cuda.current_stream(ordinal).cuda_stream
            if of_torch not in DEFAULTS:
                streams[ordinal] = of_torch
    return streams


@contextmanager
def in_streams(streams: Streams) -> Iterator[None]:
    """Let calls of this thread work in the streams of the thread that it works for, where it has none of its own."""
    before = _handed.streams
    _handed.streams = streams
    try:
        yield
    finally:
        _handed.streams = before
