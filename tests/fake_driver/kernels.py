"""Kernels, played on the CPU: Numba's by their own Python functions, CuPy's copies by NumPy, CUDA C by a table."""

from __future__ import annotations

import ctypes
import functools
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import CellType, FunctionType, ModuleType
from typing import Any, NamedTuple

import lz4.block
import numpy as np

from fake_driver import driver


class Launch(NamedTuple):
    """A kernel's name, its grid and blocks, the bytes of each argument, and the number of the device."""

    name: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    values: Sequence[bytes]
    device: int


PLAYERS: dict[str, Callable[[Launch], None]] = {}
"""What plays kernels of CUDA C, by their names, besides those that the shim compiles for the CPU."""


def play() -> None:
    """Play kernels from now on."""
    driver.library().fake_play_kernels(_played, _is_played)


@ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(ctypes.c_uint), ctypes.POINTER(ctypes.c_uint), ctypes.c_int,
    ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_void_p), ctypes.c_int,
)  # fmt: skip
def _played(name, grid, block, count, sizes, values, device):
    return driver.played(_play, name, grid, block, count, sizes, values, device)


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p)
def _is_played(name):
    """Whether a kernel can be launched here; a test that needs another one carries the marker ``computes``."""
    name = name.decode()
    return name in PLAYERS or name in _learned or _COPY.fullmatch(name) is not None or _shim(name) is not None


def _play(name: bytes, grid: Any, block: Any, count: int, sizes: Any, values: Any, device: int) -> None:
    arguments = [ctypes.string_at(values[number], sizes[number]) for number in range(count)]
    launch = Launch(name.decode(), tuple(grid[:3]), tuple(block[:3]), arguments, device)
    if launch.name in PLAYERS:
        PLAYERS[launch.name](launch)
    elif launch.name in _learned:
        _play_numba(launch)
    elif copy := _COPY.fullmatch(launch.name):
        _play_copy(launch, *copy.groups())
    else:
        _play_shim(launch)


# ---- Numba's kernels: one thread is the whole grid, which every kernel takes

_learned: dict[str, tuple[FunctionType, tuple[Any, ...]]] = {}
_compiled_names: set[str] = set()


def learn(name: str, function: FunctionType, types: tuple[Any, ...]) -> None:
    """Remember which function and types a compiled kernel was made of."""
    _learned[name] = function, types


def _play_numba(launch: Launch) -> None:
    from numba import typeof

    function, types = _learned[launch.name]
    values = iter(launch.values)
    arguments = [_argument(kind, values, launch.device) for kind in types]
    names = function.__code__.co_varnames[: len(arguments)]
    for lanes in {"lanes", "last"}.intersection(names):  # kernels over rows call them `last`; see `cuda.row_kernels`
        arguments[names.index(lanes)] = 1
    kernel = _compiled(function)
    if launch.name not in _compiled_names:
        compile_elsewhere(lambda: kernel.compile(tuple(map(typeof, arguments))))
        _compiled_names.add(launch.name)
    kernel(*arguments)


def compile_elsewhere(compile_kernel: Callable[[], Any]) -> None:
    """Compile in a thread of its own: the stack of the one that waits for a stream may be deep already."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(compile_kernel).result()


def _argument(kind: Any, values: Any, device: int) -> Any:
    """Put one argument together again, which Numba takes apart: an array in seven numbers, a tuple in its items."""
    from numba import types

    if isinstance(kind, types.BaseTuple):
        return tuple(_argument(item, values, device) for item in kind)
    if isinstance(kind, types.Array):
        assert kind.ndim == 1, kind
        _, _, items, _, address, _, stride = (int.from_bytes(next(values), "little", signed=True) for _ in range(7))
        dtype = np.dtype(str(kind.dtype))
        assert stride == dtype.itemsize or items < 2, kind
        return driver.at(address, dtype, items, device)
    if isinstance(kind, types.Number | types.Boolean):
        return np.frombuffer(next(values), np.dtype(str(kind).replace("boolean", "bool")))[0]
    raise NotImplementedError(f"an argument of {kind}")


class _Cuda(ModuleType):
    """What kernels use of ``numba.cuda``, for one thread."""


class _Triple(NamedTuple):
    x: int
    y: int
    z: int


@functools.cache
def _cuda() -> ModuleType:
    from numba import njit

    cuda, atomic = _Cuda("cuda"), ModuleType("atomic")
    cuda.blockIdx = cuda.threadIdx = _Triple(0, 0, 0)
    cuda.blockDim = cuda.gridDim = _Triple(1, 1, 1)
    cuda.grid = njit(lambda dimensions: 0)
    cuda.gridsize = njit(lambda dimensions: 1)

    @njit
    def add(array, place, value):
        array[place] += value

    atomic.add = add
    cuda.atomic = atomic
    return cuda


@functools.cache
def _compiled(function: FunctionType) -> Any:
    """Compile a kernel for the CPU, with all of wkgpu's bodies that it calls, and every index checked."""
    from numba import njit

    return njit(nogil=True, boundscheck=True, error_model="numpy")(_translated(function))


def _translated(function: FunctionType) -> FunctionType:
    """Return a function that finds in its globals and its closure what a thread on the CPU has in their place."""
    names = function.__globals__
    found = {**names, **{name: _on_cpu(names[name]) for name in function.__code__.co_names if name in names}}
    cells = tuple(CellType(_on_cpu(cell.cell_contents)) for cell in function.__closure__ or ())
    return FunctionType(function.__code__, found, function.__name__, function.__defaults__, cells)


class _Bodies(ModuleType):
    """A module of bodies, with functions for the CPU."""

    def __init__(self, module: ModuleType) -> None:
        super().__init__(module.__name__)
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return _on_cpu(getattr(self._module, name))


_bodies = functools.cache(_Bodies)


def _on_cpu(value: Any) -> Any:
    if isinstance(value, ModuleType):
        if value.__name__ == "numba.cuda":
            return _cuda()
        return _bodies(value) if value.__name__.startswith("wkgpu.kernels.") else value
    if type(value).__name__ == "CUDADispatcher":
        return _compiled(value.py_func)
    if isinstance(value, FunctionType) and value.__module__.startswith("wkgpu.kernels."):
        return _compiled(value)
    return value


# ---- CuPy's copies of arrays with gaps or of another order

_COPY = re.compile(r"cupy_copy__(\w+?)_(\w+)")


def _play_copy(launch: Launch, source_type: str, target_type: str) -> None:
    """Copy what two structs describe: address, items, shape and strides in bytes."""
    source, target = (
        _described(value, np.dtype(kind), launch.device)
        for value, kind in zip(launch.values, (source_type, target_type), strict=False)
    )
    target[...] = source


def _described(struct: bytes, dtype: np.dtype, device: int) -> np.ndarray:
    address, _, *rest = np.frombuffer(struct, np.int64).tolist()
    shape, strides = rest[: len(rest) // 2], rest[len(rest) // 2 :]
    ways = [(length - 1) * stride for length, stride in zip(shape, strides, strict=True)]
    if 0 in shape:
        return np.empty(shape, dtype)
    low, high = sum(min(way, 0) for way in ways), sum(max(way, 0) for way in ways)
    memory = driver.at(address + low, np.uint8, high - low + dtype.itemsize, device)
    return np.ndarray(shape, dtype, memory, -low, strides)


# ---- CUDA C, which the shim compiles for the CPU (`cuda_shim`): all arguments have 8 bytes

GARBAGE = 0x5A
MAX_SHIM_BYTES = 1 << 18  # decoded: the shim's warps take seconds for more, and liblz4 gives the same verdicts


@functools.cache
def _shim(name: str) -> Any:
    """Return what runs a kernel in CUDA C, with its arguments, or for those of chunks of Zarr also with its grid."""
    try:
        from cuda_shim.building import load_chunk_kernels, load_library
    except ImportError:
        return None
    if name.startswith("lz4_"):
        return getattr(load_library(), f"run_{name}", None)
    run = load_chunk_kernels().run_chunk_kernel
    return functools.partial(run, name.encode()) if run(name.encode(), 0, 1, 0, None) else None


def _play_shim(launch: Launch) -> None:
    numbers = [int.from_bytes(value, "little", signed=True) for value in launch.values]
    if not launch.name.startswith("lz4_"):
        values = np.array(numbers, np.int64)
        _shim(launch.name)(launch.grid[0], launch.block[0] // 32, 0, values.__array_interface__["data"][0])
        return
    if launch.name != "lz4_decode":
        _shim(launch.name)(*(number & (1 << 64) - 1 for number in numbers))
        return
    *columns, count, _, _ = numbers
    columns = [driver.at(column, np.int64, count, launch.device) for column in columns]
    targets, capacities, wanted = columns[2:]
    if capacities.sum() <= MAX_SHIM_BYTES:
        _shim(launch.name)(*(number & (1 << 64) - 1 for number in numbers))
    else:
        _decode(columns, driver.at(numbers[6], np.int32, count), driver.at(numbers[7], np.int64, count))
    for target, capacity, needed in zip(targets.tolist(), capacities.tolist(), wanted.tolist(), strict=True):
        if needed < capacity:  # what lies behind may hold anything
            driver.at(target + needed, np.uint8, capacity - needed, launch.device)[...] = GARBAGE


def _decode(columns: Sequence[np.ndarray], statuses: np.ndarray, decoded: np.ndarray) -> None:
    """Decode as ``lz4_decode`` does, with liblz4."""
    from wkgpu.kernels import failures

    for number, (source, length, target, capacity, _) in enumerate(zip(*map(np.ndarray.tolist, columns), strict=True)):
        try:
            data = lz4.block.decompress(bytes(driver.at(source, np.uint8, length)), uncompressed_size=capacity)
        except (lz4.block.LZ4BlockError, ValueError):
            statuses[number], decoded[number] = failures.MALFORMED, 0
            continue
        driver.at(target, np.uint8, capacity)[: len(data)] = np.frombuffer(data, np.uint8)
        statuses[number] = failures.OK if len(data) == capacity else failures.WRONG_LENGTH
        decoded[number] = len(data)
