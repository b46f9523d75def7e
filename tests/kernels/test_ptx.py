"""The kernels of the CUDA engine, as PTX and as machine code, for GPUs old and new; no GPU is needed to make them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

ROOT = Path(__file__).parents[2]
RECORDED = json.loads((ROOT / "benchmarks" / "results" / "kernels.json").read_text(encoding="utf-8"))
MORE_REGISTERS = 16  # than are recorded: these would cost a GPU some of the warps that it runs at a time
HOW_TO_RECORD = "record them with: python -m benchmarks.kernels"

UNAVAILABLE = """
try:
    from cuda.bindings import nvjitlink
    from numba.cuda.cudadrv import nvrtc, nvvm
    nvvm.NVVM()
    nvrtc.get_supported_ccs()
    nvjitlink.version()
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""
LIMITED = """
import json, pathlib, sys
from benchmarks.kernels import assembly

ptx, source = map(pathlib.Path, sys.argv[1:])
(exchanging,) = (one for one in json.loads(ptx.read_text())
                 if (one["name"], one["types"], one["architecture"]) == ("exchange_chunks", "uint8", "sm_90a"))
of_numba = assembly.figures(assembly.Compiled(**exchanging), "-maxrregcount=40")
of_c = [one for name in assembly.ARCHITECTURES for one in assembly.figures_of_c(source, name)]
print(json.dumps([vars(one) for one in [of_numba, *of_c]]))
"""
CUDA_C = """
extern "C" __global__ void first(int* values) { values[threadIdx.x] = MALFORMED + WRONG_LENGTH - OK; }
extern "C" __global__ void second(int* values) {
    __shared__ int shared[64];
    shared[threadIdx.x] = values[threadIdx.x];
    __syncthreads();
    values[threadIdx.x] = shared[63 - threadIdx.x];
}
"""


@pytest.fixture(scope="module")
def run_here(tmp_path_factory):
    """Runs Python that knows the benchmarks; Numba does not simulate CUDA there."""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    environment["PYTHONPATH"] = str(ROOT)

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            env=environment,
            cwd=tmp_path_factory.getbasetemp(),
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def made(run_here, tmp_path_factory):
    """The files of figures and of PTX, which one process makes for all tests."""
    if reason := run_here("-c", UNAVAILABLE).strip():
        pytest.skip(f"the CUDA toolkit that compiles kernels is missing: {reason}")
    folder = tmp_path_factory.mktemp("kernels")
    run_here("-m", "benchmarks.kernels", "--output", folder / "figures.json", "--ptx", folder / "ptx.json")
    return folder


@pytest.fixture(scope="module")
def compiled(made):
    """The PTX of Numba's kernels: a list of items with name, types, group, architecture and ptx."""
    return json.loads((made / "ptx.json").read_text())


def opcodes(ptx, opcode):
    """The bits of each instruction that loads or stores in global memory: 8, 16, 32 or 64, or ``v2.64``."""
    return set(re.findall(rf"\b{opcode}\.global(?:\.nc)?\.((?:v[24]\.)?)[usbf](\d+)", ptx))


def where(one):
    return f"{one['name']} for {one['types']} and {one['architecture']}"


def names(compiled, group):
    return {one["name"] for one in compiled if one["group"] == group}


def test_every_kernel_compiles(compiled):
    architectures = defaultdict(set)
    for one in compiled:
        ptx = one["ptx"]
        architectures[one["group"]].add(one["architecture"])
        assert re.search(rf"^\.target {one['architecture']}\b", ptx, re.MULTILINE), where(one)
        assert len(re.findall(r"\.visible \.entry ", ptx)) == 1, where(one)
        # All is in registers: no tuple or array is put in the slow memory of a thread.
        assert not re.search(r"\.local\b|__local_depot|\b(ld|st)\.local", ptx), where(one)
        # All is inlined: no function of Numba's or of the runtime's, which would not be linked.
        assert not re.search(r"\bcall(\.uni)?\b|^\.extern", ptx, re.MULTILINE), where(one)
    newer = {"sm_80", "sm_90a", "sm_100a"}
    assert architectures == {"words": {"sm_75", *newer}, "pooling": newer, "mapping": newer, "reductions": newer}


def test_words_are_loaded_and_stored_whole(compiled):
    words = [one for one in compiled if one["group"] == "words"]
    assert names(words, "words") >= {
        "place_chunks", "fill_chunks", "fill_words", "exchange_chunks", "drop_filled", "add_up_lengths", "pack_chunks"
    }  # fmt: skip
    for one in words:
        if one["name"] == "add_up_lengths":  # has numbers of 64 bits only
            continue
        bits = str(np.dtype(one["types"]).itemsize * 8)
        assert opcodes(one["ptx"], "st") == {("", bits)}, where(one)
        assert ("", bits) in opcodes(one["ptx"], "ld") or one["name"] in ("fill_chunks", "fill_words"), where(one)


def test_pooling_rounds_as_a_cpu_does(compiled):
    pooling = [one for one in compiled if one["group"] == "pooling"]
    assert names(pooling, "pooling") >= {"median_unsigned", "mode", "mean_float", "nearest"}
    for one in pooling:
        assert opcodes(one["ptx"], "st") == {("", str(np.dtype(one["types"]).itemsize * 8))}, where(one)
        # No two operations are joined in one that rounds once, where a CPU rounds twice.
        assert not re.search(r"\bfma\.", one["ptx"]), where(one)


def test_maps_and_reductions(compiled):
    ptx = defaultdict(list)
    for one in compiled:
        if one["group"] in ("mapping", "reductions"):
            ptx[one["name"]].append(one["ptx"])
    for name in ("count_values", "histogram"):
        assert all(re.search(r"\b(atom|red)\.\S*add\.u64", text) for text in ptx[name]), name
    fused = {name for name, texts in ptx.items() if any(re.search(r"\bfma\.", text) for text in texts)}
    assert fused == {"user_function"}, "what comes with wkgpu rounds as a CPU does"
    assert all("mul.rn.f32" in text for text in ptx["user_function_unfused"])


def test_no_kernel_spills_or_needs_many_more_registers(made):
    found = json.loads((made / "figures.json").read_text())

    def by_kernel(figures):
        return {(row["kernel"], row["types"], row["architecture"]): row for row in figures["kernels"]}

    rows, recorded = by_kernel(found), by_kernel(RECORDED)
    assert {architecture for _, _, architecture in rows} == {"sm_80", "sm_90a", "sm_100a"}
    assert [row for row in rows.values() if row["spilled_bytes"]] == []
    if found["toolkit"] == RECORDED["toolkit"]:  # another one may need other registers for the same kernel
        assert rows.keys() == recorded.keys(), HOW_TO_RECORD
        greedy = [
            f"{key}: {row['registers']} registers, {recorded[key]['registers']} are recorded"
            for key, row in rows.items()
            if row["registers"] >= recorded[key]["registers"] + MORE_REGISTERS
        ]
        assert greedy == [], f"if that is meant, {HOW_TO_RECORD}"


def test_spills_and_shared_memory_are_seen(made, run_here, tmp_path):
    source = tmp_path / "trial.cu"
    source.write_text(CUDA_C)
    limited, *of_c = json.loads(run_here("-c", LIMITED, made / "ptx.json", source))
    assert limited["registers"] == 40
    assert limited["spilled_bytes"] > 0
    assert limited["stack_bytes"] > 0
    found = {(row["kernel"], row["architecture"]): row["shared_bytes"] for row in of_c}
    architectures = {"sm_80", "sm_90a", "sm_100a"}
    assert found == {
        (kernel, name): size for kernel, size in {"first": 0, "second": 256}.items() for name in architectures
    }
