"""What an engine must promise.

- It executes plans and knows nothing of files' formats, datasets or views.
- Voxels do not depend on it: every engine returns, bit for bit, what every other one returns.
- Memory beyond the output is bounded: by the batches it works in, and never by the size of a plan.
- A chunk that cannot be fetched, or does not decode as far as it is wanted, raises a `ChunkError` that names its file;
  no voxel of it is returned.
- It can be called by any number of threads at once.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import numpy as np

from wkgpu.engines.host_memory import READ_LESS
from wkgpu.engines.kernel import Kernel
from wkgpu.engines.tuning import Tuning
from wkgpu.storage.codecs import Codec
from wkgpu.storage.plans.comparison import ComparisonPlan
from wkgpu.storage.plans.read import ReadPlan
from wkgpu.storage.plans.sources import Sources
from wkgpu.storage.plans.write import WritePlan


@runtime_checkable
class Engine(Protocol):
    """A machine that reads and writes voxels."""

    @property
    def name(self) -> str:
        """``"cpu"``, ``"cuda:0"``, ..."""
        ...

    @property
    def xp(self) -> ModuleType:
        """The array module whose arrays it returns, for example NumPy: what a per-chunk function computes with."""
        ...

    @property
    def tuning(self) -> Tuning:
        """How operations cut their work for it."""
        ...

    def active(self) -> AbstractContextManager[Any]:
        """Make its device the calling thread's current one, for a ``with`` block that computes with `xp`."""
        ...

    def side_streams(self) -> dict[int, int]:
        """Return the streams (``cudaStream_t``) by GPU that calls of this thread work in; default streams are left out.

        Other threads that work for this one call the engine in a block of `wkgpu.engines.in_streams`, with what
        `wkgpu.engines.side_streams` returns in this thread.
        """
        ...

    def asarray(self, data: Any) -> Any:
        """Return data (NumPy, CuPy, anything with DLPack) as this engine's array, copied only where it must be."""
        ...

    def as_input(self, data: Any) -> Any:
        """Return data as an array that `write` takes, where it may as well lie on another machine."""
        ...

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Any:
        """Return uninitialised memory for an output, in Fortran order."""
        ...

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Any:
        """Return zeroed memory for an output, in Fortran order."""
        ...

    def check_room(self, nbytes: int, what: str, advice: str = READ_LESS) -> None:
        """See that there is memory for an array before any work is done for it.

        It takes some 100 µs: ask for arrays of `wkgpu.engines.host_memory.LARGE_BYTES` and more.

        Parameters
        ----------
        what : str
            Names the array at the begin of a message.
        advice : str
            What can be done, at its end.

        Raises
        ------
        TooLargeError
            If there is not as much, even after what is kept for the next calls was given back.
        """
        ...

    def share(self, nbytes: int) -> AbstractContextManager[int]:
        """Take memory for the voxels that an operation holds at a time, for a ``with`` block.

        Yields how many bytes these may be: as many, or fewer, where the engine's calls share what a device has.
        """
        ...

    def as_output(self, out: Any) -> Any:
        """Return this engine's array on the memory of ``out``, for `read` to fill.

        Raises
        ------
        ShapeError
            Where ``out`` is no array that this engine can fill.
        """
        ...

    def read(self, plan: ReadPlan, sources: Sources, out: Any) -> None:
        """Fill every voxel that the plan covers.

        Parameters
        ----------
        plan : ReadPlan
            What to read.
        sources : Sources
            Its files, open.
        out : array (channel, x, y, z, box)
            Of the plan's dtype, with any strides; fastest where channels and x are neighbours (Fortran order).

        Raises
        ------
        ChunkError
            For a chunk that cannot be fetched or decoded.
        TooLargeError
            For chunks that memory has no room for.
        """
        ...

    def projected_nbytes(self, plan: ReadPlan) -> int:
        """Return how much memory `read` takes besides the output, the plan, and what is kept of earlier calls."""
        ...

    def write(self, plan: WritePlan, data: Any) -> None:
        """Write a box of voxels into the plan's shard and set the plan's sizes.

        Parameters
        ----------
        plan : WritePlan
            Open.
        data : array (channel, x, y, z)
            Of `as_input`, of the plan's dtype and shape, with any strides.
        """
        ...

    def compare(self, plan: ComparisonPlan, sources: tuple[Sources, Sources]) -> bool:
        """Whether two boxes have the same voxels.

        Chunks whose encoded bytes are equal need not be decoded: what is damaged in both alike may stay unnoticed.

        Parameters
        ----------
        plan : ComparisonPlan
            Two plans, and the chunks that face each other.
        sources : tuple of Sources
            The files of both plans, all of them open.
        """
        ...

    def decodes(self, codec: Codec) -> bool:
        """Whether this machine decodes chunks of a codec by itself.

        `read` and `write` of others raise an `UnsupportedError` on the CPU; a GPU has them done by the CPU.
        """
        ...

    def wait(self) -> None:
        """Wait until all that was launched is done, so that other threads can use its memory."""
        ...

    def launch(self, kernel: Kernel, rows: int, width: int, *arguments: Any) -> None:
        """Run a kernel on arrays.

        What it does to arrays of this engine is done, or on a GPU queued in the order of the caller's stream, when this
        returns.

        Parameters
        ----------
        kernel : Kernel
            One of `wkgpu.kernels`, or made of a user function.
        rows : int
            How many rows it loops over, which threads share.
        width : int
            Items of a row, which neighbouring threads of a GPU share.
        arguments
            What the kernel takes beyond rows and lanes: flat arrays of this engine, numbers, and tuples of both.
        """
        ...
