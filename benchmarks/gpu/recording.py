"""Stand-ins for parts of a device that remember what the engine gave to them, so that it can be done again alone."""

from __future__ import annotations

from collections.abc import Callable
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


class RecordingCodec:
    """A codec that remembers the batches it was given."""

    def __init__(self, codec: Any) -> None:
        self._codec = codec
        self.decoded: list[Call] = []
        self.encoded: list[Call] = []

    def decode(self, *arguments: Any) -> None:
        """Decode a batch."""
        self.decoded.append(arguments)
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

    def decode_again(self, call: Call) -> None:
        """Queue decoding a batch once more."""
        self._codec.decode(*call)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codec, name)


class RecordingDevice:
    """A device whose LZ4 codec remembers."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self.recorded = RecordingCodec(device.codec("lz4"))

    def codec(self, name: str) -> Any:
        """Return what encodes and decodes."""
        return self.recorded if name == "lz4" else self._device.codec(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)
