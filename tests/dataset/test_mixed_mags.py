"""Mags in which raw and compressed shards are mixed, as users have them."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from arrays import is_simulated, on_device, on_host
from datasets import read
from hypothesis import given, settings
from hypothesis import strategies as st

import wkgpu as wk
from wkgpu.storage.codecs import word_of
from wkgpu.storage.wkw.header import WkwHeader

CODECS = ("raw", "lz4", "lz4hc")


def codecs_of(mag):
    """The codec of each file."""
    return {
        path.relative_to(mag.path).as_posix(): word_of(WkwHeader.parse(path.read_bytes()[:16]).spec.codecs)
        for path in sorted(mag.path.glob("z*/y*/x*.wkw"))
    }


def mix(mag, codecs):
    """Give some files other codecs, in turn, as if another program had written them."""
    for codec in set(codecs):
        copies = mag.path.parent / f"copies-{codec}"
        wk.open_mag(mag.path).rechunk(mag.info.chunk_shape, mag.info.shard_shape, compress=codec, target_path=copies)
        (copy,) = (header.parent for header in copies.rglob("header.wkw"))
        for number, name in enumerate(codecs_of(mag)):
            if codecs[number % len(codecs)] == codec:
                shutil.copy(copy / name, mag.path / name)
        shutil.rmtree(copies)


@pytest.fixture
def mixed(dataset, layer, volume):
    """Makes a mag whose header has a codec and whose eight files have these, in turn."""

    def make(codec, *codecs):
        mag = layer.add_mag(1, chunk_shape=8, shard_shape=32, compress="lz4" if codec is True else codec)
        mag.write(on_device(mag._engine, volume), absolute_offset=(4, 8, 12))
        mix(mag, codecs)
        return mag

    return make


def content(mag):
    return read(mag, absolute_bounding_box=wk.BoundingBox((0, 0, 0), (64, 64, 64)))


@pytest.fixture
def expected(volume):
    full = np.zeros((1, 64, 64, 64), "uint8")
    full[0, 4:44, 8:44, 12:44] = volume
    return full


@pytest.mark.covers("MagView.compress")
@pytest.mark.parametrize(
    ("codec", "codecs", "wanted", "result"),
    [
        (False, ["raw", "lz4"], True, "lz4"),
        ("lz4", ["raw", "lz4"], True, "lz4"),
        ("lz4hc", ["raw", "lz4", "lz4hc"], True, "lz4hc"),
        ("lz4hc", ["lz4", "lz4hc"], "lz4hc", "lz4hc"),
        ("lz4", ["lz4", "lz4hc"], "lz4", "lz4"),
        (False, ["lz4"], True, "lz4"),
        ("lz4", ["raw"], True, "lz4"),
    ],
)
def test_compress_unifies(mixed, expected, codec, codecs, wanted, result):
    mag = mixed(codec, *codecs)
    np.testing.assert_array_equal(content(mag), expected)
    assert set(codecs_of(mag).values()) == set(codecs)
    assert mag.info.compression_mode == (codec is not False)
    mag.compress(codec=wanted)
    assert set(codecs_of(mag).values()) == {result}
    assert mag.info.codec == result
    np.testing.assert_array_equal(content(mag), expected)


@pytest.mark.parametrize(
    ("codec", "codecs", "wanted"),
    [
        ("lz4", ["lz4"], True),
        ("lz4", ["lz4", "lz4hc"], True),
        ("lz4hc", ["lz4hc"], True),
        ("lz4hc", ["lz4hc"], "lz4hc"),
    ],
)
def test_nothing_is_rewritten_without_need(mixed, codec, codecs, wanted):
    mag = mixed(codec, *codecs)
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in mag.path.rglob("*.wkw")}
    mag.compress(codec=wanted)
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in mag.path.rglob("*.wkw")} == before


def test_rechunk_unifies_also_without_compression(mixed, expected):
    mag = mixed(False, "raw", "lz4")
    mag.rechunk(8, 32, compress=False)
    assert set(codecs_of(mag).values()) == {"raw"}
    np.testing.assert_array_equal(content(mag), expected)


def test_a_compressed_copy_has_one_codec(mixed, expected, tmp_path):
    mag = mixed("lz4", "raw", "lz4")
    mag.compress(tmp_path / "copy")
    copy = wk.Dataset.open(tmp_path / "copy").get_layer("color").get_mag(1)
    assert set(codecs_of(copy).values()) == {"lz4"}
    assert set(codecs_of(mag).values()) == {"raw", "lz4"}
    np.testing.assert_array_equal(content(copy), expected)


def test_what_else_is_done_with_a_mag(mixed, volume, expected, layer, dataset, device, tmp_path):
    mag = mixed("lz4", "raw", "lz4", "raw", "lz4hc")
    uniform = (
        wk.Dataset(tmp_path / "uniform", voxel_size=(1, 1, 1))
        .add_layer("color", "color")
        .add_mag(1, chunk_shape=8, shard_shape=32)
    )
    uniform.write(on_device(mag._engine, expected[0]))
    box = mag.bounding_box
    assert mag.content_is_equal(uniform.get_view(absolute_bounding_box=box))
    assert mag.min_max() == (volume.min(), volume.max())
    copy = dataset.copy_dataset(tmp_path / "copy").get_layer("color").get_mag(1)
    np.testing.assert_array_equal(content(copy), expected)
    corners = [(1, 2, 3), (30, 30, 30), (20, 4, 31)]
    views = mag.read_many([wk.BoundingBox(corner, (12, 12, 12)) for corner in corners])
    for found, (x, y, z) in zip(on_host(mag._engine, views), corners, strict=True):
        np.testing.assert_array_equal(found, expected[:, x : x + 12, y : y + 12, z : z + 12])
    if is_simulated(mag._engine):
        return
    layer.downsample(coarsest_mag=wk.Mag(2), sampling_mode="isotropic")
    twin = uniform._layer
    twin.bounding_box = layer.bounding_box
    twin.downsample(coarsest_mag=wk.Mag(2), sampling_mode="isotropic")
    assert layer.get_mag(2).content_is_equal(twin.get_mag(2))


@settings(max_examples=12)
@given(
    st.sampled_from(CODECS),
    st.lists(
        st.tuples(
            st.sampled_from(["write", "mix", "compress", "rechunk"]),
            *[st.integers(0, 40)] * 3,
            st.integers(1, 24),
            st.lists(st.sampled_from(CODECS), min_size=1, max_size=4),
        ),
        min_size=2,
        max_size=5,
    ),
)
def test_any_history(tmp_path_factory, codec, steps):
    """Of two objects that take turns, what one does is seen by the other, and by wkw."""
    wkw = pytest.importorskip("wkw")
    folder = tmp_path_factory.mktemp("mixed") / "dataset"
    compress = False if codec == "raw" else codec
    layer = wk.Dataset(folder, voxel_size=(1, 1, 1)).add_layer("color", "color", dtype="uint16")
    mag = layer.add_mag(1, chunk_shape=8, shard_shape=16, compress=compress).to("cpu")
    mags = [mag, wk.Dataset.open(folder).get_layer("color").get_mag(1).to("cpu")]
    expected = np.zeros((64, 64, 64), "uint16")
    for number, (kind, x, y, z, edge, codecs) in enumerate([("write", 3, 9, 11, 24, ["raw"]), *steps]):
        mag = mags[number % 2]
        if kind == "write":
            new = np.random.default_rng(number).integers(1, 60000, (edge,) * 3, "uint16")
            expected[x : x + edge, y : y + edge, z : z + edge] = new
            mag.write(new, absolute_offset=(x, y, z), allow_resize=True)
        elif kind == "mix":
            mix(mag, codecs)
        elif kind == "compress":
            mag.compress(codec=True if codecs[0] == "raw" else codecs[0])
            assert "raw" not in codecs_of(mag).values()
        else:
            mag.rechunk((4, 8, 16)[x % 3], 16 * (1 + y % 2), compress=codecs[0])
            assert set(codecs_of(mag).values()) == {codecs[0]}
        for reader in mags:
            found = reader.read(absolute_offset=(0, 0, 0), size=(64, 64, 64), allow_unaligned=True)
            np.testing.assert_array_equal(found[0], expected)
    with wkw.Dataset.open(str(mag.path)) as peer:
        np.testing.assert_array_equal(peer.read((0, 0, 0), (64, 64, 64))[0], expected)
