"""Kernels that engines launch, whatever the machine."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple, Protocol


class Kernel(Protocol):
    """What `Engine.launch` runs."""

    def on_cpu(self) -> Any:
        """Return what is called as ``(first, last, *arguments)`` and works on these rows, without the GIL."""
        ...

    def on_cuda(self) -> Any:
        """Return the Numba kernel that is launched with ``(rows, lanes, *arguments)``, on any grid."""
        ...


class NamedKernel(NamedTuple):
    """A kernel that comes with wkgpu.

    Attributes
    ----------
    topic : str
        It is one of ``wkgpu.kernels.cpu_{topic}`` and of ``wkgpu.kernels.cuda_{topic}``, which are imported when they
        are needed.
    name : str
        Its name in both.

    Examples
    --------
    >>> NamedKernel("pooling", "mode").on_cpu().__name__
    'mode'
    """

    topic: str
    name: str

    def on_cpu(self) -> Any:
        """See `Kernel.on_cpu`."""
        return getattr(import_module(f"wkgpu.kernels.cpu_{self.topic}"), self.name)

    def on_cuda(self) -> Any:
        """See `Kernel.on_cuda`."""
        return getattr(import_module(f"wkgpu.kernels.cuda_{self.topic}"), self.name)
