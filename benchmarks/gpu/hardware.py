"""All that the benchmarks ask of CuPy and KvikIO themselves; a test has another class with these methods."""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib import import_module
from importlib.metadata import distributions
from typing import Any, Protocol

_PACKAGES = ("cupy", "numba", "kvikio", "libkvikio", "nvidia-nvcomp", "nvidia-libnvcomp", "nvidia-cuda-runtime")


class Gpu(Protocol):
    """A GPU beside the engine that works on it."""

    def describe(self) -> dict[str, Any]:
        """Return what a reader must know to judge a figure."""
        ...

    def synchronize(self) -> None:
        """Wait until all that was given to the GPU is done."""
        ...

    def file_settings(self, threads: int, task_bytes: int) -> AbstractContextManager[Any]:
        """Let files be read by some threads in requests of some bytes, for a ``with`` block."""
        ...


class CudaGpu:
    """A GPU behind CuPy.

    Parameters
    ----------
    ordinal : int
        Its number.
    """

    def __init__(self, ordinal: int) -> None:
        self._ordinal = ordinal
        self._cupy: Any = import_module("cupy")

    def describe(self) -> dict[str, Any]:
        """Return the names and versions of the GPU, of its driver and of all libraries."""
        from wkgpu.engines.cuda.diagnosis import cuda_findings

        properties = self._cupy.cuda.runtime.getDeviceProperties(self._ordinal)
        defaults = import_module("kvikio.defaults")
        return {
            "gpu": properties["name"].decode(),
            "gpu_memory_gib": round(properties["totalGlobalMem"] / 2**30, 1),
            "multiprocessors": properties["multiProcessorCount"],
            "found": {finding.subject: finding.text for finding in cuda_findings()},
            "kvikio": {
                "path": "POSIX" if defaults.is_compat_mode_preferred() else "cuFile",
                "threads": defaults.get("num_threads"),
                "task_bytes": defaults.get("task_size"),
            },
            "gpu_libraries": _versions(),
        }

    def synchronize(self) -> None:
        """Wait for the GPU."""
        with self._cupy.cuda.Device(self._ordinal):
            self._cupy.cuda.runtime.deviceSynchronize()

    def file_settings(self, threads: int, task_bytes: int) -> AbstractContextManager[Any]:
        """Set KvikIO's threads and the bytes of their tasks."""
        settings: AbstractContextManager[Any] = import_module("kvikio.defaults").set(
            {"num_threads": threads, "task_size": task_bytes}
        )
        return settings


def _versions() -> dict[str, str]:
    """Return the versions of the GPU's libraries, whatever CUDA they are for."""
    found = {}
    for distribution in distributions():
        name = str(distribution.metadata["Name"] or "").lower()
        if name.startswith(_PACKAGES):
            found[name] = distribution.version
    return dict(sorted(found.items()))
