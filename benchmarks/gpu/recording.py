"""Stand-ins for parts of a device that remember what the engine gave to them, so that it can be done again alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

Call = tuple[Any, ...]


class RecordingStream:
    """A stream that remembers the kernels it was given."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.launches: list[Call] = []

    def launch(self, *arguments: Any) -> None:
        """Launch a kernel."""
        self.launches.append(arguments)
        self._stream.launch(*arguments)

    def again(self) -> None:
        """Launch all kernels once more."""
        for arguments in self.launches:
            self._stream.launch(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@dataclass
class RecordedDecoding:
    """A batch that was decoded: the operations that did it."""

    stream: Any
    count: int
    operations: list[Callable[[], None]] = field(default_factory=list)

    def again(self) -> None:
        """Queue them once more."""
        for operation in self.operations:
            operation()


class RecordingLz4:
    """Kernels for LZ4 that remember the batches they were given."""

    def __init__(self, lz4: Any, decoded: list[RecordedDecoding]) -> None:
        self._lz4 = lz4
        self._decoded = decoded

    def decode(self, stream: Any, columns: Any, *arguments: Any) -> None:
        """Decode a batch."""
        self._begin(stream, columns, partial(self._lz4.decode, stream, columns, *arguments))

    def check(self, stream: Any, columns: Any, *arguments: Any) -> None:
        """Check a batch, which another decoder is given then."""
        self._begin(stream, columns, partial(self._lz4.check, stream, columns, *arguments))

    def join(self, *arguments: Any) -> None:
        """Add what the other decoder has found."""
        self._decoded[-1].operations.append(partial(self._lz4.join, *arguments))
        self._lz4.join(*arguments)

    def _begin(self, stream: Any, columns: Any, operation: Callable[[], None]) -> None:
        self._decoded.append(RecordedDecoding(stream, columns.count, [operation]))
        operation()


class RecordingCodec:
    """A codec that remembers the batches it was given."""

    def __init__(self, codec: Any, decoded: list[RecordedDecoding]) -> None:
        self._codec = codec
        self._decoded = decoded
        self.encoded: list[Call] = []

    def decode(self, *arguments: Any) -> None:
        """Decode a batch that has been checked."""
        self._decoded[-1].operations.append(partial(self._codec.decode, *arguments))
        self._codec.decode(*arguments)

    def encode(self, *arguments: Any) -> None:
        """Encode a batch."""
        self.encoded.append(arguments)
        self._codec.encode(*arguments)

    def again(self, call: Call) -> Callable[[], None]:
        """Return what encodes a batch once more, and waits."""
        stream = call[0]

        def encode() -> None:
            self._codec.encode(*call)
            stream.record().wait()

        return encode

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codec, name)


class RecordingDevice:
    """A device that remembers what was decoded and encoded."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self.decoded: list[RecordedDecoding] = []
        self.lz4 = RecordingLz4(device.lz4, self.decoded)
        self.recorded = RecordingCodec(device.codec("lz4"), self.decoded)

    def codec(self, name: str) -> Any:
        """Return what encodes and decodes."""
        return self.recorded if name == "lz4" else self._device.codec(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)
