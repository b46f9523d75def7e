"""What the CUDA engine asks of PyTorch, without PyTorch."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace


class TorchStandIn(ModuleType):
    """Its streams are numbers; like PyTorch's, the current ones belong to a thread and a GPU, and are default at first.

    Attributes
    ----------
    asked : int
        How often a current stream was asked for.
    """

    def __init__(self, gpus: int = 2) -> None:
        super().__init__("torch")
        self._current = threading.local()
        self.asked = 0
        self.is_initialized = True
        self.cuda = SimpleNamespace(
            is_initialized=lambda: self.is_initialized,
            device_count=lambda: gpus,
            current_stream=self._current_stream,
        )

    def _current_stream(self, ordinal: int) -> SimpleNamespace:
        assert self.is_initialized, "PyTorch would start CUDA"
        self.asked += 1
        return SimpleNamespace(cuda_stream=self._streams.get(ordinal, 0))

    @property
    def _streams(self) -> dict[int, int]:
        return vars(self._current).setdefault("streams", {})

    @contextmanager
    def stream(self, handle: int, ordinal: int = 0):
        """Make a stream the current one, as `torch.cuda.stream`."""
        before = self._streams.get(ordinal, 0)
        self._streams[ordinal] = handle
        try:
            yield
        finally:
            self._streams[ordinal] = before

    def install(self, monkeypatch) -> TorchStandIn:
        """Put it where an imported PyTorch is."""
        monkeypatch.setitem(sys.modules, "torch", self)
        return self
