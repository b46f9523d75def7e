"""What the words of ``compress`` arguments mean in Zarr 3."""

from __future__ import annotations

from wkgpu.storage.codecs import ZSTD, Compression, Pipeline, codec_named, pipeline_by_word


def zarr_pipeline(compress: Compression, chunk_bytes: int) -> Pipeline:
    """Return the pipeline that a ``compress`` argument asks for.

    True and "zstd" are what WEBKNOSSOS writes: zstd of level 5 with a checksum. "lz4" and "lz4hc" are Blosc, which
    every reader of Zarr knows, with one block a chunk: of several blocks, or with another typesize, of which the block
    is split, LZ4 decodes at half the speed.

    Parameters
    ----------
    compress : bool, str or tuple of Codec
        True, "zstd", "lz4", "lz4hc", False or "raw", or the pipeline itself.
    chunk_bytes : int
        Of a decoded chunk.

    Raises
    ------
    ArgumentError
        For anything else.

    Examples
    --------
    >>> zarr_pipeline(True, 32_768)
    (Codec(name='zstd', parameters=(('level', 5), ('checksum', True))),)
    >>> dict(zarr_pipeline("lz4", 32_768)[0].parameters)["blocksize"]
    32768
    """
    words: dict[str, Pipeline] = {
        "raw": (),
        "zstd": (ZSTD,),
        "lz4": (codec_named("blosc", cname="lz4", blocksize=chunk_bytes),),
        "lz4hc": (codec_named("blosc", cname="lz4hc", clevel=9, blocksize=chunk_bytes),),
    }
    return pipeline_by_word(compress, words, "zstd", "Zarr 3")
