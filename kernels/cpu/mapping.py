"""The bodies of `mapping` as kernels of the CPU; each call works on the rows ``first`` to ``last``."""

from __future__ import annotations

from numba import njit

from .. import bodies as _bodies  # noqa: F401 - the bodies can call each other
from ..bodies import mapping
from ..compilation import cached_kernel
from ..compiler_thread import compiled_elsewhere


def compiled(function, count):
    """Return the kernel that maps values of ``count`` sources by a user function.

    Divisions by zero raise nothing, as on a GPU. Numba cannot keep it on disk: it is compiled in each process.
    """
    function = njit(nogil=True, error_model="numpy")(function)
    lines = mapping.MAPS[count - 1]

    @njit(nogil=True, error_model="numpy")
    def kernel(first, last, target, geometry, sources, constants):
        lines(first, last, 1, 0, 1, function, target, geometry, sources, constants)

    return compiled_elsewhere(kernel)


@cached_kernel
def threshold(first, last, target, geometry, sources, constants):
    """See `mapping.threshold`."""
    mapping.map_1(first, last, 1, 0, 1, mapping.threshold, target, geometry, sources, constants)


@cached_kernel
def clip(first, last, target, geometry, sources, constants):
    """See `mapping.clip`."""
    mapping.map_1(first, last, 1, 0, 1, mapping.clip, target, geometry, sources, constants)


@cached_kernel
def rescale_to_integer(first, last, target, geometry, sources, constants):
    """See `mapping.rescale_to_integer`."""
    mapping.map_1(first, last, 1, 0, 1, mapping.rescale_to_integer, target, geometry, sources, constants)


@cached_kernel
def rescale_to_float(first, last, target, geometry, sources, constants):
    """See `mapping.rescale_to_float`."""
    mapping.map_1(first, last, 1, 0, 1, mapping.rescale_to_float, target, geometry, sources, constants)


@cached_kernel
def look_up(first, last, target, geometry, sources, constants):
    """See `mapping.look_up`."""
    mapping.map_1(first, last, 1, 0, 1, mapping.look_up, target, geometry, sources, constants)


@cached_kernel
def look_up_or_keep(first, last, target, geometry, sources, constants):
    """See `mapping.look_up_or_keep`."""
    mapping.map_1(first, last, 1, 0, 1, mapping.look_up_or_keep, target, geometry, sources, constants)


@cached_kernel
def search(first, last, target, geometry, sources, constants):
    """See `mapping.search`."""
    mapping.map_runs(first, last, 1, 0, 1, mapping.search, target, geometry, sources, constants)


@cached_kernel
def search_or_keep(first, last, target, geometry, sources, constants):
    """See `mapping.search_or_keep`."""
    mapping.map_runs(first, last, 1, 0, 1, mapping.search_or_keep, target, geometry, sources, constants)


@cached_kernel
def mask(first, last, target, geometry, sources, constants):
    """See `mapping.mask`."""
    mapping.map_2(first, last, 1, 0, 1, mapping.mask, target, geometry, sources, constants)
