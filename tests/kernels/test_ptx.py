"""The kernels of the CUDA engine as PTX, for GPUs old and new; no GPU is needed to compile them."""

import json
import re

import pytest

pytest.importorskip("numba_cuda")

LEAST = [(7, 5), (8, 0), (8, 6), (9, 0)]
BITS = [8, 16, 32, 64]
WORDS = {"source", "target", "box", "chunks"}  # parameters that are arrays of words; `table` is int64, others numbers

COMPILE = """
import importlib, json, sys, types as python_types
import numba.cuda.dispatcher as dispatcher
from numba import cuda, types
from numba.cuda.cudadrv import nvrtc

what = json.loads(sys.argv[1])
cc = tuple(what["cc"]) if what["cc"] else max(nvrtc.get_supported_ccs())
# Device functions are compiled for the current device, of which there is none.
dispatcher.get_current_device = lambda: python_types.SimpleNamespace(compute_capability=cc)
module = importlib.import_module("wkgpu.kernels.cuda")
found = {"cc": cc, "ptx": []}
for name, kernel in vars(module).items():
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
    return json.loads(run_python(COMPILE, json.dumps({"cc": cc, "bits": BITS, "words": sorted(WORDS)})))


@pytest.fixture(params=[*LEAST, None], ids=["sm_75", "sm_80", "sm_86", "sm_90", "newest"])
def compilation(request, run_python):
    reason = run_python(UNAVAILABLE).strip()
    if reason:
        pytest.skip(f"the CUDA toolkit that compiles kernels is missing: {reason}")
    return compiled(run_python, request.param)


def opcodes(ptx, opcode):
    """The bits of each instruction that loads or stores in global memory: 8, 16, 32 or 64, or ``v2.64``."""
    return set(re.findall(rf"\b{opcode}\.global(?:\.nc)?\.((?:v[24]\.)?)[usbf](\d+)", ptx))


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
        # All is in registers: no tuple or array is put in the slow memory of a thread.
        assert not re.search(r"\.local\b|__local_depot|\b(ld|st)\.local", ptx), where
        # All is inlined: no function of Numba's or of the runtime's, whom nobody would link.
        assert not re.search(r"\bcall(\.uni)?\b|^\.extern", ptx, re.MULTILINE), where
    assert names >= {"place_chunks", "clear_chunks", "exchange_chunks", "add_up_lengths", "pack_chunks"}
