"""All kernels of CUDA, each with the types that it is assembled for.

It needs numba-cuda, and a process in which Numba does not simulate CUDA.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from numba import njit
from numba.cuda.dispatcher import CUDADispatcher
from numba.types import Tuple, UniTuple, float32, float64, int8, int16, int64, uint8, uint16, uint32, uint64, void

from wkgpu.kernels import failures
from wkgpu.kernels.bodies import arithmetic
from wkgpu.kernels.cpu import mapping as cpu_mapping
from wkgpu.kernels.cuda import mapping, packing, placement, pooling, reducing

CUDA_C = Path(placement.__file__).parent
"""The folder whose ``*.cu`` are assembled besides."""
MACROS = {name: str(getattr(failures, name)) for name in ("OK", "MALFORMED", "WRONG_LENGTH")}
"""What CUDA C is told of the rest; all else has a default there."""


@dataclass(frozen=True)
class Kernel:
    """A kernel of Numba for some types.

    Attributes
    ----------
    name
        That of the function.
    types
        What tells it from the same kernel for other types.
    group
        "words" that are moved, or "pooling", "mapping" or "reducing", which compute with voxels.
    function
        In Python.
    signature
        Of Numba.
    """

    name: str
    types: str
    group: str
    function: Callable[..., None]
    signature: Any


def kernels() -> Iterator[Kernel]:
    """List the kernels of Numba."""
    yield from _kernels_of_words()
    yield from _kernels_of_pooling()
    yield from _kernels_of_voxels()


def compile_for_cpu() -> None:
    """Compile for the CPU what calls primitives, as a map does first: what that leaves behind must not reach CUDA."""
    for name in ("rescale_to_integer", "rescale_to_float"):
        njit(getattr(cpu_mapping, name).py_func).compile((int64, int64, *_COMPUTING["mapping"][name]))
    njit(_unfused).compile((float32, float32))
    njit(_rounded).compile((float64,))


def sources() -> list[Path]:
    """List the files of CUDA C."""
    return sorted(CUDA_C.glob("*.cu"))


def _dispatchers(module: ModuleType) -> dict[str, CUDADispatcher]:
    return {
        name: kernel
        for name, kernel in vars(module).items()
        if isinstance(kernel, CUDADispatcher) and not kernel.targetoptions["device"]
    }


def _parameters(kernel: CUDADispatcher) -> tuple[str, ...]:
    code = kernel.py_func.__code__
    return code.co_varnames[: code.co_argcount]


# ---- Kernels that move words


# Arrays of words; `table` and `numbers` are int64, and all else is a number.
_WORDS = {"source", "target", "box", "chunks"}


def _kernels_of_words() -> Iterator[Kernel]:
    for name, kernel in {**_dispatchers(placement), **_dispatchers(packing)}.items():
        parameters = _parameters(kernel)
        for word in (uint8, uint16, uint32, uint64) if _WORDS.intersection(parameters) else (int64,):
            kinds = {"table": int64[::1], "numbers": int64[::1], **dict.fromkeys(_WORDS, word[::1])}
            signature = void(*(kinds.get(parameter, int64) for parameter in parameters))
            yield Kernel(name, str(word), "words", kernel.py_func, signature)


# ---- Kernels that compute with voxels


_POOLED = {
    "median_unsigned": [uint8, uint64],
    "median_signed": [int16],
    "median_float": [float32],
    "mode": [uint32],
    "maximum": [float64],
    "minimum": [int8],
    "mean_integer": [uint16],
    "mean_float": [float32],
    "mean_signed": [int64],
    "mean_unsigned": [uint64],
    "nearest": [uint8],
}


def _kernels_of_pooling() -> Iterator[Kernel]:
    pair, triple = UniTuple(int64, 2), UniTuple(int64, 3)
    geometry = Tuple([int64, triple, triple, int64, pair, int64, pair])
    for name, kernel in _dispatchers(pooling).items():
        for voxel in _POOLED[name]:  # a kernel that is not listed there is a KeyError
            kinds = {**dict.fromkeys(["source", "target", "memory"], voxel[::1]), "geometry": geometry}
            kinds |= dict.fromkeys(["x_places", "y_places", "z_places"], int64[::1])
            signature = void(*(kinds.get(parameter, int64) for parameter in _parameters(kernel)))
            yield Kernel(name, str(voxel), "pooling", kernel.py_func, signature)


_GEOMETRY = Tuple([UniTuple(int64, 3), int64, UniTuple(int64, 2)])


def _mapped(target: Any, sources: list[Any], constants: list[Any]) -> tuple[Any, ...]:
    return target[::1], _GEOMETRY, Tuple([source[::1] for source in sources]), Tuple(constants)


_COMPUTING: dict[str, dict[str, tuple[Any, ...]]] = {
    "mapping": {
        "threshold": _mapped(uint8, [uint16], [uint16, uint8, uint8]),
        "clip": _mapped(float32, [float32], [float32, float32]),
        "rescale_to_integer": _mapped(uint8, [uint16], [float64] * 5),
        "rescale_to_float": _mapped(float32, [float32], [float64] * 5),
        "look_up": _mapped(uint32, [uint64], [uint32[::1], uint32]),
        "look_up_or_keep": _mapped(uint32, [uint32], [uint32[::1]]),
        "search": _mapped(uint32, [uint64], [uint64[::1], uint32[::1], uint32]),
        "search_or_keep": _mapped(uint64, [uint64], [uint64[::1], uint64[::1]]),
        "mask": _mapped(uint32, [uint32, uint8], [uint32]),
    },
    "reducing": {
        "find_extremes": (float32[::1], int64, float32[::1], float32[::1]),
        "count_values": (uint8[::1], int64, int64[::1], int64, int64),
        "count_between": (float32[::1], int64, int64[::1], float32[::1], float64),
        "count_runs": (uint32[::1], int64, int64[::1]),
        "count_equal": (uint64[::1], int64, int64[::1], uint64[::1], int64[::1]),
    },
}


@njit
def _halved(value):  # type: ignore[no-untyped-def]
    return value / 2


def _function_of_a_user(a, b, table):  # type: ignore[no-untyped-def]
    return _halved(a) * table[b] + 1


def _rounded(a):  # type: ignore[no-untyped-def]
    return arithmetic.rounded(a)


def _unfused(a, by):  # type: ignore[no-untyped-def]
    return arithmetic.add(arithmetic.multiply(a, by), float32(1))


def _kernels_of_voxels() -> Iterator[Kernel]:
    for module in (mapping, reducing):
        group = module.__name__.rpartition(".")[2]
        for name, kernel in _dispatchers(module).items():
            yield _kernel_of_voxels(name, group, kernel, _COMPUTING[group][name])
    users = mapping.compiled(_function_of_a_user, 2), mapping.compiled(_unfused, 1)
    yield _kernel_of_voxels("user_function", "mapping", users[0], _mapped(float32, [uint8, uint32], [float32[::1]]))
    yield _kernel_of_voxels("user_function_unfused", "mapping", users[1], _mapped(float32, [float32], [float32]))


def _kernel_of_voxels(name: str, group: str, kernel: CUDADispatcher, kinds: tuple[Any, ...]) -> Kernel:
    arrays = kinds[2] if group == "mapping" else [kinds[0]]
    types = ", ".join(str(array.dtype) for array in arrays)
    if group == "mapping":
        types += f" to {kinds[0].dtype}"
    return Kernel(name, types, group, kernel.py_func, void(int64, int64, *kinds))
