"""What tests on a real GPU share. Nothing here imports a GPU library before a test needs it."""

from __future__ import annotations

import pytest
from strategies import voxels

from wkgpu.operations.transfer import write_box


@pytest.fixture
def cupy(gpu):
    return gpu.xp


@pytest.fixture
def torch(gpu):
    """PyTorch, if it is installed and sees the GPU as well."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch is built without CUDA, or sees no GPU")
    return torch


@pytest.fixture
def stored(make_array, cpu):
    """Makes a mag that the CPU engine has written, and the voxels from (0, 0, 0) on."""

    def make(layout, shape, seed=3):
        array, data = make_array(layout), voxels(layout, shape, seed)
        write_box(array, cpu, (0, 0, 0), data)
        return array, data

    return make
