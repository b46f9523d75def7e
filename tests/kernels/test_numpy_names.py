"""Kernels of CUDA compile with a NumPy that lacks what numba-cuda asks for; no GPU is needed for that."""

import pytest

from kernels.test_ptx import UNAVAILABLE

pytest.importorskip("numba_cuda")

COMPILE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
import numpy as np
from numba import cuda

had, tried = sys.argv[1:]
if vars(np).pop("row_stack", None):
    np.__all__.remove("row_stack")
if had == "a user's stand-in":
    np.row_stack = kept = np.vstack


def halved(value):
    return value / 2


def compile_ptx(function):
    return cuda.compile(function, (cuda.types.float32,), cc=(9, 0), output="ptx")[0]


if tried == "after a failure":
    try:
        compile_ptx(halved)
    except AttributeError as error:
        assert "row_stack" in str(error)
    else:
        raise AssertionError("numba-cuda does without that name, and so can wkgpu")

from wkgpu.kernels.numpy_names import complete_numba_cuda

barrier = Barrier(8)


def complete(_):
    barrier.wait()
    complete_numba_cuda()
    return hasattr(sys.modules["numba.cuda.np.arrayobj"], "make_array") if had == "nothing" else True


with ThreadPoolExecutor(8) as threads:
    assert all(threads.map(complete, range(8)))

from wkgpu.kernels.cuda import row_kernels

assert "div" in compile_ptx(halved) or "mul" in compile_ptx(halved)
is_callable = callable(row_kernels.function_kernel(halved, 1))
print(getattr(np, "row_stack", None) is (None if had == "nothing" else kept), is_callable)
"""


@pytest.mark.parametrize(
    ("had", "tried"), [("nothing", "first"), ("nothing", "after a failure"), ("a user's stand-in", "first")]
)
def test_numpy_without_row_stack(run_python, had, tried):
    reason = run_python(UNAVAILABLE).strip()
    if reason:
        pytest.skip(f"the CUDA toolkit that compiles kernels is missing: {reason}")
    assert run_python(COMPILE, had, tried) == "True True\n"
