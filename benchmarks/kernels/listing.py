"""All kernels of CUDA, each with the types that it is assembled for.

It needs numba-cuda, and a process in which Numba does not simulate CUDA.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from numba import njit
from numba.core.sigutils import normalize_signature
from numba.cuda.dispatcher import CUDADispatcher
from numba.types import Tuple, UniTuple, float32, float64, int64, uint8, uint16, uint32, uint64, void

from wkgpu.engines.kernel_table import KERNELS
from wkgpu.kernels import cuda, failures
from wkgpu.kernels.bodies import arithmetic
from wkgpu.kernels.cpu import row_kernels as cpu_row_kernels
from wkgpu.kernels.cuda import row_kernels

CUDA_C = Path(cuda.__file__).parent
"""The folder whose ``*.cu`` are also assembled."""
MACROS = {name: str(getattr(failures, name)) for name in ("OK", "MALFORMED", "WRONG_LENGTH", "UNCHECKED")}
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
        "words" that are moved, or "pooling", "mapping" or "reductions", which compute with voxels.
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
    yield from _kernels_over_rows()
    yield from _kernels_of_users()


def compile_for_cpu() -> None:
    """Compile for the CPU what calls primitives, as a map does first: what that leaves behind must not reach CUDA."""
    for name in ("rescale_to_integer", "rescale_to_float"):
        ((_, arguments),) = KERNELS["mapping", name].types
        njit(cpu_row_kernels.named_kernel("mapping", name).py_func).compile(_signature(arguments).args)
    njit(_unfused).compile((float32, float32))
    njit(_rounded).compile((float64,))


def sources() -> list[Path]:
    """List the files of CUDA C that no other one includes."""
    files = sorted(CUDA_C.glob("*.cu"))
    texts = [file.read_text(encoding="utf-8") for file in files]
    return [file for file in files if not any(f'#include "{file.name}"' in text for text in texts)]


def kernels_of_cuda() -> dict[str, CUDADispatcher]:
    """Return the kernels that stand in the modules of `wkgpu.kernels.cuda`, by their names."""
    modules = [import_module(module.name) for module in iter_modules(cuda.__path__, f"{cuda.__name__}.")]
    found = {name: value for module in modules for name, value in vars(module).items()}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, CUDADispatcher) and not value.targetoptions["device"]
    }


def _parameters(kernel: CUDADispatcher) -> tuple[str, ...]:
    code = kernel.py_func.__code__
    return code.co_varnames[: code.co_argcount]


# ---- Kernels that move words


# Arrays of words; `table` and `numbers` are int64, and all else is a number.
_WORDS = {"source", "target", "box", "chunks"}


def _kernels_of_words() -> Iterator[Kernel]:
    for name, kernel in kernels_of_cuda().items():
        parameters = _parameters(kernel)
        for word in (uint8, uint16, uint32, uint64) if _WORDS.intersection(parameters) else (int64,):
            kinds = {"table": int64[::1], "numbers": int64[::1], **dict.fromkeys(_WORDS, word[::1])}
            signature = void(*(kinds.get(parameter, int64) for parameter in parameters))
            yield Kernel(name, str(word), "words", kernel.py_func, signature)


# ---- Kernels over rows, which compute with voxels


@njit
def _halved(value):  # type: ignore[no-untyped-def]
    return value / 2


def _function_of_a_user(a, b, table):  # type: ignore[no-untyped-def]
    return _halved(a) * table[b] + 1


def _rounded(a):  # type: ignore[no-untyped-def]
    return arithmetic.rounded(a)


def _unfused(a, by):  # type: ignore[no-untyped-def]
    return arithmetic.add(arithmetic.multiply(a, by), float32(1))


def _kernels_over_rows() -> Iterator[Kernel]:
    for (topic, name), entry in KERNELS.items():
        kernel = row_kernels.named_kernel(topic, name)
        for label, arguments in entry.types:
            yield Kernel(name, label, topic, kernel.py_func, _signature(arguments))


def _kernels_of_users() -> Iterator[Kernel]:
    for name, function, sources, constants in (
        ("user_function", _function_of_a_user, [uint8, uint32], [float32[::1]]),
        ("user_function_unfused", _unfused, [float32], [float32]),
    ):
        kernel = row_kernels.function_kernel(function, len(sources))
        geometry = Tuple([UniTuple(int64, 3), int64, UniTuple(int64, 2)])
        arrays = Tuple([source[::1] for source in sources])
        signature = void(int64, int64, float32[::1], geometry, arrays, Tuple(constants))
        label = f"{', '.join(map(str, sources))} to float32"
        yield Kernel(name, label, "mapping", kernel.py_func, signature)


def _signature(arguments: str) -> Any:
    """Return Numba's signature for the types of a row of the table."""
    kinds, _ = normalize_signature(f"void(int64, int64, {arguments})")
    return void(*kinds)
