"""C functions for compiled code: found in extension modules of other packages, whose wheels carry the libraries.

They are given to LLVM by name, so compiled code that calls them can be cached on disk and loaded by another process.
"""

from __future__ import annotations

import ctypes
from importlib.machinery import PathFinder
from importlib.util import find_spec

import llvmlite.binding
from numba import types


def extension_module(package: str, module: str) -> ctypes.CDLL:
    """Load an extension module as a library, without importing its package, which may take long.

    Raises
    ------
    ImportError
        Where there is none.
    """
    found = find_spec(package)
    spec = PathFinder.find_spec(module, found and found.submodule_search_locations)
    if spec is None or spec.origin is None:
        raise ImportError(f"The package {package!r} has no extension module {module!r}.", name=package)
    return ctypes.CDLL(spec.origin)


def c_function(library: ctypes.CDLL, name: str, result: types.Type, *arguments: types.Type) -> types.ExternalFunction:
    """Return a library's function as something that a compiled kernel can call."""
    symbol = f"wkgpu_{name}"  # a name of our own: another package may have registered another build of the library
    address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    llvmlite.binding.add_symbol(symbol, address)
    return types.ExternalFunction(symbol, result(*arguments))
