"""What tests of kernels on the shim need."""

import pytest

from . import building


@pytest.fixture
def chunk_program():
    """Skips where the kernels for chunks of Zarr cannot be built."""
    try:
        building.chunk_kernels_program()
    except building.CannotBuildError as error:
        pytest.skip(str(error))
