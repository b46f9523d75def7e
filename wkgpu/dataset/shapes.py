"""The spec of a mag that is made: from what a caller says about it, and from the mag that it is made of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from wkgpu.errors import ArgumentError, MismatchError, ShapeError, UnsupportedError
from wkgpu.geometry.vec3_int import Vec3Int, Vec3IntLike
from wkgpu.geometry.voxel_box import Triple
from wkgpu.storage.codecs import Compression as Compression
from wkgpu.storage.codecs import word_of
from wkgpu.storage.formats import adapted_spec, pipeline_of
from wkgpu.storage.spec import ArraySpec

Shape: TypeAlias = "Vec3IntLike | int"

DEFAULT_CHUNK_SHAPE: Triple = (32, 32, 32)
DEFAULT_CHUNKS_PER_SHARD: Triple = (32, 32, 32)


def new_spec(
    dtype: np.dtype[np.generic],
    num_channels: int,
    chunk_shape: Shape | None,
    shard_shape: Shape | None,
    chunks_per_shard: Shape | None,
    compress: Compression,
    data_format: str,
) -> ArraySpec:
    """Return the spec of a mag that is made of nothing; by default chunks of 32³ voxels, and 32³ of them in a shard.

    Parameters
    ----------
    chunk_shape, shard_shape : int or (x, y, z), optional
        In voxels of the mag. The shard shape is a multiple of the chunk shape.
    chunks_per_shard : int or (x, y, z), optional
        The other way to give the shard shape.
    compress : bool, str or tuple of Codec
        As the format understands it.
    data_format : str
        Of the mag.

    Raises
    ------
    ArgumentError, ShapeError, UnsupportedError
        For two shard shapes, for one that is no multiple of the chunk shape, for shapes below 1, and for codecs that
        the format lacks.

    Examples
    --------
    >>> new_spec(np.dtype("uint8"), 1, None, 256, None, True, "wkw").chunks_per_shard
    (8, 8, 8)
    """
    spec = adapted_spec(ArraySpec(dtype, num_channels, DEFAULT_CHUNK_SHAPE, DEFAULT_CHUNKS_PER_SHARD, ()), data_format)
    return recut_spec(spec, data_format, chunk_shape, shard_shape, chunks_per_shard, compress, data_format)


def recut_spec(
    found: ArraySpec,
    found_format: str,
    chunk_shape: Shape | None,
    shard_shape: Shape | None,
    chunks_per_shard: Shape | None,
    compress: Compression,
    data_format: str,
) -> ArraySpec:
    """Return the spec of a mag made of another one, of any format, with the shapes of a new mag; all else stays.

    Parameters and errors are those of `new_spec`.
    """
    if shard_shape is None and chunks_per_shard is None:
        chunks_per_shard = DEFAULT_CHUNKS_PER_SHARD
    chunk_shape = DEFAULT_CHUNK_SHAPE if chunk_shape is None else chunk_shape
    return changed_spec(found, found_format, chunk_shape, shard_shape, chunks_per_shard, compress, data_format)


def changed_spec(
    found: ArraySpec,
    found_format: str,
    chunk_shape: Shape | None = None,
    shard_shape: Shape | None = None,
    chunks_per_shard: Shape | None = None,
    compress: Compression | None = None,
    data_format: str | None = None,
) -> ArraySpec:
    """Return the spec of a mag made of another one: what is not given stays, and so does what cannot be given.

    In another format it is what that has for the same: a codec of the same word, or else the one it compresses with.

    Raises
    ------
    ArgumentError, ShapeError, UnsupportedError
        As from `new_spec`.

    Examples
    --------
    >>> found = ArraySpec(np.dtype("uint8"), 1, (8, 8, 8), (2, 2, 2), (), axis_order=(2, 1, 0))
    >>> changed = changed_spec(found, "wkw", chunk_shape=16)
    >>> changed.shard_shape, changed.axis_order
    ((16, 16, 16), (2, 1, 0))
    """
    data_format = found_format if data_format is None else data_format
    chunk = found.chunk_shape if chunk_shape is None else _positive("chunk_shape", chunk_shape)
    if shard_shape is not None and chunks_per_shard is not None:
        raise ArgumentError(
            f"shard_shape={shard_shape} and chunks_per_shard={chunks_per_shard} say the same; give shard_shape alone."
        )
    if chunks_per_shard is None:
        per_shard = _quotient(
            found.shard_shape if shard_shape is None else _positive("shard_shape", shard_shape), chunk
        )
    else:
        per_shard = _positive("chunks_per_shard", chunks_per_shard)
    if compress is None or compress == found.codecs:
        compress = _as_it_is(found, found_format, data_format)
    cut = replace(found.of_new_array, chunk_shape=chunk, chunks_per_shard=per_shard)
    spec = cut if data_format == found_format else adapted_spec(cut, data_format)
    return spec.encoded_as(pipeline_of(compress, data_format, spec.chunk_bytes))


def _as_it_is(found: ArraySpec, found_format: str, data_format: str) -> Compression:
    """Return what to give as ``compress`` so that chunks of another shape, or of another format, are encoded alike."""
    word: Any = word_of(found.codecs)
    if found_format != data_format:
        return word if _is_known(word, data_format) else True
    is_by_word = _is_known(word, data_format) and pipeline_of(word, data_format, found.chunk_bytes) == found.codecs
    return word if is_by_word else found.codecs


def _is_known(word: Any, data_format: str) -> bool:
    try:
        pipeline_of(word, data_format, 1)
    except (ArgumentError, UnsupportedError):
        return False
    return True


def check_existing_spec(
    spec: ArraySpec,
    data_format: str,
    chunk_shape: Shape | None,
    shard_shape: Shape | None,
    chunks_per_shard: Shape | None,
    compress: Compression | None,
) -> None:
    """Check that an existing mag has the spec that was asked for, as far as anything was.

    Raises
    ------
    MismatchError
        Naming both values.
    """
    asked = {
        "chunk_shape": (chunk_shape, spec.chunk_shape),
        "shard_shape": (shard_shape, spec.shard_shape),
        "chunks_per_shard": (chunks_per_shard, spec.chunks_per_shard),
    }
    for name, (wanted, found) in asked.items():
        if wanted is not None and _positive(name, wanted) != found:
            raise MismatchError(
                f"The mag exists with {name}={found}, not {wanted}. Leave out {name}, or use its value."
            )
    if compress is None:
        return
    fits = (
        bool(spec.codecs) if compress is True else spec.codecs == pipeline_of(compress, data_format, spec.chunk_bytes)
    )
    if not fits:
        raise MismatchError(
            f"The mag exists with compress={word_of(spec.codecs)!r}, not {compress!r}. Leave out compress."
        )


def _positive(name: str, shape: Shape) -> Triple:
    try:
        found = Vec3Int.from_vec_or_int(shape).to_tuple()
    except (TypeError, ValueError, AssertionError) as error:
        raise ShapeError(f"{name} is {shape!r}; give one length or three, (x, y, z), in whole voxels.") from error
    if min(found) < 1:
        raise ShapeError(f"{name} is {found}; each length must be at least 1.")
    return found


def _quotient(shard: Triple, chunk: Triple) -> Triple:
    (sx, sy, sz), (cx, cy, cz) = shard, chunk
    if sx % cx or sy % cy or sz % cz:
        raise ShapeError(f"shard_shape {shard} must be a multiple of chunk_shape {chunk}; change one of them.")
    return sx // cx, sy // cy, sz // cz
