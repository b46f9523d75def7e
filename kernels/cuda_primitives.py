"""The primitives of `placement` on CUDA: the loops that stand there, with neighbouring threads of a warp as lanes.

In Numba's simulator every thread is a Python thread, and the bodies call the primitives as they stand.
"""

from __future__ import annotations

from numba import config

from . import bodies, placement  # noqa: F401 - bodies: they can call each other


def _copy_run(target, at, source, start, units, streaming, lane, lanes):
    return placement.copy_run


def _clear_run(target, at, units, lane, lanes):
    return placement.clear_run


def _copy_item(target, at, source, start, units):
    return placement.copy_item


if not config.ENABLE_CUDASIM:
    from numba.cuda.extending import overload

    overload(placement.copy_run, target="cuda")(_copy_run)
    overload(placement.clear_run, target="cuda")(_clear_run)
    overload(placement.copy_item, target="cuda")(_copy_item)
