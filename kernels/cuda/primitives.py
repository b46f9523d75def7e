"""The primitives of `placement` and `arithmetic` on CUDA.

The former are the loops that stand there, with neighbouring threads of a warp as lanes, the latter instructions that
no compiler joins.

In Numba's simulator every thread is a Python thread, and the bodies call the primitives as they stand.
"""

from __future__ import annotations

import numpy as np
from numba import config, types

from ..bodies import arithmetic, placement


def _copy_run(target, at, source, start, units, streaming, lane, lanes):
    return placement.copy_run


def _fill_run(target, at, units, pattern, bits, lane, lanes):
    return placement.fill_run


def _copy_item(target, at, source, start, units):
    return placement.copy_item


def _multiply(a, b):
    if not _is_float(a, b):
        return lambda a, b: a * b
    if _is_single(a, b):
        return lambda a, b: libdevice.fmul_rn(a, b)
    return lambda a, b: libdevice.dmul_rn(np.float64(a), np.float64(b))


def _add(a, b):
    if not _is_float(a, b):
        return lambda a, b: a + b
    if _is_single(a, b):
        return lambda a, b: libdevice.fadd_rn(a, b)
    return lambda a, b: libdevice.dadd_rn(np.float64(a), np.float64(b))


def _rounded(a):
    return lambda a: libdevice.rint(np.float64(a))


def _is_float(*kinds):
    return any(isinstance(kind, types.Float) for kind in kinds)


def _is_single(*kinds):
    return all(kind == types.float32 for kind in kinds)


if not config.ENABLE_CUDASIM:
    from numba.cuda import libdevice
    from numba.cuda.extending import overload

    overload(placement.copy_run, target="cuda")(_copy_run)
    overload(placement.fill_run, target="cuda")(_fill_run)
    overload(placement.copy_item, target="cuda")(_copy_item)
    overload(arithmetic.multiply, target="cuda")(_multiply)
    overload(arithmetic.add, target="cuda")(_add)
    overload(arithmetic.rounded, target="cuda")(_rounded)
