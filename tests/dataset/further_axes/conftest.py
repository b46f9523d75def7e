"""A mag with further axes, on each device."""

import pytest
from further_axes import LAYOUT, add_layer, box_of, voxels_of

import wkgpu as wk


@pytest.fixture
def axes():
    return "ctxyz"


@pytest.fixture
def voxels(axes):
    return voxels_of(axes)


@pytest.fixture
def make(tmp_path, axes, voxels):
    """Makes a mag on a device."""

    def make(device):
        dataset = wk.Dataset(tmp_path / "ours", voxel_size=(1, 1, 1), device=device)
        made = add_layer(dataset, wk, axes).add_mag(1, **LAYOUT, compress=False)
        made.write(voxels, absolute_bounding_box=box_of(wk, axes))
        return made

    return make


@pytest.fixture
def mag_view(make):
    return make("cpu")


@pytest.fixture
def on_device(make, device):
    """The same on each device."""
    return make(device)


@pytest.fixture
def theirs(tmp_path, webknossos):
    """A mag as webknossos reads it."""
    return lambda mag=1, layer="a", folder="ours": (
        webknossos.Dataset.open(tmp_path / folder).get_layer(layer).get_mag(mag).read()
    )
