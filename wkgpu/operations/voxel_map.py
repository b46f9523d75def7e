"""Functions of voxels that are compiled for the machine they run on."""

from __future__ import annotations

import functools
import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from wkgpu.engines.kernel import MAX_SOURCES, FunctionKernel, Kernel
from wkgpu.errors import ArgumentError, DtypeError


class PreparedMap(NamedTuple):
    """A map for voxels of certain types.

    Attributes
    ----------
    kernel : Kernel
        Of the topic ``mapping``, or of a function of the user's.
    constants : tuple of numbers and arrays
        What its function is called with after the voxels.
    """

    kernel: Kernel
    constants: tuple[Any, ...]


class VoxelMap(ABC):
    """What `View.map_voxels` computes: a function of one voxel, or of the voxels of several views.

    `wkgpu.voxel_map` makes one of a function, and `wkgpu.maps` has those that come with wkgpu. They can be called: with
    numbers as the function itself, and those of `wkgpu.maps` with NumPy arrays as well.
    """

    @abstractmethod
    def __call__(self, *voxels: Any) -> Any:
        """Return what is made of these voxels."""

    @abstractmethod
    def prepared(
        self, sources: Sequence[np.dtype[np.generic]], target: np.dtype[np.generic], constants: tuple[Any, ...]
    ) -> PreparedMap:
        """Return the map for voxels of these dtypes, with constants that were given for this use of it."""

    def check_process(self, executor: Any) -> None:
        """See whether the processes of an executor can find the map."""
        return


class FunctionMap(VoxelMap):
    """A function of voxels, as a map; see `voxel_map`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        function = getattr(function, "py_func", function)  # Numba's dispatchers are compiled for one machine
        if not isinstance(function, FunctionType):
            raise ArgumentError(f"{function!r} is no Python function; give one that is written with def or lambda.")
        self.function = function
        functools.update_wrapper(self, function)

    def __call__(self, *voxels: Any) -> Any:
        """Call the function as it stands, without compiling it."""
        return self.function(*voxels)

    def prepared(
        self, sources: Sequence[np.dtype[np.generic]], target: np.dtype[np.generic], constants: tuple[Any, ...]
    ) -> PreparedMap:
        """See `VoxelMap.prepared`."""
        name, count = self.function.__qualname__, len(sources)
        try:
            inspect.signature(self.function).bind(*sources, *constants)
        except TypeError as error:
            raise ArgumentError(
                f"{name}{inspect.signature(self.function)} would be called with voxels of {count} view(s) and "
                f"{len(constants)} constant(s): {error}. Give as many others and constants as it takes."
            ) from error
        if count > MAX_SOURCES:
            raise ArgumentError(f"{name}() is to take voxels of {count} views; {MAX_SOURCES} are possible.")
        kernel = FunctionKernel(self.function, count)
        given = tuple(_constant(name, value) for value in constants)
        kernel.check([*(dtype.type(0) for dtype in sources), *given])
        return PreparedMap(kernel, given)

    def check_process(self, executor: Any) -> None:
        """See whether the processes of an executor can find the function; those of Dask get it in other ways, too."""
        if not isinstance(executor, ProcessPoolExecutor):
            return
        name, module = self.function.__qualname__, self.function.__module__
        advice = "define it at the top of a module that the processes can import, or use threads."
        if not self._is_found():
            raise ArgumentError(
                f"{name} cannot be sent to other processes, because {module} has no such name; {advice}"
            )
        if module == "__main__" and not hasattr(sys.modules["__main__"], "__file__") and _spawns(executor):
            raise ArgumentError(f"{name} was typed in, so that no new process can import it; {advice}")

    def __reduce__(self) -> tuple[Any, ...]:
        if self._is_found() and self._found() is self:
            return _named, (self.function.__module__, self.function.__qualname__)
        return FunctionMap, (self.function,)

    def _is_found(self) -> bool:
        found = self._found()
        return found is self or found is self.function

    def _found(self) -> Any:
        """Return what has the function's name in its module."""
        found: Any = sys.modules.get(self.function.__module__)
        for part in self.function.__qualname__.split("."):
            found = getattr(found, part, None)
        return found

    def __repr__(self) -> str:
        return f"voxel_map({self.function.__qualname__})"


def voxel_map(function: Callable[..., Any]) -> VoxelMap:
    """Make a map of a function of voxels, for `View.map_voxels`. It can be used as a decorator.

    The function gets one value of one channel, or one of each view, and then constants: numbers, and arrays of which it
    gets the whole. It returns one number. Numba compiles it for the machine that it runs on, once in a process for each
    combination of types, so that it consists of arithmetic, comparisons, conditions and loops, and calls nothing but
    ``math``, scalar functions of NumPy, and functions made by ``numba.njit``.

    - Integers are computed with 64 bits: ``value + 200`` does not wrap around for uint8.
    - A division by zero raises nothing. Indices of tables are not checked.
    - A GPU may round ``a * b + c`` once and a CPU rounds twice, so that the last bit of a float can differ; with
      ``wkgpu.maps.add(wkgpu.maps.multiply(a, b), c)`` it does not. Functions such as ``exp`` may differ in it anyway.

    Parameters
    ----------
    function : callable
        Takes numbers and returns one. For executors of processes it must be importable by name.

    Returns
    -------
    VoxelMap
        Is called as the function.

    Raises
    ------
    ArgumentError
        If it is no Python function.

    Examples
    --------
    >>> @voxel_map
    ... def brighter(value, by):
    ...     return min(value + by, 255)
    >>> brighter(250, 10)
    255
    >>> view.map_voxels(brighter, target, constants=(10,))  # doctest: +SKIP
    """
    return FunctionMap(function)


def _named(module: str, name: str) -> Any:
    """Return the map that has a name, in another process."""
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _spawns(executor: ProcessPoolExecutor) -> bool:
    context = getattr(executor, "_mp_context", None)
    return context is None or context.get_start_method() != "fork"


def _constant(name: str, value: Any) -> Any:
    """Return a constant as a number, or as an array that is compiled for like any other one."""
    if isinstance(value, bool | int | float | np.generic):
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise DtypeError(f"A constant of {name}() is {value!r}; give numbers, or arrays of numbers.")
    return np.require(array, requirements=["C", "W"]) if array.ndim else array[()]
