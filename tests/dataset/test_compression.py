"""What ``compress`` arguments mean in each format, and what stays of a codec in other chunks and formats."""

import numpy as np
import pytest
from indexed_array import IndexedArray

import wkgpu as wk
from wkgpu.dataset.shapes import changed_spec
from wkgpu.errors import ArgumentError, MismatchError, UnsupportedError
from wkgpu.storage import formats
from wkgpu.storage.codecs import BLOSC, CRC32C, GZIP, LZ4, LZ4HC, ZSTD, codec_named, word_of
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.zarr3.compression import zarr_pipeline

OTHER = "n5"  # a name that properties files know, of a format that answers as Zarr 3 does


class ZarrWords(IndexedArray):
    data_format = OTHER

    @classmethod
    def pipeline_of(cls, compress, chunk_bytes):
        return zarr_pipeline(compress, chunk_bytes)


@pytest.fixture(autouse=True)
def registered_format():
    formats.register(formats.Format(OTHER, "indexed", "spec.pickle", lambda: ZarrWords))
    yield
    formats.unregister(OTHER)


def blosc(cname, blocksize, clevel=5):
    return (codec_named("blosc", cname=cname, clevel=clevel, shuffle="noshuffle", typesize=1, blocksize=blocksize),)


WORDS = {  # of a chunk of 16³ voxels of two bytes, in WKW and in Zarr
    True: ((LZ4,), (ZSTD,)),
    "lz4": ((LZ4,), blosc("lz4", 8192)),
    "lz4hc": ((LZ4HC,), blosc("lz4hc", 8192, 9)),
    "zstd": (None, (codec_named("zstd", level=5, checksum=True),)),
    False: ((), ()),
    "raw": ((), ()),
}


@pytest.mark.parametrize("word", WORDS)
def test_words(dataset, word):
    for data_format, pipeline in zip(("wkw", OTHER), WORDS[word], strict=True):
        layer = dataset.add_layer(f"layer-{data_format}", "color", dtype="uint16", data_format=data_format)
        shapes = {"chunk_shape": 16, "shard_shape": 32, "compress": word}
        if pipeline is None:
            with pytest.raises(UnsupportedError, match=r"WKW cannot store compress='zstd'; use True \(lz4\), 'lz4'"):
                layer.add_mag(1, **shapes)
            continue
        info = layer.add_mag(1, **shapes).info
        assert info.codecs == pipeline
        assert info.codec == {True: word_of(pipeline), False: "raw"}.get(word, word)
        assert layer.get_or_add_mag(1, **shapes).info == info
        with pytest.raises(MismatchError, match="Leave out compress"):
            layer.get_or_add_mag(1, compress="lz4" if word in (False, "raw") else False)


@pytest.mark.parametrize("word", ["gzip", 2, None, 1.0, [LZ4], (LZ4, 1)])
def test_what_means_nothing(word):
    for data_format in ("wkw", OTHER):
        with pytest.raises(ArgumentError, match=r"compress is .*; use True"):
            formats.pipeline_of(word, data_format, 100)
        assert formats.pipeline_of((GZIP,), data_format, 100) == (GZIP,)


def test_names_of_pipelines():
    shuffled = codec_named("blosc", shuffle="bitshuffle")
    pipelines = (), (LZ4HC,), (BLOSC,), (shuffled,), (codec_named("blosc", cname="zstd"),), (ZSTD, CRC32C)
    assert list(map(word_of, pipelines)) == ["raw", "lz4hc", "lz4", "blosc-lz4", "blosc-zstd", "zstd+crc32c"]


def test_codecs_in_other_chunks_and_formats():
    found = ArraySpec(np.dtype("uint16"), 1, (16,) * 3, (2,) * 3, blosc("lz4", 8192))
    assert changed_spec(found, OTHER, chunk_shape=8).codecs == blosc("lz4", 1024)
    assert changed_spec(found, OTHER, chunk_shape=8, compress=found.codecs).codecs == blosc("lz4", 1024)
    odd = found.encoded_as(blosc("lz4", 500))
    assert changed_spec(odd, OTHER, chunk_shape=8).codecs == odd.codecs  # which another library has chosen
    wanted = {
        (LZ4,): blosc("lz4", 8192), (LZ4HC,): blosc("lz4hc", 8192, 9), (): (),
    }  # fmt: skip
    for codecs, other in wanted.items():
        assert changed_spec(found.encoded_as(codecs), "wkw", data_format=OTHER).codecs == other
        assert changed_spec(found.encoded_as(other), OTHER, data_format="wkw").codecs == codecs
    for codecs in ((ZSTD,), (GZIP,), (codec_named("blosc", cname="zstd"),)):
        assert changed_spec(found.encoded_as(codecs), OTHER, data_format="wkw").codecs == (LZ4,)


def test_copies_in_another_format_keep_the_word(dataset, volume, tmp_path):
    for word in ("lz4hc", False):
        layer = dataset.add_layer(f"layer-{word}", "color")
        mag_view = layer.add_mag(1, chunk_shape=8, shard_shape=32, compress=word)
        mag_view.write(volume)
    back = wk.Dataset.open(dataset.path).copy_dataset(tmp_path / "copy", data_format="wkw", compress=True)
    assert [layer.get_mag(1).info.codec for layer in back.layers.values()] == ["lz4hc", "lz4"]
    with pytest.raises(UnsupportedError, match="WKW cannot store"):
        dataset.copy_dataset(tmp_path / "zstd", compress="zstd")
    assert not (tmp_path / "zstd").exists()
    with pytest.raises(UnsupportedError, match="WKW cannot store"):
        mag_view.compress(codec="zstd")
    raw = dataset.add_layer_as_copy(layer, "raw", data_format=OTHER)
    assert raw.get_mag(1).info.codecs == ()
    np.testing.assert_array_equal(raw.get_mag(1).read(), mag_view.read())
