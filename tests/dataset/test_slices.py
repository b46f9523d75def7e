"""Slices one by one: read and written as webknossos does, and what is wrong with one is said at once."""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from arrays import is_simulated, on_device, on_host
from datasets import counted
from faults.places import Places, act_at
from hypothesis import given, settings
from hypothesis import strategies as st

import wkgpu as wk
from wkgpu.dataset.slices import slice_writer
from wkgpu.dataset.slices.slice_writer import held_slices
from wkgpu.errors import (
    ArgumentError,
    DtypeError,
    HandleError,
    OutOfBoundsError,
    ReadOnlyError,
    RegionError,
    ShapeError,
)
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.spec import ArraySpec

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::ResourceWarning", "ignore:.*integer is dep")
CORNER, SHAPE = (4, 8, 12), (20, 24, 22)  # of the voxels that tests begin with, in the mag's own grid
OTHERS = {0: (1, 2), 1: (0, 2), 2: (0, 1)}


def slices_of(voxels, axis):
    """Slices (channel, a, b) of an array (channel, x, y, z)."""
    return list(np.moveaxis(voxels, 1 + axis, 0))


def read_slices(view, *arguments, **region):
    with view.get_buffered_slice_reader(*arguments, **region) as reader:
        return [on_host(view._engine, image) for image in reader]


def whole(view):
    return on_host(view._engine, view.read())


@pytest.fixture
def held(monkeypatch):
    """Lets few bytes be held for compressed shards, so that small tests write several times."""
    return lambda nbytes: monkeypatch.setattr(slice_writer, "HELD_BYTES", nbytes)


@pytest.fixture
def writes(monkeypatch):
    """What goes to `View.write`: shapes."""
    seen = []
    write = wk.MagView.write

    def noting(view, data, **arguments):
        seen.append(data.shape)
        write(view, data, **arguments)

    monkeypatch.setattr(wk.MagView, "write", noting)
    return seen


# ---- Against webknossos

cases = st.fixed_dictionaries(
    {
        "axis": st.sampled_from([0, 1, 2]),
        "by_name": st.booleans(),
        "buffer_size": st.integers(1, 30),
        "mag": st.sampled_from(["1", "2", "2-2-1", "4-1-2"]),
        "channels": st.sampled_from([1, 3]),
        "dtype": st.sampled_from(["uint8", "uint16", "float32"]),
        "compress": st.booleans(),
        "corner": st.tuples(st.integers(0, 10), st.integers(0, 10), st.integers(0, 10)),
        "shape": st.tuples(st.integers(1, 10), st.integers(1, 10), st.integers(1, 10)),
        "relative": st.booleans(),
        "part": st.booleans(),  # whether a view, or the mag, is asked
    }
)
example_counts = {False: 80, True: 10}


def compared(test):
    """Run a test with cases, with fewer of them where CUDA is simulated."""

    def run(device, webknossos):
        count = example_counts[is_simulated(wk.get_engine(device))]

        @settings(max_examples=count)
        @given(cases, st.randoms(use_true_random=False))
        def check(case, random):
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                test(webknossos, Path(folder), case, random)

        check()

    run.__name__ = test.__name__
    return run


def made(module, folder, case):
    """A view, or a mag, of a dataset of one of the libraries, with some voxels."""
    mag = module.Mag(case["mag"])
    box = module.BoundingBox(CORNER, SHAPE).from_mag_to_mag1(mag)
    dataset = module.Dataset(folder, voxel_size=(1, 1, 1))
    layer = dataset.add_layer(
        "color", "color", dtype=case["dtype"], num_channels=case["channels"], data_format="wkw", bounding_box=box
    )
    mag_view = layer.add_mag(mag, chunk_shape=8, shard_shape=16, compress=case["compress"])
    mag_view.write(counted(SHAPE, case["dtype"], case["channels"]) + 1, absolute_offset=box.topleft)
    if case["part"]:
        return mag_view.get_view(absolute_offset=box.topleft, size=box.size)
    return mag_view


def region(module, case):
    """The arguments that name a box inside of the voxels."""
    mag = module.Mag(case["mag"])
    corner = np.array(case["corner"]) + ((0, 0, 0) if case["relative"] else CORNER)
    box = module.BoundingBox(tuple(map(int, corner)), case["shape"]).from_mag_to_mag1(mag)
    return {"relative_bounding_box" if case["relative"] else "absolute_bounding_box": box}


def dimension(case):
    return "xyz"[case["axis"]] if case["by_name"] else case["axis"]


@compared
@pytest.mark.covers("View.get_buffered_slice_reader")
def test_slices_that_both_read(webknossos, folder, case, random):
    ours = made(wk, folder / "dataset", case)
    theirs = webknossos.Dataset.open(folder / "dataset").get_layer("color").get_mag(case["mag"])
    if case["part"]:
        box = webknossos.BoundingBox(tuple(ours.bounding_box.topleft), tuple(ours.bounding_box.size))
        theirs = theirs.get_view(absolute_offset=box.topleft, size=box.size)
    for inside in (False, True):
        options = {"buffer_size": case["buffer_size"], "dimension": dimension(case)}
        found = read_slices(ours, **options, **(region(wk, case) if inside else {}))
        with theirs.get_buffered_slice_reader(**options, **(region(webknossos, case) if inside else {})) as reader:
            wanted = list(reader)
        assert len(found) == len(wanted)
        for image, expected in zip(found, wanted, strict=True):
            assert image.dtype == expected.dtype
            np.testing.assert_array_equal(image, expected)


@compared
@pytest.mark.covers("View.get_buffered_slice_writer")
def test_slices_that_both_write(webknossos, folder, case, random):
    """Slices of one shape, or now and then of others: what both libraries wrote, both read."""
    held_bytes = random.choice([1, 2000, 1 << 28])
    a, b = (case["shape"][axis] for axis in OTHERS[case["axis"]])
    count = case["shape"][case["axis"]]
    changing = random.random() < 0.5
    images = []
    for number in range(count):
        shape = (random.randint(1, a), random.randint(1, b)) if changing and random.random() < 0.3 else (a, b)
        image = ((np.arange(case["channels"] * np.prod(shape)) + number) % 89 + 130).astype(case["dtype"])
        image = image.reshape((case["channels"], *shape))
        images.append(image[0] if case["channels"] == 1 and random.random() < 0.5 else image)
    with mock.patch.object(slice_writer, "HELD_BYTES", held_bytes):
        views = [made(module, folder / module.__name__, case) for module in (wk, webknossos)]
        for module, view in zip((wk, webknossos), views, strict=True):
            options = {"buffer_size": case["buffer_size"], "dimension": dimension(case), **region(module, case)}
            with view.get_buffered_slice_writer(allow_unaligned=True, **options) as writer:
                for image in images:
                    writer.send(image)
    ours, theirs = (
        webknossos.Dataset.open(folder / module.__name__).get_layer("color").get_mag(case["mag"])
        for module in (wk, webknossos)
    )
    np.testing.assert_array_equal(ours.read(), theirs.read())
    np.testing.assert_array_equal(whole(views[0]), theirs.read())
    assert tuple(ours.bounding_box.topleft) == tuple(theirs.bounding_box.topleft)
    assert tuple(ours.bounding_box.size) == tuple(theirs.bounding_box.size)


def test_a_new_place_for_the_next_slice_as_in_webknossos(webknossos, tmp_path):
    case = {"mag": "1", "dtype": "uint8", "channels": 1, "compress": True, "part": False}
    found = []
    for module in (wk, webknossos):
        mag_view = made(module, tmp_path / module.__name__, case)
        with mag_view.get_buffered_slice_writer(
            buffer_size=4, dimension="z", relative_offset=(0, 0, 0), allow_unaligned=True
        ) as writer:
            for number in range(3):
                writer.send(np.full((5, 4), 200 + number, "uint8"))
            writer.reset_offset(absolute_offset=(10, 12, 14))
            for number in range(6):
                writer.send(np.full((6, 4), 220 + number, "uint8"))
        found.append(mag_view.read())
    np.testing.assert_array_equal(*found)


# ---- Reading


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("buffer_size", [1, 3, 8, 20, 100])
def test_slices_stay_as_they_are(device, mag_view, volume, axis, buffer_size):
    found = read_slices(mag_view, buffer_size, axis)  # all of them are kept
    np.testing.assert_array_equal(np.stack(found, 1 + axis), volume[None])
    assert found[0].shape == tuple(np.delete((1, *volume.shape), 1 + axis))


def test_a_reader_holds_its_buffer_and_ends_it_between_chunks(view, monkeypatch):
    from wkgpu.dataset.slices import slice_reader

    depths = []
    read_box = slice_reader.read_box

    def noting(array, engine, topleft, shape):
        depths.append((topleft[2], shape[2]))
        return read_box(array, engine, topleft, shape)

    monkeypatch.setattr(slice_reader, "read_box", noting)
    box = wk.BoundingBox((8, 12, 19), (32, 32, 20))
    for buffer_size, wanted in (
        (8, [(19, 5), (24, 8), (32, 7)]),
        (20, [(19, 13), (32, 7)]),
        (3, [(19, 3), (22, 2), (24, 3), (27, 3), (30, 2), (32, 3), (35, 3), (38, 1)]),
    ):
        depths.clear()
        assert len(read_slices(view, buffer_size, absolute_bounding_box=box)) == 20
        assert depths == wanted


def test_a_reader_is_an_iterator_and_begins_anew(view):
    reader = view.get_buffered_slice_reader(5)
    with reader as entered:
        assert next(entered).shape == (1, 32, 32)
        assert len(list(entered)) == 23
        assert list(entered) == []
    with reader:
        assert len(list(reader)) == 24
    assert list(reader) == []
    assert reader.dimension == 2


def test_a_reader_may_leave_its_view_and_finds_what_is_stored(view, mag_view):
    box = wk.BoundingBox((0, 0, 10), (50, 50, 4))
    found = np.stack(read_slices(view, absolute_bounding_box=box), 3)
    np.testing.assert_array_equal(found, mag_view.read(absolute_bounding_box=box))
    assert found.any()


@pytest.mark.parametrize("wrong", [3, -1, "c", "", None, 1.0])
def test_dimensions_that_do_not_exist(view, wrong):
    for make in (view.get_buffered_slice_reader, view.get_buffered_slice_writer):
        with pytest.raises(RegionError, match="the axis across") as raised:
            make(dimension=wrong)
        assert isinstance(raised.value, AssertionError)


@pytest.mark.parametrize("wrong", [0, -1, 2.5, "many"])
def test_buffers_without_slices(view, wrong):
    for make in (view.get_buffered_slice_reader, view.get_buffered_slice_writer):
        with pytest.raises(ArgumentError, match="at least 1"):
            make(buffer_size=wrong)
        assert make(buffer_size=None) is not None


def test_regions_that_are_none(view, layer):
    box = wk.BoundingBox((8, 12, 16), (4, 4, 4))
    for make in (view.get_buffered_slice_reader, view.get_buffered_slice_writer):
        with pytest.raises(RegionError, match="several regions"):
            make(relative_bounding_box=box, absolute_bounding_box=box)
    with pytest.raises(RegionError, match="several regions"):
        view.get_buffered_slice_writer(relative_offset=(0, 0, 0), absolute_offset=(0, 0, 0))
    with pytest.raises(RegionError, match="negative"):
        view.get_buffered_slice_writer(absolute_offset=(-1, 0, 0))
    coarse = layer.add_mag(2)
    with pytest.raises(RegionError, match="multiples"):
        coarse.get_buffered_slice_writer(absolute_offset=(1, 0, 0))
    with pytest.raises(RegionError, match="multiples"):
        coarse.get_buffered_slice_reader(absolute_bounding_box=wk.BoundingBox((0, 0, 1), (2, 2, 2)))


# ---- Writing


@pytest.mark.parametrize("axis", ["x", "y", "z"])
@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize(("buffer_size", "nbytes"), [(1, 1), (5, 1), (32, 1), (7, 9000), (32, 1 << 28)])
def test_what_is_written_is_read(device, layer, random, held, axis, compress, buffer_size, nbytes):
    held(nbytes)
    mag_view = layer.add_mag(1, chunk_shape=8, shard_shape=16, compress=compress)
    volume = random.integers(0, 256, (1, 21, 13, 26), "uint8")
    with mag_view.get_buffered_slice_writer(buffer_size, axis, absolute_offset=(3, 5, 6)) as writer:
        for image in slices_of(volume, "xyz".index(axis)):
            writer.send(on_device(mag_view._engine, np.ascontiguousarray(image)))
    assert layer.bounding_box == wk.BoundingBox((3, 5, 6), (21, 13, 26))
    np.testing.assert_array_equal(whole(mag_view), volume)
    np.testing.assert_array_equal(np.stack(read_slices(mag_view, buffer_size, axis), 1 + "xyz".index(axis)), volume)


def test_slices_may_come_from_either_machine(device, layer):
    mag_view = layer.add_mag(1, chunk_shape=8, shard_shape=16)
    images = [np.full((9, 7), number, "uint8") for number in range(1, 5)]
    for first in (0, 1):
        with mag_view.get_buffered_slice_writer(absolute_offset=(0, 0, 0)) as writer:
            for number, image in enumerate(images):
                writer.send(on_device(mag_view._engine, image) if number % 2 == first else image)
        np.testing.assert_array_equal(whole(mag_view)[0].transpose(2, 0, 1), images)


def test_the_array_of_a_slice_may_be_used_again(layer):
    mag_view = layer.add_mag(1, chunk_shape=8, shard_shape=16)
    image = np.zeros((4, 4), "uint8")
    with mag_view.get_buffered_slice_writer(absolute_offset=(0, 0, 0)) as writer:
        for number in range(5):
            image[:] = number
            writer.send(image)
    assert whole(mag_view)[0, 0, 0].tolist() == [0, 1, 2, 3, 4]


def test_writes_end_between_chunks_and_shards(layer, held, writes):
    mag_view = layer.add_mag(1, chunk_shape=8, shard_shape=16)
    for buffer_size, nbytes, wanted in (
        (3, 1, [3, 8, 8, 8, 3]),  # 5 to 35: a chunk each
        (8, 1, [3, 8, 8, 8, 3]),
        (8, 16 * 16, [11, 16, 3]),  # a shard each
        (20, 1, [11, 16, 3]),
        (27, 1, [27, 3]),
    ):
        held(nbytes)
        writes.clear()
        with mag_view.get_buffered_slice_writer(buffer_size, absolute_offset=(0, 0, 5)) as writer:
            for _ in range(30):
                writer.send(np.ones((4, 4), "uint8"))
        assert [shape[3] for shape in writes] == wanted


def test_raw_shards_hold_no_more_than_the_buffer():
    raw = ArraySpec(np.dtype("uint8"), 1, (32, 32, 32), (32, 32, 32), pipeline_of("raw"))
    assert held_slices(raw, 2, 0, 32, 1) == 32
    assert held_slices(raw, 2, 40, 64, 1) == 56
    assert held_slices(raw, 2, 40, 1, 1) == 24


def test_nothing_sent_writes_nothing(layer, writes):
    mag_view = layer.add_mag(1)
    with mag_view.get_buffered_slice_writer():
        pass
    assert writes == []
    assert list(mag_view.get_bounding_boxes_on_disk()) == []


@pytest.mark.parametrize("count", [0, 3, 13])
def test_an_exception_in_the_body_is_raised_after_writing(layer, held, count):
    held(1)
    mag_view = layer.add_mag(1, chunk_shape=8, shard_shape=16)
    error = KeyError("mine")
    with (  # noqa: PT012
        pytest.raises(KeyError) as raised,
        mag_view.get_buffered_slice_writer(4, absolute_offset=(0, 0, 0)) as writer,
    ):
        for _ in range(count):
            writer.send(np.ones((4, 4), "uint8"))
        raise error
    assert raised.value is error
    assert layer.bounding_box.size.z == count
    assert whole(mag_view).sum() == 16 * count if count else True


def test_an_exception_in_the_body_is_not_masked(mag_view, monkeypatch):
    def refuse(*_, **__):
        raise OSError("full")

    monkeypatch.setattr(wk.MagView, "write", refuse)
    image = np.ones((4, 4), "uint8")
    with pytest.raises(KeyError) as raised, mag_view.get_buffered_slice_writer() as writer:  # noqa: PT012
        writer.send(image)
        raise KeyError("mine")
    assert "full" in raised.value.__notes__[0]
    with pytest.raises(OSError, match="full"), mag_view.get_buffered_slice_writer() as writer:
        writer.send(image)


def test_what_could_not_be_written_is_not_tried_again(mag_view, monkeypatch, held):
    held(1)
    tried = []

    def refuse(_, data, **__):
        tried.append(data.shape)
        raise OSError("full")

    monkeypatch.setattr(wk.MagView, "write", refuse)
    with pytest.raises(OSError, match="full") as raised, mag_view.get_buffered_slice_writer(1) as writer:  # noqa: PT012
        for _ in range(9):
            writer.send(np.ones((4, 4), "uint8"))
    assert tried == [(1, 4, 4, 4)]
    assert not hasattr(raised.value, "__notes__")


def test_slices_that_do_not_fit(device, layer, dataset):
    mag_view = layer.add_mag(1, chunk_shape=8, shard_shape=16)
    coloured = dataset.add_layer("rgb", "color", dtype="uint8", num_channels=3).add_mag(1)
    with mag_view.get_buffered_slice_writer() as writer:
        writer.send(np.ones((4, 4), "uint8"))
        for wrong in ((4,), (2, 4, 4), (1, 1, 4, 4), (), (0, 4)):
            with pytest.raises((ShapeError, RegionError)) as raised:
                writer.send(np.ones(wrong, "uint8"))
            assert isinstance(raised.value, ValueError)
        with pytest.raises(DtypeError, match="uint16") as raised:
            writer.send(np.ones((4, 4), "uint16"))
        assert isinstance(raised.value, AssertionError)
        writer.send(np.ones((1, 4, 4), "uint8"))
    assert whole(mag_view).shape == (1, 4, 4, 2)  # the wrong ones have no place
    with (
        pytest.raises(ShapeError, match=r"\(4, 4\).*3 channel"),
        coloured.get_buffered_slice_writer() as writer,
    ):
        writer.send(np.ones((4, 4), "uint8"))


def test_slices_that_leave_a_view(view):
    with view.get_buffered_slice_writer() as writer:
        for _ in range(24):
            writer.send(np.ones((32, 32), "uint8"))
        with pytest.raises(OutOfBoundsError) as raised:
            writer.send(np.ones((32, 32), "uint8"))
    assert isinstance(raised.value, AssertionError)
    assert (view.read() == 1).all()
    with pytest.raises(OutOfBoundsError), view.get_buffered_slice_writer(dimension="x") as writer:
        writer.send(np.ones((33, 24), "uint8"))


def test_slices_that_leave_the_layer(layer, mag_view):
    before = layer.bounding_box
    image = np.ones((40, 36), "uint8")
    with mag_view.get_buffered_slice_writer(allow_resize=False) as writer:
        for _ in range(32):
            writer.send(image)
        with pytest.raises(OutOfBoundsError) as raised:
            writer.send(image)
        assert isinstance(raised.value, ValueError)
    assert layer.bounding_box == before
    assert (mag_view.read() == 1).all()
    with mag_view.get_buffered_slice_writer(absolute_offset=(4, 8, 44)) as writer:
        writer.send(image)
    assert layer.bounding_box.size == (40, 36, 33)


def test_slices_outside_of_a_with_block(mag_view):
    writer = mag_view.get_buffered_slice_writer()
    with pytest.raises(HandleError, match="with"):
        writer.send(np.ones((4, 4), "uint8"))
    with writer:
        pass
    with pytest.raises(RuntimeError):
        writer.send(np.ones((4, 4), "uint8"))
    assert writer.dimension == 2


def test_a_read_only_view_has_no_writer(view):
    with pytest.raises(ReadOnlyError) as raised:
        view.get_view(read_only=True).get_buffered_slice_writer()
    assert isinstance(raised.value, AssertionError)


def test_logs(mag_view, caplog):
    caplog.set_level(logging.INFO)
    for use_logging in (False, True):
        caplog.clear()
        with mag_view.get_buffered_slice_writer(use_logging=use_logging) as writer:
            writer.send(np.ones((4, 4), "uint8"))
        read_slices(mag_view, 100, "x", use_logging=use_logging)
        assert ("Wrote slices 12 to 12 along z" in caplog.text) is use_logging
        assert ("Read slices 4 to 43 along x" in caplog.text) is use_logging


# ---- Earlier generations


def test_legacy_regions_of_a_reader(mag_view, view):
    wanted = slices_of(mag_view.read(absolute_offset=(10, 12, 18), size=(5, 6, 7)), 0)
    for owner, offset in ((mag_view, (10, 12, 18)), (view, (2, 0, 2))):
        for arguments, keywords in (
            ((offset, (5, 6, 7), 3, 0), {}),
            ((offset, (5, 6, 7)), {"dimension": "x"}),
            ((offset,), {"size": (5, 6, 7), "buffer_size": 3, "dimension": 0}),
            ((), {"offset": offset, "size": (5, 6, 7), "dimension": 0}),
        ):
            with pytest.warns(DeprecationWarning, match="offset is deprecated") as caught:
                found = read_slices(owner, *arguments, **keywords)
            assert {Path(warning.filename).name for warning in caught} == {Path(__file__).name}
            np.testing.assert_array_equal(found, wanted)


def test_legacy_offsets_of_a_writer(mag_view, view):
    image = np.full((3, 4), 255, "uint8")
    for owner, offset in ((mag_view, (10, 12, 18)), (view, (2, 0, 2))):
        for arguments, keywords in (
            ((offset,), {}),
            ((offset, 16, 2, True), {}),
            ((np.array(offset), 16), {}),
            ((), {"offset": offset, "allow_resize": False}),
        ):
            mag_view.write(np.zeros((40, 36, 32), "uint8"))
            with (
                pytest.warns(DeprecationWarning, match="(offset|allow_resize) is deprecated"),
                owner.get_buffered_slice_writer(*arguments, **keywords) as writer,
            ):
                writer.send(image)
            assert (mag_view.read(absolute_offset=(10, 12, 18), size=(3, 4, 1)) == 255).all()
            assert (mag_view.read() == 255).sum() == 12


@pytest.mark.filterwarnings("error::DeprecationWarning")
def test_positions_of_today(mag_view):
    assert len(read_slices(mag_view, 16, 0)) == 40
    assert len(read_slices(mag_view, 16, "y")) == 36
    assert len(read_slices(mag_view, None, "y")) == 36
    assert len(read_slices(mag_view, None, None, 16, 1)) == 36  # no offset and no size, as earlier scripts had it
    with mag_view.get_buffered_slice_writer(16, "x", allow_unaligned=False) as writer:
        assert writer.dimension == 0
    with pytest.raises(ArgumentError, match="twice or one too many"):
        mag_view.get_buffered_slice_reader((1, 2, 3), (1, 2, 3), 16, 0, 5)
    with pytest.raises(ArgumentError, match="twice or one too many"):
        mag_view.get_buffered_slice_reader((1, 2, 3), offset=(1, 2, 3))


def test_an_interrupt_moves_no_slices(mag_view, volume):
    """Whatever is written of them when the block ends lies where it belongs."""
    new = np.asfortranarray(volume[None, :, :, :9] + np.uint8(100))
    begin = (4, 8, 15)

    def write():
        with mag_view.get_buffered_slice_writer(absolute_offset=begin, buffer_size=4) as writer:
            for z in range(9):
                writer.send(new[..., z])

    def interrupt():
        raise KeyboardInterrupt

    expected = before = mag_view.read()
    expected = expected.copy()
    expected[..., 3:12] = new
    places = [place for place in Places(write).all() if "slice_" in place.code.co_filename and place.time < 2]
    assert len(places) > 40
    for place in places:
        mag_view.write(before, absolute_offset=(4, 8, 12))
        with pytest.raises(KeyboardInterrupt):
            act_at(place, interrupt, write)
        found = mag_view.read()
        assert ((found == before) | (found == expected)).all(), str(place)


@pytest.mark.parametrize(("mag", "compress"), [((2, 2, 2), True), ((4, 2, 1), False)])
@pytest.mark.parametrize("kind", ["absolute_offset", "relative_offset", "absolute_bounding_box"])
def test_a_few_slices_in_a_coarser_mag_change_only_their_box(dataset, mag, compress, kind):
    """Fewer slices than the buffer holds, at an offset that fits no chunk: what lies beside them stays."""
    layer = dataset.add_layer("coarse", "color")
    mag_view = layer.add_mag(mag, chunk_shape=8, shard_shape=16, compress=compress)
    truth = np.random.default_rng(1).integers(1, 250, (40, 40, 40), dtype="uint8")
    mag_view.write(truth, absolute_offset=(0, 0, 0))
    corner = tuple(position * factor for position, factor in zip((7, 5, 3), mag, strict=True))
    for axis, (slices, buffer_size) in enumerate(((5, 8), (11, 4), (1, 32))):
        shape = [9, 10, 13]
        shape[axis] = slices
        new = np.random.default_rng(axis).integers(0, 250, shape, dtype="uint8")
        size = [extent * factor for extent, factor in zip(shape, mag, strict=True)]
        where = wk.BoundingBox(corner, size) if kind == "absolute_bounding_box" else corner
        with mag_view.get_buffered_slice_writer(buffer_size, axis, **{kind: where}) as writer:
            for number in range(slices):
                writer.send(np.take(new, number, axis))
        truth[7 : 7 + shape[0], 5 : 5 + shape[1], 3 : 3 + shape[2]] = new
        np.testing.assert_array_equal(mag_view.read(absolute_offset=(0, 0, 0), size=[40 * m for m in mag])[0], truth)
