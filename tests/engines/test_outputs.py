"""`out=` of any layout is filled, and nothing around it."""

import numpy as np
import pytest
from arrays import given_on_engine, on_host, read_box, read_boxes, write_box
from hypothesis import strategies as st
from reference import Exporter
from strategies import layouts, voxel_boxes, voxels

from wkgpu.errors import DtypeError, ShapeError
from wkgpu.operations import transfer
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.spec import ArraySpec

LAYOUT = ArraySpec(np.dtype("uint16"), 2, (8, 8, 8), (2, 2, 2), pipeline_of("lz4"))
SHAPE = (11, 9, 13)
CORNERS = [(1, 2, 3), (4, 0, 9), (30, 0, 0), (1, 2, 3)]


@pytest.fixture
def array(make_array, naive):
    """A mag with voxels in the first two shards along each axis."""
    array = make_array(LAYOUT)
    write_box(array, naive, (0, 0, 0), voxels(LAYOUT, (20, 20, 20), 1))
    return array


def layouts_of(shape, dtype):
    """Arrays of one shape in many layouts, each as a part of the memory that holds it."""

    def garbage(shape, order="C"):
        block = np.full(int(np.prod(shape)) * dtype.itemsize, 0xA5, np.uint8)
        return block.view(dtype).reshape(shape, order=order)

    def inside(parent, *slices):
        return parent, parent[slices]

    larger = tuple(length + 5 for length in shape)
    part = tuple(slice(2, 2 + length) for length in shape)
    twice = tuple(2 * length for length in shape)
    return {
        "Fortran": inside(garbage(shape, "F"), ...),
        "C": inside(garbage(shape), ...),
        "part of a larger one, Fortran": inside(garbage(larger, "F"), *part),
        "part of a larger one, C": inside(garbage(larger), *part),
        "channels and x whole, Fortran": inside(garbage((*shape[:-2], *larger[-2:]), "F"), ..., *part[-2:]),
        "every other one": inside(garbage(twice, "F"), *(slice(None, None, 2) for _ in shape)),
        "every other along y and z": inside(garbage((*shape[:-2], *twice[-2:]), "F"), ..., *[slice(None, None, 2)] * 2),
        "reversed": inside(garbage(shape, "F"), *(slice(None, None, -1) for _ in shape)),
        "y and z reversed": inside(garbage(shape, "F"), ..., slice(None, None, -1), slice(None, None, -1)),
        "x outermost": (parent := garbage((shape[-3], *shape[:-3], *shape[-2:])), np.moveaxis(parent, 0, -3)),
    }  # fmt: skip


NAMES = list(layouts_of((1, 1, 1, 1), np.dtype("uint8")))


@pytest.mark.parametrize("name", NAMES)
def test_any_layout(array, engine, name):
    parent, out = layouts_of((2, *SHAPE), LAYOUT.dtype)[name]
    expected_parent = parent.copy(order="K")
    expected = read_box(array, engine, (5, 6, 7), SHAPE)
    assert read_box(array, engine, (5, 6, 7), SHAPE, out=out) is out
    np.testing.assert_array_equal(out, expected)
    out[...] = 0xA5A5
    np.testing.assert_array_equal(parent, expected_parent, "voxels around the output")


@pytest.mark.parametrize("name", NAMES)
def test_any_layout_for_many_boxes(array, engine, name):
    parent, out = layouts_of((len(CORNERS), 2, *SHAPE), LAYOUT.dtype)[name]
    expected_parent = parent.copy(order="K")
    assert read_boxes(array, engine, CORNERS, SHAPE, out=out) is out
    for corner, box in zip(CORNERS, out, strict=True):
        np.testing.assert_array_equal(box, read_box(array, engine, corner, SHAPE))
    out[...] = 0xA5A5
    np.testing.assert_array_equal(parent, expected_parent, "voxels around the output")


@given_on_engine(lambda is_small: layouts(shard_bytes=1 << (11 if is_small else 14)), st.data())
def test_what_is_absent_is_zeroed_and_what_surrounds_the_output_stays(make_array, naive, engine, spec, data):
    array = make_array(spec)
    topleft, shape = data.draw(voxel_boxes(spec, 1))
    write_box(array, naive, topleft, voxels(spec, shape, 1))
    topleft, (x, y, z) = data.draw(voxel_boxes(spec, 3))
    room = data.draw(st.tuples(*[st.integers(0, 3)] * 4))
    parent = np.ones((spec.num_channels, x, y + room[0] + room[1], z + room[2] + room[3]), spec.dtype, order="F")
    out = parent[:, :, room[0] : room[0] + y, room[2] : room[2] + z]
    read_box(array, engine, topleft, (x, y, z), out=out)
    np.testing.assert_array_equal(out, read_box(array, naive, topleft, (x, y, z)))
    out[...] = 1
    assert (parent == 1).all()


def test_an_output_at_an_odd_address(array, engine):
    block = np.zeros(2 * int(np.prod((2, *SHAPE))) + 1, np.uint8)
    out = block[1:].view(np.uint16).reshape((2, *SHAPE), order="F")
    assert not out.flags.aligned
    np.testing.assert_array_equal(
        read_box(array, engine, (5, 6, 7), SHAPE, out=out), read_box(array, engine, (5, 6, 7), SHAPE)
    )


@pytest.mark.parametrize("shape", [SHAPE, (1, *SHAPE), (2, 11, 9, 12), (2, 9, 11, 13), (1, 2, *SHAPE)])
def test_wrong_shape(array, engine, shape):
    with pytest.raises(ShapeError, match=r"\(2, 11, 9, 13\)"):
        read_box(array, engine, (0, 0, 0), SHAPE, out=np.zeros(shape, np.uint16))
    with pytest.raises(ShapeError, match=r"\(3, 2, 11, 9, 13\)"):
        read_boxes(array, engine, [(0, 0, 0)] * 3, SHAPE, out=np.zeros(shape, np.uint16))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", ">u2"])
def test_wrong_dtype(array, engine, dtype):
    if engine.xp is not np and not np.dtype(dtype).isnative:
        pytest.skip("CuPy has no such arrays")
    out = np.ones((2, *SHAPE), dtype)
    with pytest.raises(DtypeError, match="uint16"):
        read_box(array, engine, (0, 0, 0), SHAPE, out=out)
    assert (out == 1).all()


def test_read_only_output(array, engine):
    if engine.xp is not np:
        pytest.skip("CuPy has no such arrays")
    out = np.ones((2, *SHAPE), np.uint16, order="F")
    out.flags.writeable = False
    with pytest.raises(ShapeError, match="read-only"):
        read_box(array, engine, (0, 0, 0), SHAPE, out=out)
    assert (out == 1).all()


def test_an_output_of_another_library(array, engine):
    out = engine.xp.zeros((2, *SHAPE), np.uint16)
    exporter = Exporter(out)
    assert transfer.read_box(array, engine, (5, 6, 7), SHAPE, out=exporter) is exporter
    np.testing.assert_array_equal(on_host(engine, out), read_box(array, engine, (5, 6, 7), SHAPE))


@pytest.mark.parametrize("out", [[1, 2], "out", 7, memoryview(b"abc")], ids=["list", "str", "int", "memoryview"])
def test_output_that_is_no_array(array, engine, out):
    with pytest.raises(ShapeError, match=type(out).__name__):
        read_box(array, engine, (0, 0, 0), SHAPE, out=out)
