"""Kernels that engines launch, whatever the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from wkgpu.engines.footprint import FOOTPRINTS, Use, mapped
from wkgpu.errors import CompilationError, LaunchError
from wkgpu.forking import loading
from wkgpu.kernels.bodies.arithmetic import add as add
from wkgpu.kernels.bodies.arithmetic import multiply as multiply
from wkgpu.kernels.bodies.reducing import SLOTS as SLOTS

MAX_SOURCES = 4
"""Arrays that a user function can take values of."""


class Kernel(Protocol):
    """What `Engine.launch` runs."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    def uses(self, rows: int, *arguments: Any) -> Iterable[Use]:
        """Return what the kernel touches when it is launched with these arguments.

        Raises
        ------
        LaunchError
            For numbers that contradict each other.
        """
        ...

    def on_cpu(self) -> Any:
        """Return what is called as ``(first, last, *arguments)`` and works on these rows, without the GIL."""
        ...

    def on_cuda(self) -> Any:
        """Return the Numba kernel that is launched with ``(rows, lanes, *arguments)``, on any grid."""
        ...


@cache
def _loaded(module: str, name: str) -> Any:
    with loading:
        return getattr(import_module(module), name)


class NamedKernel(NamedTuple):
    """A kernel that comes with wkgpu.

    Attributes
    ----------
    topic : str
        It is one of ``wkgpu.kernels.cpu.{topic}`` and of ``wkgpu.kernels.cuda.{topic}``, which are imported when they
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

    def uses(self, rows: int, *arguments: Any) -> Iterable[Use]:
        """See `Kernel.uses`; `wkgpu.engines.footprint` declares it."""
        footprint = FOOTPRINTS.get((self.topic, self.name))
        if footprint is None:
            raise LaunchError("wkgpu.engines.footprint does not declare what it touches")
        return footprint(rows, *arguments)

    def on_cpu(self) -> Any:
        """See `Kernel.on_cpu`."""
        return _loaded(f"wkgpu.kernels.cpu.{self.topic}", self.name)

    def on_cuda(self) -> Any:
        """See `Kernel.on_cuda`."""
        return _loaded(f"wkgpu.kernels.cuda.{self.topic}", self.name)


_MAPPING = {"cpu": "wkgpu.kernels.cpu.mapping", "cuda": "wkgpu.kernels.cuda.mapping"}
"""What makes a kernel of a function, by the machine."""


class FunctionKernel(NamedTuple):
    """A user function, called with one value per source, as a kernel; see `wkgpu.kernels.bodies.mapping`.

    It is compiled once in a process for each combination of types, and kept with the function.

    Attributes
    ----------
    function : callable
        Plain Python that Numba can compile.
    sources : int
        How many of its arguments are values of arrays; the others are constants.
    """

    function: Callable[..., Any]
    sources: int

    @property
    def name(self) -> str:
        """Name of the function."""
        return str(getattr(self.function, "__qualname__", self.function))

    def uses(self, rows: int, *arguments: Any) -> Iterable[Use]:
        """See `Kernel.uses`. What the function does with its constants is up to its author."""
        return mapped(self.sources)(rows, *arguments)

    def on_cpu(self) -> Any:
        """See `Kernel.on_cpu`."""
        return self._compiled("cpu")

    def on_cuda(self) -> Any:
        """See `Kernel.on_cuda`."""
        return self._compiled("cuda")

    def check(self, arguments: Sequence[Any]) -> None:
        """Compile the function alone, whose errors Numba then reports without the kernel around it.

        Parameters
        ----------
        arguments
            A value of each source, and the constants.

        Raises
        ------
        CompilationError
            If it cannot be compiled, or returns no number.
        """
        with loading:
            from numba import njit, typeof, types

        self.on_cpu()  # with it come the primitives of this machine
        name = self.function.__qualname__
        instead = "Correct that, or do arbitrary Python with map_chunk() or for_each_chunk()."
        function = _loaded("wkgpu.kernels.compiler_thread", "compiled_elsewhere")(njit(nogil=True)(self.function))
        try:
            kinds = tuple(map(typeof, arguments))
            if kinds in self._kept:
                return
            function.compile(kinds)
        except Exception as error:
            raise CompilationError(f"{name}() cannot be compiled: {_reason(error)}\n{instead}") from error
        (result,) = (signature.return_type for signature in function.nopython_signatures)
        if not isinstance(result, types.Integer | types.Float | types.Boolean):
            taken = ", ".join(map(str, kinds))
            raise CompilationError(f"{name}({taken}) returns {result}, which is no number. {instead}")
        self._kept[kinds] = True

    def _compiled(self, machine: str) -> Any:
        kept, key = self._kept, (machine, self.sources)
        if key not in kept:
            kept[key] = _loaded(_MAPPING[machine], "compiled")(*self)
        return kept[key]

    @property
    def _kept(self) -> dict[Any, Any]:
        """What is known of the function already: its kernels, and the types that were checked."""
        kept: dict[Any, Any] = vars(self.function).setdefault("_wkgpu_kept", {})
        return kept


def _reason(error: Exception) -> str:
    """Return what a message of Numba's says of the function: why, and in which line, without the compiler's steps."""
    lines = str(error).splitlines()
    steps = [number for number, line in enumerate(lines) if line.startswith("During: ")]
    said = lines[: steps[0]] if steps else lines
    return "\n".join(line for line in said if line.strip() and not line.startswith("Failed in nopython mode"))
