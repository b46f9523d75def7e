"""Data of any layout are written as the voxels that they are."""

import numpy as np
import pytest
from arrays import given_on_engine, is_simulated, read_box, write_box
from hypothesis import strategies as st
from reference import Exporter
from strategies import layouts, voxel_boxes, voxels

from wkgpu.errors import DtypeError
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.spec import ArraySpec

SHAPE = (11, 9, 13)


def double(data, axis):
    return np.repeat(data, 2, axis=axis)


def reversed_along(data, *axes):
    """The same voxels in memory that runs backwards."""
    flip = tuple(slice(None, None, -1) if axis in axes else slice(None) for axis in range(4))
    return data[flip].copy(order="F")[flip]


def at_odd_address(data):
    block = np.zeros(data.nbytes + 1, np.uint8)
    block[1:] = np.frombuffer(data.tobytes(order="F"), np.uint8)
    return block[1:].view(data.dtype).reshape(data.shape, order="F")


def read_only(data):
    data = data.copy()
    data.flags.writeable = False
    return data


MAKERS = {
    "Fortran": np.asfortranarray,
    "C": np.ascontiguousarray,
    "x and y exchanged": lambda data: data.swapaxes(1, 2).copy().swapaxes(1, 2),
    "channels last": lambda data: np.moveaxis(np.moveaxis(data, 0, -1).copy(), -1, 0),
    "every other along x": lambda data: double(data, 1)[:, ::2],
    "every other channel": lambda data: double(data, 0)[::2],
    "every other in all": lambda data: double(double(double(double(data, 0), 1), 2), 3)[::2, ::2, ::2, ::2],
    "reversed": lambda data: reversed_along(data, 0, 1, 2, 3),
    "x reversed": lambda data: reversed_along(data, 1),
    "y and z reversed": lambda data: reversed_along(data, 2, 3),
    "channels reversed": lambda data: reversed_along(data, 0),
    "part of a larger one": lambda data: np.pad(data, 3)[3:-3, 3:-3, 3:-3, 3:-3],
    "read-only": read_only,
    "at an odd address": at_odd_address,
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(
    ("codec", "dtype", "channels"),
    [("raw", "uint8", 1), ("lz4", "uint8", 3), ("lz4", "uint16", 2), ("raw", "float32", 1), ("lz4", "int64", 4)],
)
def test_any_layout(make_array, engine, codec, dtype, channels, name):
    per_shard = (4, 4, 4) if is_simulated(engine) else (1, 1, 1)
    array = make_array(ArraySpec(np.dtype(dtype), channels, (8, 8, 8), per_shard, pipeline_of(codec)))
    data = voxels(array.spec, SHAPE, 1)
    same = MAKERS[name](data)
    np.testing.assert_array_equal(same, data)
    write_box(array, engine, (3, 0, 5), same)
    np.testing.assert_array_equal(read_box(array, engine, (3, 0, 5), SHAPE), data)


@given_on_engine(lambda is_small: layouts(shard_bytes=1 << (11 if is_small else 14)), st.data())
def test_any_broadcast_data(make_array, engine, spec, data):
    array = make_array(spec)
    topleft, shape = data.draw(voxel_boxes(spec))
    full = (spec.num_channels, *shape)
    kept = [data.draw(st.booleans()) for _ in full]
    part = voxels(spec, shape, 1)[tuple(slice(None) if keep else slice(1) for keep in kept)]
    broadcast = np.broadcast_to(part, full)
    write_box(array, engine, topleft, broadcast)
    np.testing.assert_array_equal(read_box(array, engine, topleft, shape), broadcast)


def test_anything_with_dlpack(make_array, engine):
    array = make_array(ArraySpec(np.dtype("int32"), 2, (8, 8, 8), (1, 1, 1), pipeline_of("lz4")))
    data = voxels(array.spec, SHAPE, 1)
    write_box(array, engine, (1, 1, 1), Exporter(data))
    np.testing.assert_array_equal(read_box(array, engine, (1, 1, 1), SHAPE), data)


@pytest.mark.parametrize("error", [BufferError, RuntimeError, TypeError, ValueError])
def test_arrays_that_cannot_be_shared(cpu, error):
    """As a tensor of a type that NumPy lacks, or one that needs gradients."""

    class Tensor(Exporter):
        def __dlpack__(self, **options):
            raise error("no such type")

    with pytest.raises(DtypeError, match="Tensor that cannot be shared: no such type"):
        cpu.asarray(Tensor(np.zeros((1, 2, 3, 4))))


def test_data_are_not_changed(make_array, engine):
    array = make_array(ArraySpec(np.dtype("int32"), 2, (8, 8, 8), (1, 1, 1), pipeline_of("lz4")))
    data = voxels(array.spec, SHAPE, 1)
    before = data.copy()
    write_box(array, engine, (1, 1, 1), data)
    np.testing.assert_array_equal(data, before)


def test_a_numpy_array_is_taken_as_it_is(cpu, random):
    data = random.random((1, 2, 3, 4))
    assert cpu.asarray(data) is data
    assert np.shares_memory(cpu.asarray(Exporter(data)), data)
