"""Boxes that memory has no room for are refused before anything is done for them."""

import numpy as np
import pytest

import wkgpu as wk
from wkgpu.dataset.slices import slice_block
from wkgpu.engines import host_memory
from wkgpu.errors import TooLargeError
from wkgpu.operations import transfer, voxels
from wkgpu.storage.stored_array import StoredArray

HUGE = wk.BoundingBox((0, 0, 0), (1_000_000, 1_000_000, 100))


@pytest.fixture
def scarce(monkeypatch, device):
    """64 KiB are large, and more than there is."""
    for module in (transfer, slice_block, voxels, host_memory):
        monkeypatch.setattr(module, "LARGE_BYTES", 64 << 10)
    monkeypatch.setattr(host_memory, "available_bytes", lambda: 60 << 10)
    engine = wk.get_engine(device)
    if engine.name != "cpu":
        monkeypatch.setattr(type(engine.device), "free_bytes", lambda self: 60 << 10)


@pytest.fixture
def unplanned(monkeypatch):
    """No read is planned."""
    monkeypatch.setattr(StoredArray, "read_plans", lambda *_: pytest.fail("a plan was made"))


def test_reads(mag_view, device, unplanned):
    """Also where nothing of them is stored."""
    mag_view = mag_view.to(device)
    for read in (
        lambda: mag_view.read(absolute_bounding_box=HUGE),
        lambda: mag_view.read_many([HUGE, HUGE]),
        lambda: mag_view.get_view(absolute_bounding_box=HUGE, read_only=True).read(),
        lambda: next(mag_view.get_buffered_slice_reader(absolute_bounding_box=HUGE)),
    ):
        with pytest.raises(TooLargeError, match=r"1000000, 1000000.* of .*color/1 needs \d+\.\d GiB") as caught:
            read()
        assert isinstance(caught.value, MemoryError)
        assert "smaller box" in str(caught.value)


def test_what_fits_is_read(mag_view, volume, device, scarce):
    view = mag_view.to(device)
    region = {"absolute_offset": (4, 8, 12), "size": (40, 36, 32)}
    np.testing.assert_array_equal(view._engine.asarray(view.read(**region))[0], volume)
    with pytest.raises(TooLargeError, match=r"box at \(0, 0, 0\) of \(44, 44, 44\) voxels"):
        view.read(absolute_offset=(0, 0, 0), size=(44, 44, 44))
    with pytest.raises(TooLargeError, match="2 boxes of"):
        view.read_many([wk.BoundingBox((4, 8, 12), (40, 36, 32))] * 2)
    out = view._engine.xp.zeros((1, 44, 44, 44), "uint8")
    assert view.read(absolute_offset=(0, 0, 0), size=(44, 44, 44), out=out) is out


def test_writes(mag_view, device, scarce):
    """What is written lies in memory already, but for buffers of slices and copies in another byte order."""
    view = mag_view.to(device)
    big = np.full((44, 44, 44), 7, "uint8")
    view.write(big, absolute_offset=(0, 0, 0))
    with (
        view.get_buffered_slice_writer(absolute_offset=(0, 0, 0), buffer_size=1 << 20) as writer,
        pytest.raises(TooLargeError, match=r"slices \(1, 44, 44\), which buffer_size"),
    ):
        writer.send(big[0])


def test_copies_in_another_byte_order(dataset, scarce):
    mag_view = dataset.add_layer("depth", "color", dtype="uint16").add_mag(1, chunk_shape=8, shard_shape=32)
    with pytest.raises(TooLargeError, match="byte order"):
        mag_view.write(np.zeros((44, 44, 44), ">u2"), absolute_offset=(0, 0, 0))


def test_a_write_of_a_huge_box_is_planned_shard_by_shard(mag_view):
    """Its voxels may lie in a file, or be one voxel many times."""
    writes = mag_view._array.shard_writes((0, 0, 0), (1 << 20, 1 << 20, 8))
    assert len(next(writes)._rows.box) == 16
    writes.close()


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_histograms_of_very_many_bins(dataset, dtype):
    mag_view = dataset.add_layer("other", "color", dtype=dtype).add_mag(1, chunk_shape=8, shard_shape=32)
    mag_view.write(np.zeros((4, 4, 4), dtype), absolute_offset=(0, 0, 0))
    with pytest.raises(TooLargeError, match="1000000000000 bins"):
        mag_view.histogram(10**12)
