"""How much of a GPU's memory the calls of an engine take together, and who of them gets how much.

A call says what it could use, and works with what it is given: at most half of what no other call has, so that those
that come after it find something. None waits for another one's memory. Beside outputs this is all that an engine takes,
in so far as a call cannot do with less than one chunk.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from wkgpu.engines.cuda.device import Device
from wkgpu.settings import config

MAX_BYTES = 8 << 30
"""What larger budgets add to speed is little: a batch of a GiB keeps an H100 busy."""
_PART_OF_FREE = 4


class Budget:
    """Lends shares of the memory that an engine may take.

    Parameters
    ----------
    device : Device
        Whose memory it is; it is asked once, when the engine first works, how much of it is free.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._lent = 0
        self._by_default: int | None = None

    @property
    def nbytes(self) -> int:
        """All of it: what `Config.gpu_bytes` says, or by default a quarter of what was free, and 8 GiB at most."""
        if config.gpu_bytes:
            return config.gpu_bytes
        if self._by_default is None:
            self._by_default = min(self._device.free_bytes() // _PART_OF_FREE, MAX_BYTES)
        return self._by_default

    @property
    def rest(self) -> int:
        """What is not lent."""
        return max(self.nbytes - self._lent, 0)

    def given(self, wanted: int) -> int:
        """Return what a call would be given that begins now."""
        return min(wanted, self.rest // 2)

    @contextmanager
    def share(self, wanted: int) -> Iterator[int]:
        """Lend memory for a ``with`` block; yields how many bytes, which are as many as are wanted, or fewer."""
        with self._lock:
            given = self.given(wanted)
            self._lent += given
        try:
            yield given
        finally:
            with self._lock:
                self._lent -= given
