"""The kernels of the CUDA engine and of `pooling` as PTX, for GPUs old and new; no GPU is needed to compile them."""

import json
import re

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

LEAST = [(7, 5), (8, 0), (8, 6), (9, 0)]
BITS = [8, 16, 32, 64]
WORDS = ["source", "target", "box", "chunks"]  # parameters that are arrays of words; `table` is int64, others numbers

VOXELS = {
    "median_unsigned": ["uint8", "uint64"],
    "median_signed": ["int16"],
    "median_float": ["float32"],
    "mode": ["uint32"],
    "maximum": ["float64"],
    "minimum": ["int8"],
    "mean_integer": ["uint16"],
    "mean_float": ["float32"],
    "mean_signed": ["int64"],
    "mean_unsigned": ["uint64"],
    "nearest": ["uint8"],
}

COMPILE = """
import importlib, json, sys, types as python_types
import numba.cuda.dispatcher as dispatcher
from numba import cuda, types
from numba.cuda.cudadrv import nvrtc

what = json.loads(sys.argv[1])
cc = tuple(what["cc"]) if what["cc"] else max(nvrtc.get_supported_ccs())
# Device functions are compiled for the current device, of which there is none.
dispatcher.get_current_device = lambda: python_types.SimpleNamespace(compute_capability=cc)
found = {"cc": cc, "ptx": [], "pooling": []}
modules = map(importlib.import_module, ("wkgpu.kernels.cuda.placement", "wkgpu.kernels.cuda.packing"))
for name, kernel in (item for module in modules for item in vars(module).items()):
    if not isinstance(kernel, dispatcher.CUDADispatcher):
        continue
    code = kernel.py_func.__code__
    parameters = code.co_varnames[: code.co_argcount]
    takes_words = not set(parameters).isdisjoint(what["words"])
    for bits in what["bits"] if takes_words else [0]:
        def kind(parameter):
            if parameter == "table":
                return types.int64[::1]
            return getattr(types, f"uint{bits}")[::1] if parameter in what["words"] else types.int64

        signature = types.void(*map(kind, parameters))
        ptx, _ = cuda.compile(kernel.py_func, signature, device=False, abi="numba", cc=cc, output="ptx")
        found["ptx"].append([name, bits, ptx])
module = importlib.import_module("wkgpu.kernels.cuda.pooling")
pair, triple = types.UniTuple(types.int64, 2), types.UniTuple(types.int64, 3)
geometry = types.Tuple([types.int64, triple, triple, types.int64, pair, types.int64, pair])
for name, kernel in vars(module).items():
    if not isinstance(kernel, dispatcher.CUDADispatcher):
        continue
    code = kernel.py_func.__code__
    for voxel in what["voxels"][name]:
        kinds = dict.fromkeys(["source", "target", "memory"], getattr(types, voxel)[::1]) | {"geometry": geometry}
        kinds |= dict.fromkeys(["x_places", "y_places", "z_places"], types.int64[::1])
        parameters = code.co_varnames[: code.co_argcount]
        signature = types.void(*(kinds.get(parameter, types.int64) for parameter in parameters))
        ptx, _ = cuda.compile(kernel.py_func, signature, device=False, abi="numba", cc=cc, output="ptx")
        found["pooling"].append([name, voxel, ptx])
print(json.dumps(found))
"""
UNAVAILABLE = """
try:
    from numba.cuda.cudadrv import nvrtc, nvvm
    nvvm.NVVM()
    nvrtc.get_supported_ccs()
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""


def compiled(run_python, cc):
    return json.loads(run_python(COMPILE, json.dumps({"cc": cc, "bits": BITS, "words": WORDS, "voxels": VOXELS})))


@pytest.fixture(params=[*LEAST, None], ids=["sm_75", "sm_80", "sm_86", "sm_90", "newest"])
def compilation(request, run_python):
    reason = run_python(UNAVAILABLE).strip()
    if reason:
        pytest.skip(f"the CUDA toolkit that compiles kernels is missing: {reason}")
    return compiled(run_python, request.param)


def opcodes(ptx, opcode):
    """The bits of each instruction that loads or stores in global memory: 8, 16, 32 or 64, or ``v2.64``."""
    return set(re.findall(rf"\b{opcode}\.global(?:\.nc)?\.((?:v[24]\.)?)[usbf](\d+)", ptx))


def check_registers(ptx, where):
    # All is in registers: no tuple or array is put in the slow memory of a thread.
    assert not re.search(r"\.local\b|__local_depot|\b(ld|st)\.local", ptx), where
    # All is inlined: no function of Numba's or of the runtime's, whom nobody would link.
    assert not re.search(r"\bcall(\.uni)?\b|^\.extern", ptx, re.MULTILINE), where


def test_every_kernel_compiles(compilation):
    cc = tuple(compilation["cc"])
    assert cc >= max(LEAST) or cc in LEAST
    names = set()
    for name, bits, ptx in compilation["ptx"]:
        names.add(name)
        where = f"{name} for words of {bits} bits and sm_{cc[0]}{cc[1]}"
        assert re.search(rf"^\.target sm_{cc[0]}{cc[1]}[af]?\b", ptx, re.MULTILINE), where
        assert len(re.findall(rf"\.visible \.entry \w*{name}", ptx)) == 1, where
        # Words are loaded and stored whole; the table's numbers have 64 bits.
        if bits:
            assert opcodes(ptx, "st") == {("", str(bits))}, where
            assert ("", str(bits)) in opcodes(ptx, "ld") or name == "clear_chunks", where
        check_registers(ptx, where)
    assert names >= {"place_chunks", "clear_chunks", "exchange_chunks", "add_up_lengths", "pack_chunks"}
    for name, voxel, ptx in compilation["pooling"]:
        where = f"{name} for {voxel} and sm_{cc[0]}{cc[1]}"
        check_registers(ptx, where)
        assert opcodes(ptx, "st") == {("", str(np.dtype(voxel).itemsize * 8))}, where
        # No two operations are joined in one that rounds once, where a CPU rounds twice.
        assert not re.search(r"\bfma\.", ptx), where
