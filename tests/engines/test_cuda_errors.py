"""Errors of CUDA become those of wkgpu; a GPU that is lost is said to be lost, by this call and all later ones."""

import ctypes
from pathlib import Path

import numpy as np
import pytest
from strategies import voxels

from wkgpu.engines.cuda.cuda_errors import LOST, is_lost, reported
from wkgpu.errors import DeviceError, DeviceLostError, DeviceMemoryError, WkgpuError
from wkgpu.kernels.failures import OK
from wkgpu.operations.transfer import read_box, write_box
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.spec import ArraySpec

SHAPE = (8, 8, 8)


def of_library(name, text, **fields):
    """Return an error of a library that is not here."""
    error = type(name, (Exception,), {})(text)
    vars(error).update(fields)
    return error


STICKY = [
    of_library("CUDARuntimeError", "cudaErrorIllegalAddress: an illegal memory access was encountered", status=700),
    of_library("CUDARuntimeError", "cudaErrorLaunchFailure: unspecified launch failure", status=719),
    of_library("CUDADriverError", "CUDA_ERROR_LAUNCH_FAILED: unspecified launch failure", status=719),
    of_library("CUDAError", "CUDA_ERROR_MISALIGNED_ADDRESS: misaligned address"),
    of_library("CudaAPIError", "[719] Call to cuStreamSynchronize results in CUDA_ERROR_LAUNCH_FAILED", code=719),
    RuntimeError("CUDA error at shim.cpp:12: CUDA_ERROR_ILLEGAL_ADDRESS(an illegal memory access was encountered)"),
]
OTHERS = [
    of_library("CUDARuntimeError", "cudaErrorInvalidValue: invalid argument", status=1),
    of_library("CUDAError", "CUDA_ERROR_INVALID_HANDLE: invalid resource handle"),
    of_library("CudaAPIError", "[1] Call to cuLaunchKernel results in CUDA_ERROR_INVALID_VALUE", code=1),
]


def failing(error):
    @reported("A copy to the GPU")
    def fail():
        raise error

    return fail


@pytest.mark.parametrize("error", STICKY, ids=lambda error: type(error).__name__)
def test_a_lost_gpu(error):
    with pytest.raises(DeviceLostError, match=r"(?s)A copy to the GPU failed: .*Start the process again") as caught:
        failing(error)()
    assert str(error) in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("number", LOST)
def test_numbers_of_a_lost_gpu(number):
    assert is_lost(of_library("CUDARuntimeError", "", status=number))
    assert is_lost(of_library("CUDAError", f"CUDA_ERROR_{LOST[number]}: anything"))
    assert not is_lost(of_library("HTTPError", "", status=number))


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: type(error).__name__)
def test_another_error_of_cuda(error):
    with pytest.raises(DeviceError, match="A copy to the GPU failed: ") as caught:
        failing(error)()
    assert type(caught.value) is DeviceError
    assert str(error) in str(caught.value)


@pytest.mark.parametrize("error", [ValueError("x"), DeviceMemoryError("full"), KeyboardInterrupt()], ids=repr)
def test_errors_of_other_kinds_stay(error):
    with pytest.raises(type(error)) as caught:
        failing(error)()
    assert caught.value is error


# ---- The engine


@pytest.fixture
def array(make_array, cpu):
    """A mag with one shard of a single chunk."""
    array = make_array(ArraySpec(np.dtype(np.uint16), 1, SHAPE, (1, 1, 1), pipeline_of("lz4")))
    write_box(array, cpu, (0, 0, 0), voxels(array.spec, SHAPE, 3))
    return array


def all_calls(engine, array):
    return {
        "read": lambda: read_box(array, engine, (0, 0, 0), SHAPE),
        "write": lambda: write_box(array, engine, (0, 0, 0), voxels(array.spec, SHAPE, 4)),
        "empty": lambda: engine.empty((1, 2, 3, 4), np.dtype(np.uint8)),
        "zeros": lambda: engine.zeros((1, 2, 3, 4), np.dtype(np.uint8)),
        "asarray": lambda: engine.asarray(np.zeros(3)),
        "wait": engine.wait,
        "check_room": lambda: engine.check_room(1, "this"),
        "active": engine.active,
    }


def check_lost(engine, array):
    shard = Path(array.shard_path((0, 0, 0)))
    content = shard.read_bytes()
    for name, call in all_calls(engine, array).items():
        with pytest.raises(DeviceLostError, match=r"cuda:0 was lost before.*Start the process again"):
            pytest.fail(f"{name} works: {call()}")
    assert engine.nbytes_kept == 0
    engine.release()
    assert shard.read_bytes() == content


@pytest.mark.parametrize("name", ["read", "write", "empty", "zeros", "asarray", "wait", "check_room"])
def test_each_call_finds_out(simulated, simulated_device, array, name):
    read_box(array, simulated, (0, 0, 0), SHAPE)
    assert simulated.nbytes_kept > 0
    simulated_device.lose()
    with pytest.raises(WkgpuError, match=r"Work on the GPU failed: cudaErrorIllegalAddress.*Start the") as caught:
        all_calls(simulated, array)[name]()
    assert type(caught.value) is DeviceLostError
    check_lost(simulated, array)


def test_giving_back_what_a_lost_gpu_had(simulated, simulated_device, array):
    read_box(array, simulated, (0, 0, 0), SHAPE)
    simulated_device.lose()
    simulated.release()
    check_lost(simulated, array)


def test_an_unchecked_chunk_loses_the_gpu(simulated, simulated_device, array, config, monkeypatch):
    """That is what nothing but the check is in the way of."""
    config.cuda_lz4 = "nvcomp"
    with open(array.shard_path((0, 0, 0)), "r+b") as file:
        file.seek(-200, 2)
        file.write(b"\xff" * 200)

    def no_check(stream, columns, zeros, zeros_bytes, statuses, decoded):
        stream.queue(lambda: ctypes.memset(statuses, OK, 4 * columns.count))

    monkeypatch.setattr(simulated_device.lz4, "check", no_check)
    with pytest.raises(DeviceLostError, match="Start the process again"):
        read_box(array, simulated, (0, 0, 0), SHAPE)
    check_lost(simulated, array)


def test_a_library_that_is_not_behind_the_seam(simulated, simulated_device, array, monkeypatch):
    """CuPy's own calls fail as well, and it is what finds out."""

    def broken():
        raise STICKY[0]

    with monkeypatch.context() as patch:
        patch.setattr(simulated_device, "active", broken)
        with pytest.raises(DeviceLostError, match="Work on cuda:0 failed: cudaErrorIllegalAddress"):
            simulated.wait()
    check_lost(simulated, array)
