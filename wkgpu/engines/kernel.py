"""Kernels that engines launch, whatever the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from wkgpu.engines.footprint import Use
from wkgpu.engines.kernel_table import KERNELS, mapped
from wkgpu.errors import CompilationError, LaunchError
from wkgpu.forking import loading
from wkgpu.kernels.bodies.arithmetic import add as add
from wkgpu.kernels.bodies.arithmetic import multiply as multiply
from wkgpu.kernels.bodies.reductions import MAX_LANES as MAX_LANES

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

    def compiled_for(self, machine: str) -> Any:
        """Return what a machine runs.

        Parameters
        ----------
        machine : str
            The package of `wkgpu.kernels` that compiles it, with its ``row_kernels``. For ``"cpu"`` the result is
            called as ``(first, last, *arguments)`` and works on these rows, without the GIL; for ``"cuda"`` it is a
            Numba kernel that is launched with ``(rows, lanes, *arguments)``, on any grid.
        """
        ...


@cache
def _loaded(module: str, name: str) -> Any:
    with loading:
        return getattr(import_module(f"wkgpu.kernels.{module}"), name)


@cache
def _named(machine: str, topic: str, name: str) -> Any:
    make = _loaded(f"{machine}.row_kernels", "named_kernel")
    with loading:
        return make(topic, name)


class NamedKernel(NamedTuple):
    """A kernel that comes with wkgpu.

    Attributes
    ----------
    topic : str
        Its module in ``wkgpu.kernels.bodies``, which is compiled for a machine when that needs it.
    name : str
        Its name there, and in `kernel_table`.

    Examples
    --------
    >>> NamedKernel("pooling", "mode").compiled_for("cpu").__name__
    'mode'
    """

    topic: str
    name: str

    def uses(self, rows: int, *arguments: Any) -> Iterable[Use]:
        """See `Kernel.uses`; `wkgpu.engines.kernel_table` declares it."""
        entry = KERNELS.get((self.topic, self.name))
        if entry is None:
            raise LaunchError("wkgpu.engines.kernel_table does not declare what it touches")
        return entry.footprint(rows, *arguments)

    def compiled_for(self, machine: str) -> Any:
        """See `Kernel.compiled_for`."""
        return _named(machine, *self)


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

    def compiled_for(self, machine: str) -> Any:
        """See `Kernel.compiled_for`."""
        kept, key = self._kept, (machine, self.sources)
        if key not in kept:
            kept[key] = _loaded(f"{machine}.row_kernels", "function_kernel")(*self)
        return kept[key]

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

        self.compiled_for("cpu")  # with it come the primitives of this machine
        name = self.function.__qualname__
        instead = "Correct that, or do arbitrary Python with map_chunk() or for_each_chunk()."
        function = _loaded("compiler_thread", "compiled_elsewhere")(njit(nogil=True)(self.function))
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
            raise CompilationError(f"{name}({taken}) must return a number, not {result}. {instead}")
        self._kept[kinds] = True

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
