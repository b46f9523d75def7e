"""The reference library reads what wkgpu writes, and the other way around."""

import numpy as np
import pytest
from arrays import given_on_engine, read_box, write_box
from hypothesis import strategies as st
from reference import Volume
from strategies import layouts, voxel_boxes, voxels

from wkgpu.errors import WkgpuError
from wkgpu.storage.codecs import pipeline_of, word_of
from wkgpu.storage.formats import open_array
from wkgpu.storage.spec import ArraySpec

wkw = pytest.importorskip("wkw")

BLOCK_TYPES = {"raw": 1, "lz4": 2, "lz4hc": 3}


def peer_header(spec):
    return wkw.Header(
        spec.dtype.type,
        num_channels=spec.num_channels,
        block_len=spec.chunk_shape[0],
        file_len=spec.chunks_per_shard[0],
        block_type=BLOCK_TYPES[word_of(spec.codecs)],
    )


@st.composite
def stored(draw, is_small):
    spec = draw(layouts(16, 4, 1 << 12) if is_small else layouts(shard_bytes=1 << 17))
    longest = 20 if is_small else 48
    return spec, draw(voxel_boxes(spec, 2, longest)), draw(voxel_boxes(spec, 3, longest))


def whole_shards(spec, topleft, shape):
    """The smallest box of whole shards around a box: the reference library writes compressed files only whole."""
    edge = spec.shard_shape[0]
    begin = [corner // edge * edge for corner in topleft]
    end = [-(-(corner + length) // edge) * edge for corner, length in zip(topleft, shape, strict=True)]
    return begin, [last - first for first, last in zip(begin, end, strict=True)]


@given_on_engine(stored)
def test_what_wkw_writes_is_read(tmp_path_factory, engine, history):
    spec, (topleft, shape), (corner, read_shape) = history
    path = tmp_path_factory.mktemp("wkw") / "mag"
    volume = Volume(spec, [2 * length for length in spec.shard_shape])
    if word_of(spec.codecs) != "raw":
        topleft, shape = whole_shards(spec, topleft, shape)
    data = voxels(spec, shape, 3)
    volume.write(topleft, data)
    with wkw.Dataset.create(str(path), peer_header(spec)) as dataset:
        dataset.write(topleft, data)
    array = open_array(path)
    assert array.spec == spec
    np.testing.assert_array_equal(read_box(array, engine, corner, read_shape), volume.read(corner, read_shape))


@given_on_engine(stored, st.integers(0, 2))
def test_what_is_written_is_read_by_wkw(make_array, engine, history, seed):
    """Also after partial writes, which the reference library cannot do itself."""
    spec, (topleft, shape), second = history
    array = make_array(spec)
    volume = Volume(spec, [3 * length for length in spec.shard_shape])
    for number, (corner, extent) in enumerate(((topleft, shape), second)):
        data = voxels(spec, extent, seed + number)
        volume.write(corner, data)
        write_box(array, engine, corner, data)
    with wkw.Dataset.open(str(array.path)) as dataset:
        assert dataset.header.num_channels == spec.num_channels
        np.testing.assert_array_equal(dataset.read((0, 0, 0), volume.voxels.shape[1:]), volume.voxels)


@given_on_engine(stored)
def test_what_wkw_has_written_is_changed(tmp_path_factory, engine, history):
    spec, (topleft, shape), second = history
    path = tmp_path_factory.mktemp("wkw") / "mag"
    volume = Volume(spec, [3 * length for length in spec.shard_shape])
    topleft, shape = whole_shards(spec, topleft, shape)
    data = voxels(spec, shape, 3)
    with wkw.Dataset.create(str(path), peer_header(spec)) as dataset:
        dataset.write(topleft, data)
    volume.write(topleft, data)
    corner, extent = second
    change = voxels(spec, extent, 1)
    write_box(open_array(path), engine, corner, change)
    volume.write(corner, change)
    with wkw.Dataset.open(str(path)) as dataset:
        np.testing.assert_array_equal(dataset.read((0, 0, 0), volume.voxels.shape[1:]), volume.voxels)


@pytest.mark.parametrize("edge", [1, 2, 4, 8, 32])
@pytest.mark.parametrize("codec", BLOCK_TYPES)
def test_headers_are_the_same(tmp_path, codec, edge):
    from wkgpu.storage.formats import create_array

    spec = ArraySpec(np.dtype("uint16"), 3, (edge,) * 3, (32 // edge,) * 3, pipeline_of(codec))
    ours = create_array(tmp_path / "ours", spec).lock_file.read_bytes()
    wkw.Dataset.create(str(tmp_path / "theirs"), peer_header(spec)).close()
    assert ours == (tmp_path / "theirs" / "header.wkw").read_bytes()


def test_files_compressed_by_wkw_are_read(make_array, tmp_path, engine):
    array = make_array(ArraySpec(np.dtype("uint8"), 1, (8, 8, 8), (4, 4, 4), pipeline_of("raw")))
    data = voxels(array.spec, (40, 32, 20), 3)
    write_box(array, engine, (0, 0, 0), data)
    with wkw.Dataset.open(str(array.path)) as dataset:
        dataset.compress(str(tmp_path / "compressed"), compress_files=True).close()
    compressed = open_array(tmp_path / "compressed")
    assert word_of(compressed.spec.codecs) == "lz4hc"
    np.testing.assert_array_equal(read_box(compressed, engine, (0, 0, 0), (40, 32, 20)), data)


@pytest.mark.parametrize("codec", BLOCK_TYPES)
def test_where_one_sees_damage_the_other_does_not_crash(make_array, engine, codec):
    array = make_array(ArraySpec(np.dtype("uint8"), 1, (8, 8, 8), (2, 2, 2), pipeline_of(codec)))
    write_box(array, engine, (0, 0, 0), voxels(array.spec, (16, 16, 16), 3))
    shard = array.path / "z0" / "y0" / "x0.wkw"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(WkgpuError, match=str(shard)):
        read_box(array, engine, (0, 0, 0), (16, 16, 16))
    with wkw.Dataset.open(str(array.path)) as dataset, pytest.raises(wkw.wkw.WKWException):
        dataset.read((0, 0, 0), (16, 16, 16))
