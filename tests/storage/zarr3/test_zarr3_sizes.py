"""Chunks and channels of any number: what memory has no room for is an error that names the array and the size."""

from dataclasses import replace

import numpy as np
import pytest
from arrays import read_box, read_boxes, write_box
from zarr.codecs import ZstdCodec
from zarr_arrays import PLAIN

from wkgpu.engines import get_engine, host_memory
from wkgpu.errors import TooLargeError
from wkgpu.operations import transfer
from wkgpu.operations.transfer import boxes_are_equal

PEBI = replace(PLAIN, shape=(1, 1 << 17, 1 << 17, 1 << 16), chunk=(1, 1 << 17, 1 << 17, 1 << 16), per_shard=None)
BOX = (0, 0, 0), (4, 4, 4)


@pytest.mark.parametrize("compressors", [(), (ZstdCodec(level=1),)])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0)])
def test_a_chunk_that_no_memory_holds(make, compressors, order):
    array = make(replace(PEBI, dtype="uint8", fill=7, compressors=compressors, order=order))
    engine = get_engine("cpu")
    assert (read_box(array, engine, *BOX) == 7).all(), "what is not stored takes no memory"
    names_it = rf"chunks of 1048576\.0 GiB (from|for) {array.path}/c/0/0/0/0 needs \d+\.0 GiB"
    with pytest.raises(TooLargeError, match=names_it):
        write_box(array, engine, (1, 1, 1), np.ones((1, 2, 2, 2), np.uint8))
    assert not array.has_shard((0, 0, 0))
    if not compressors:
        return
    path = array.path / "c/0/0/0/0"
    path.write_bytes(b"noise" * 100)
    for attempt in (
        lambda: read_box(array, engine, *BOX),
        lambda: read_boxes(array, engine, [(0, 0, 0), (9, 9, 9)], (4, 4, 4)),
        lambda: write_box(array, engine, (1, 1, 1), np.ones((1, 2, 2, 2), np.uint8)),
        lambda: boxes_are_equal(array, array, engine, ((0, 0, 0), (0, 0, 0)), (4, 4, 4)),
    ):
        with pytest.raises(TooLargeError, match=names_it):
            attempt()
    assert path.read_bytes() == b"noise" * 100


def test_a_chunk_that_the_device_does_not_hold(make, device, monkeypatch):
    array = make(PLAIN)
    write_box(array, get_engine("cpu"), (0, 0, 0), np.ones((1, 16, 16, 16), np.uint16))
    engine = get_engine(device)
    monkeypatch.setattr(host_memory, "LARGE_BYTES", 1024)
    monkeypatch.setattr(host_memory, "available_bytes", lambda: 100)
    if engine.name != "cpu":
        monkeypatch.setattr(type(engine.device), "free_bytes", lambda self: 100)
    out = engine.xp.zeros((1, 4, 4, 4), np.uint16)
    with pytest.raises(TooLargeError, match=r"chunks of 0\.0 GiB from .*c/0/0/0/0"):
        transfer.read_box(array, engine, *BOX, out=out)
    with pytest.raises(TooLargeError, match=r"chunks of 0\.0 GiB for .*c/0/0/0/0"):
        transfer.write_box(array, engine, (0, 0, 0), np.ones((1, 2, 2, 2), np.uint16))


@pytest.mark.computes
def test_chunks_of_more_channels_than_there_are_take_little_memory(make, engine, monkeypatch):
    """All channels of some chunks are read at a time, of which the array keeps some."""
    array = make(replace(PLAIN, chunk=(6, 8, 8, 8), per_shard=None))
    data = np.arange(40 * 30 * 20, dtype=np.uint16).reshape(1, 40, 30, 20)
    write_box(array, engine, (0, 0, 0), data)
    monkeypatch.setattr(transfer, "LARGE_BYTES", 6 * 2 * 8**3)
    shapes, empty = [], type(engine).empty

    def remember(self, shape, dtype):
        shapes.append(shape)
        return empty(self, shape, dtype)

    monkeypatch.setattr(type(engine), "empty", remember)
    monkeypatch.setattr(type(engine), "check_room", lambda *_: None)
    boxes = [(0, 0, 0), (3, 4, 5)]
    found = read_boxes(array, engine, boxes, (30, 21, 15))
    for (x, y, z), box in zip(boxes, found, strict=True):
        np.testing.assert_array_equal(box, data[:, x : x + 30, y : y + 21, z : z + 15])
    assert len(shapes) > 20
    assert max(np.prod(shape) for shape in shapes[1:]) <= 6 * 8**3


def test_channels_in_a_chunk_that_no_memory_holds(make):
    array = make(replace(PLAIN, chunk=(1 << 40, 8, 8, 8), per_shard=None))
    engine = get_engine("cpu")
    names_it = rf"\(4, 4, 4\) voxels of {array.path}, which has {1 << 40} channels in a chunk, needs"
    with pytest.raises(TooLargeError, match=names_it):
        read_box(array, engine, *BOX)
    with pytest.raises(TooLargeError, match=names_it):
        write_box(array, engine, (0, 0, 0), np.ones((1, 4, 4, 4), np.uint16))
