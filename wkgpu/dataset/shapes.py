"""The spec of a mag that is made: from what a caller says about it, and from the mag that it is made of."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import numpy as np

from wkgpu.errors import ArgumentError, MismatchError, ShapeError
from wkgpu.geometry.vec3_int import Vec3Int, Vec3IntLike
from wkgpu.geometry.voxel_box import Triple
from wkgpu.storage.codecs import Compression as Compression
from wkgpu.storage.codecs import pipeline_of, word_of
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
) -> ArraySpec:
    """Return the spec of a mag that is made of nothing; by default chunks of 32³ voxels, and 32³ of them in a shard.

    Parameters
    ----------
    chunk_shape, shard_shape : int or (x, y, z), optional
        In voxels of the mag. The shard shape is a multiple of the chunk shape.
    chunks_per_shard : int or (x, y, z), optional
        The other way to give the shard shape.

    Raises
    ------
    ArgumentError, ShapeError
        For two shard shapes, for one that is no multiple of the chunk shape, and for shapes below 1.

    Examples
    --------
    >>> new_spec(np.dtype("uint8"), 1, None, 256, None, True).chunks_per_shard
    (8, 8, 8)
    """
    spec = ArraySpec(dtype, num_channels, DEFAULT_CHUNK_SHAPE, DEFAULT_CHUNKS_PER_SHARD, ())
    return recut_spec(spec, chunk_shape, shard_shape, chunks_per_shard, compress)


def recut_spec(
    found: ArraySpec,
    chunk_shape: Shape | None,
    shard_shape: Shape | None,
    chunks_per_shard: Shape | None,
    compress: Compression,
) -> ArraySpec:
    """Return the spec of a mag made of another one, with the shapes of a new mag; all else stays.

    Parameters and errors are those of `new_spec`.
    """
    if shard_shape is None and chunks_per_shard is None:
        chunks_per_shard = DEFAULT_CHUNKS_PER_SHARD
    chunk_shape = DEFAULT_CHUNK_SHAPE if chunk_shape is None else chunk_shape
    return changed_spec(found, chunk_shape, shard_shape, chunks_per_shard, compress)


def changed_spec(
    found: ArraySpec,
    chunk_shape: Shape | None = None,
    shard_shape: Shape | None = None,
    chunks_per_shard: Shape | None = None,
    compress: Compression | None = None,
) -> ArraySpec:
    """Return the spec of a mag made of another one: what is not given stays, and so does what cannot be given.

    Raises
    ------
    ArgumentError, ShapeError
        As from `new_spec`.

    Examples
    --------
    >>> found = ArraySpec(np.dtype("uint8"), 1, (9, 7, 5), (2, 2, 2), (), fill_value=7)
    >>> changed = changed_spec(found, chunk_shape=(9, 7, 10))
    >>> changed.shard_shape, changed.fill_value
    ((18, 14, 10), 7)
    """
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
    codecs = found.codecs if compress is None else pipeline_of(compress)
    return replace(found, chunk_shape=chunk, chunks_per_shard=per_shard, codecs=codecs)


def check_existing_spec(
    spec: ArraySpec,
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
    fits = bool(spec.codecs) if compress is True else spec.codecs == pipeline_of(compress)
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
