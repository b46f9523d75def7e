"""Zarr arrays to test with."""

import itertools

import pytest
from zarr_arrays import PLAIN

from wkgpu.storage import formats


@pytest.fixture
def make(tmp_path):
    """Makes an array with zarr-python, and opens it."""

    numbers = itertools.count()

    def make(case=PLAIN):
        path = tmp_path / f"array-{next(numbers)}"
        case.create(path)
        return formats.open_array(path)

    return make
