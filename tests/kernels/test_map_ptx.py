"""The kernels of maps and reductions as PTX, also of a user's function; no GPU is needed to compile them."""

import json
import re

import pytest

from kernels.test_ptx import LEAST, UNAVAILABLE

pytest.importorskip("numba_cuda")

COMPILE = """
import json, sys, types as python_types
import numba.cuda.dispatcher as dispatcher
from numba import cuda, njit, types
from numba.cuda.cudadrv import nvrtc

cc = tuple(json.loads(sys.argv[1]) or max(nvrtc.get_supported_ccs()))
dispatcher.get_current_device = lambda: python_types.SimpleNamespace(compute_capability=cc)
from wkgpu.kernels import arithmetic, cpu_mapping
from wkgpu.kernels.cuda import mapping, reducing
from numba.types import Tuple, UniTuple, float32, float64, int64, uint8, uint16, uint32, uint64

GEOMETRY = Tuple([UniTuple(int64, 3), int64, UniTuple(int64, 2)])


def mapped(target, sources, constants):
    return target[::1], GEOMETRY, Tuple([source[::1] for source in sources]), Tuple(constants)


@njit
def halved(value):
    return value / 2


def of_users(a, b, table):
    return halved(a) * table[b] + 1


def unfused(a, by):
    return arithmetic.add(arithmetic.multiply(a, by), float32(1))


# As a map does: functions are checked on the CPU first, and what that leaves behind must not reach CUDA.
for name, kinds in [
    ("rescale_to_integer", mapped(uint8, [uint16], [float64] * 5)),
    ("rescale_to_float", mapped(float32, [float32], [float64] * 5)),
]:
    njit(getattr(cpu_mapping, name).py_func).compile((int64, int64, *kinds))
njit(unfused).compile((float32, float32))
njit(lambda a: arithmetic.rounded(a)).compile((float64,))


SIGNATURES = {
    mapping: [
        ("threshold", mapped(uint8, [uint16], [uint16, uint8, uint8])),
        ("clip", mapped(float32, [float32], [float32, float32])),
        ("rescale_to_integer", mapped(uint8, [uint16], [float64] * 5)),
        ("rescale_to_float", mapped(float32, [float32], [float64] * 5)),
        ("look_up", mapped(uint32, [uint64], [uint32[::1], uint32])),
        ("look_up_or_keep", mapped(uint32, [uint32], [uint32[::1]])),
        ("search", mapped(uint32, [uint64], [uint64[::1], uint32[::1], uint32])),
        ("search_or_keep", mapped(uint64, [uint64], [uint64[::1], uint64[::1]])),
        ("mask", mapped(uint32, [uint32, uint8], [uint32])),
    ],
    reducing: [
        ("find_extremes", (float32[::1], int64, float32[::1], float32[::1])),
        ("count_values", (uint8[::1], int64, int64[::1], int64, int64)),
        ("count_between", (float32[::1], int64, int64[::1], float32[::1], float64)),
        ("count_runs", (uint32[::1], int64, int64[::1])),
        ("count_equal", (uint64[::1], int64, int64[::1], uint64[::1], int64[::1])),
    ],
}
kernels = [(name, getattr(module, name), kinds) for module, named in SIGNATURES.items() for name, kinds in named]
kernels += [
    ("of_users", mapping.compiled(of_users, 2), mapped(float32, [uint8, uint32], [float32[::1]])),
    ("unfused", mapping.compiled(unfused, 1), mapped(float32, [float32], [float32])),
]
found = {"ptx": {}, "all": [
    name for module in SIGNATURES for name, kernel in vars(module).items()
    if isinstance(kernel, dispatcher.CUDADispatcher) and not kernel.targetoptions["device"]
]}
for name, kernel, kinds in kernels:
    signature = types.void(int64, int64, *kinds)
    found["ptx"][name], _ = cuda.compile(kernel.py_func, signature, device=False, abi="numba", cc=cc, output="ptx")
print(json.dumps(found))
"""


@pytest.fixture(params=[LEAST[0], LEAST[-1], None], ids=["sm_75", "sm_90", "newest"])
def compilation(request, run_python):
    reason = run_python(UNAVAILABLE).strip()
    if reason:
        pytest.skip(f"the CUDA toolkit that compiles kernels is missing: {reason}")
    return json.loads(run_python(COMPILE, json.dumps(request.param)))


def test_every_kernel_compiles(compilation):
    assert compilation["ptx"].keys() == {*compilation["all"], "of_users", "unfused"}
    for name, ptx in compilation["ptx"].items():
        # All is in registers, and inlined.
        assert not re.search(r"\.local\b|__local_depot|\b(ld|st)\.local", ptx), name
        assert not re.search(r"\bcall(\.uni)?\b|^\.extern", ptx, re.MULTILINE), name
    for name in ("count_values", "count_between"):
        assert re.search(r"\b(atom|red)\.\S*add\.u64", compilation["ptx"][name]), name
    fused = {name for name, ptx in compilation["ptx"].items() if re.search(r"\bfma\.", ptx)}
    assert fused == {"of_users"}, "what comes with wkgpu rounds as a CPU does"
    assert "mul.rn.f32" in compilation["ptx"]["unfused"]
