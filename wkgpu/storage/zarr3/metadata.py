"""``zarr.json`` of an array, through the classes of the zarr package."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from zarr.core.buffer import default_buffer_prototype
from zarr.core.metadata.v3 import ArrayV3Metadata

from wkgpu.errors import DtypeError, HeaderError, ShapeError, UnsupportedError
from wkgpu.geometry.voxel_box import Triple, triple
from wkgpu.storage.codecs import Pipeline
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.zarr3.axes import Axes
from wkgpu.storage.zarr3.chunk_keys import ChunkKeys
from wkgpu.storage.zarr3.codec_chain import CodecChain
from wkgpu.storage.zarr3.json_text import members, with_members
from wkgpu.storage.zarr3.shard_table import ShardTable

MAX_BYTES = 16 << 20  # of a zarr.json, whose attributes may hold anything
_MAX_SHARD_ELEMENTS = 1 << 56  # so that numbers of bytes fit into 63 bits
_MAX_TABLE_BYTES = 1 << 30  # of the index of a shard
_DEFAULT_NAMES = ("c", "x", "y", "z")


@dataclass(frozen=True)
class ZarrMetadata:
    """What ``zarr.json`` says of an array. Lengths are those of Zarr's axes, in their order.

    Parameters
    ----------
    shape, shard_shape, chunk_shape : tuple of int
        Of an array without shards, a file is a shard of one chunk.
    table : ShardTable or None
        How shards say where their chunks are; None for an array without shards.
    dtype : numpy.dtype
        In the byte order of the files.
    fill_value : NumPy scalar
    order : tuple of int
        The axes as they lie in a chunk, the slowest first.
    codecs : tuple of Codec
        Of a chunk, from its bytes on.
    """

    shape: tuple[int, ...]
    shard_shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    axes: Axes
    table: ShardTable | None
    dtype: np.dtype[np.generic]
    fill_value: Any
    order: tuple[int, ...]
    codecs: Pipeline
    keys: ChunkKeys

    @classmethod
    def parse(cls, data: bytes, path: str) -> ZarrMetadata:
        """Read ``zarr.json``.

        Raises
        ------
        HeaderError
            If it is damaged.
        UnsupportedError, DtypeError
            If it is that of a group, or of an array that wkgpu does not read.
        """
        said = _document(data, path)
        metadata = _checked(said, path)
        shape, outer = tuple(metadata.shape), _chunk_shape(said, path)
        if len(outer) != len(shape) or not all(type(length) is int and length >= 1 for length in outer):
            raise HeaderError(f"{path}: chunk_shape {outer} does not fit the shape {shape}.")
        if prod(outer) > _MAX_SHARD_ELEMENTS:
            raise UnsupportedError(f"{path}: chunk_shape {outer} has more elements than wkgpu can address.")
        dtype = metadata.data_type.to_native_dtype()
        chain = CodecChain.of(said["codecs"], outer, said["data_type"], said["fill_value"], path)
        return cls(
            shape, outer, chain.chunk_shape, Axes.of(said.get("dimension_names"), len(shape), path), chain.table,
            dtype.newbyteorder(">" if chain.is_big_endian else "<"), metadata.fill_value, chain.order, chain.codecs,
            ChunkKeys.of(said.get("chunk_key_encoding"), path),
        )._checked(path)  # fmt: skip

    def _checked(self, path: str) -> ZarrMetadata:
        """Refuse what an `ArraySpec` cannot say."""
        if self._length(self.shape, self.axes.channel) < 1:
            raise UnsupportedError(f"{path}: the shape {self.shape} has no channels, so that there are no voxels.")
        try:
            self.spec  # noqa: B018 - its errors
        except (DtypeError, ShapeError, UnsupportedError) as error:
            raise type(error)(f"{path}: {error}") from error
        if self.table is not None and self.table.nbytes(self.spec.chunks_in_shard) > _MAX_TABLE_BYTES:
            raise UnsupportedError(
                f"{path}: shards of {self.shard_shape} have {self.spec.chunks_in_shard} chunks of {self.chunk_shape}; "
                "wkgpu reads an index whole, and of 1 GiB at most."
            )
        return self

    # ---- In the terms of wkgpu

    @property
    def spec(self) -> ArraySpec:
        """What is said of the whole array."""
        space = self.axes.space
        in_chunk = self._length(self.chunk_shape, self.axes.channel)
        channels = self._length(self.shape, self.axes.channel)
        others = prod(self.chunk_shape[axis] for axis in self.axes.others)
        per_shard = tuple(shard // chunk for shard, chunk in zip(self.shard_shape, self.chunk_shape, strict=True))
        parts = prod(per_shard[axis] for axis in self.axes.others)
        fastest = [axis for axis in reversed(self.order) if axis in space]
        order = [space.index(axis) for axis in fastest]
        order += [axis for axis in range(3) if axis not in order]  # those that the array does not have
        return ArraySpec(
            self.dtype, channels, self._in_space(self.chunk_shape), self._in_space(per_shard), self.codecs,
            self.fill_value, triple(order), self._channel_position() if others > 1 else 0,
            None if in_chunk == channels == others else others, parts,
        )  # fmt: skip

    @property
    def extent(self) -> Triple:
        """Voxels along x, y and z."""
        return self._in_space(self.shape)

    def _in_space(self, lengths: Sequence[int]) -> Triple:
        return triple(self._length(lengths, axis) for axis in self.axes.space)

    @staticmethod
    def _length(lengths: Sequence[int], axis: int | None) -> int:
        return 1 if axis is None else lengths[axis]

    def _channel_position(self) -> int:
        """How many of x, y and z are faster in a chunk than the channels, and all other axes with several coordinates.

        Raises
        ------
        UnsupportedError
            If an axis of space lies between them.
        """
        inner = [axis for axis in self.order if self.chunk_shape[axis] > 1]
        others = [number for number, axis in enumerate(inner) if axis not in self.axes.space]
        if others != list(range(others[0], others[-1] + 1)):
            names = [self.axes.names[axis] for axis in inner]
            raise UnsupportedError(
                f"the axes of a chunk, the slowest first, are {names}; those besides x, y and z have to be neighbours."
            )
        faster = self.order[self.order.index(inner[others[-1]]) + 1 :]
        return sum(axis in self.axes.space for axis in faster)

    def ordinal_stride(self, axis: int) -> int:
        """By which the position in a shard's index grows from one chunk along an axis to the next one."""
        lengths = zip(self.shard_shape[axis + 1 :], self.chunk_shape[axis + 1 :], strict=True)
        return prod(shard // chunk for shard, chunk in lengths)

    def channels_in_chunk(self, channels: int, coordinate: Callable[[int], int]) -> slice:
        """Return where the first channels of a chunk are, among all its coordinates besides x, y and z.

        Parameters
        ----------
        coordinate : callable
            Returns that of the chunk's part which is meant, along an axis besides channels, x, y and z.
        """
        begin, step, factor = 0, 1, 1
        for axis in reversed(self.order):
            if axis not in self.axes.others:
                continue
            if axis == self.axes.channel:
                step = factor
            else:
                begin += coordinate(axis) % self.chunk_shape[axis] * factor
            factor *= self.chunk_shape[axis]
        return slice(begin, begin + (channels - 1) * step + 1, step)

    # ---- New and changed metadata

    def has_room(self, end: Triple, extra_axes: Sequence[tuple[str, int]], path: Path) -> bool:
        """Whether the array has all voxels up to an end ``(x, y, z)``, and up to others along extra axes.

        Raises
        ------
        ShapeError
            If it lacks an axis along which there are several.
        """
        own, wanted = self._axes_by_name, (*zip("xyz", end, strict=True), *extra_axes)
        for name, length in wanted:
            if name not in own and length > 1:
                raise ShapeError(f"{path} has no axis {name!r}, along which {length} voxels would be needed.")
        return all(self.shape[own[name]] >= length for name, length in wanted if name in own)

    def resized(self, data: bytes, end: Triple, extra_axes: Sequence[tuple[str, int]]) -> bytes:
        """Return ``zarr.json`` with a shape that has room; along x, y and z it is rounded up to whole shards.

        Parameters
        ----------
        data : bytes
            The file that these metadata have been read from; all else in it stays as it is.
        end, extra_axes
            As for `has_room`.
        """
        own, shape = self._axes_by_name, list(self.shape)
        for name, length in (*zip("xyz", end, strict=True), *extra_axes):
            axis = own.get(name)
            if axis is not None and shape[axis] < length:
                edge = self.shard_shape[axis] if axis in self.axes.space else 1
                shape[axis] = -(-length // edge) * edge
        return with_members(data, {"shape": json.dumps(shape)})

    @property
    def _axes_by_name(self) -> dict[str, int]:
        """The axes along which the array can grow."""
        axes = self.axes
        space = {name: axis for name, axis in zip("xyz", axes.space, strict=True) if axis is not None}
        return space | {axes.names[axis]: axis for axis in axes.extra}


def new_metadata(
    spec: ArraySpec,
    extent: Triple,
    axes: Sequence[str] = _DEFAULT_NAMES,
    extra_axes: Sequence[tuple[str, int]] = (),
) -> bytes:
    """Return ``zarr.json`` of a new array in shards, as WEBKNOSSOS makes them: with one coordinate in a shard.

    Parameters
    ----------
    extent : tuple of int
        Voxels ``(x, y, z)``.
    axes : sequence of str
        "x", "y" and "z" in any order, "c", which may be missing where there is one channel, and the extra axes.
    extra_axes : sequence of (str, int)
        Names and lengths of all others.
    """
    channels, more = spec.num_channels, dict(extra_axes)
    names = [name for name in axes if name in _DEFAULT_NAMES or name in more]
    if not {"x", "y", "z", *more} <= {*names} or (channels > 1 and "c" not in names):
        raise UnsupportedError(
            f"A new Zarr array has the axes {[*_DEFAULT_NAMES, *more]}, in any order, not {list(axes)}."
        )

    def along_axes(lengths: Sequence[int], elsewhere: Mapping[str, int]) -> tuple[int, ...]:
        found = {**elsewhere, **dict(zip("cxyz", (channels, *lengths), strict=True))}
        return tuple(found[name] for name in names)

    ones = dict.fromkeys(more, 1)
    chain = CodecChain(
        along_axes(spec.chunk_shape, ones), ShardTable(), spec.dtype.str.startswith(">"),
        tuple(reversed(_fastest_first(spec, names))), spec.codecs,
    )  # fmt: skip
    said = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(along_axes(extent, more)),
        "data_type": spec.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(along_axes(spec.shard_shape, ones))}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": _json_of(np.frombuffer(spec.memory_fill_bytes, spec.memory_dtype)[0]),
        "codecs": chain.described(spec.dtype.itemsize),
        "dimension_names": names,
        "attributes": {},
    }
    metadata = _checked(said, "A new zarr.json")
    return metadata.to_buffer_dict(default_buffer_prototype())["zarr.json"].to_bytes()


def _fastest_first(spec: ArraySpec, names: Sequence[str]) -> list[int]:
    """Return the axes of a new array as they lie in a chunk, which has one coordinate along the extra ones."""
    fastest = [names.index("xyz"[axis]) for axis in spec.axis_order]
    if "c" in names:
        fastest.insert(spec.channel_position, names.index("c"))
    for axis, name in enumerate(names):
        if name not in _DEFAULT_NAMES:  # wherever it is, the voxels stay where they are
            fastest.insert(next(at for at, other in enumerate([*fastest, len(names)]) if other > axis), axis)
    return fastest


def with_further_keys(data: bytes, other: bytes) -> bytes:
    """Return ``zarr.json`` with the attributes of another one, and what that says besides the specification's keys."""
    known = members(data)
    kept = {name: value for name, value in members(other).items() if name not in known or name == "attributes"}
    return with_members(data, kept)


def _json_of(value: Any) -> Any:
    """Return a fill value as Zarr's JSON has it, with all its bits."""
    if value.dtype.kind == "c":
        return [_json_of(value.real), _json_of(value.imag)]
    if value.dtype.kind == "f" and not np.isfinite(value):
        return f"0x{np.array(value, value.dtype.newbyteorder('>')).tobytes().hex()}"
    return value.item()


# ---- JSON


def _document(data: bytes, path: str) -> dict[str, Any]:
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise HeaderError(f"{path} is no JSON: {error}. It is damaged; restore it.") from error
    if not isinstance(said, dict) or said.get("zarr_format") != 3:
        raise HeaderError(f"{path} is no metadata of Zarr 3.")
    if said.get("node_type") == "group":
        raise UnsupportedError(f"{path} is that of a Zarr group, not of an array; open one of the arrays in it.")
    return said


def _checked(said: dict[str, Any], path: str) -> ArrayV3Metadata:
    """Let zarr read metadata, which it also checks."""
    if said.get("storage_transformers"):
        raise UnsupportedError(f"{path}: has storage_transformers, which wkgpu does not know.")
    try:
        return ArrayV3Metadata.from_dict(dict(said))
    except Exception as error:  # of many classes
        text = f"{path}: {type(error).__name__}: {error}"
        if "codec" in text.lower() and "unknown" in text.lower():
            raise UnsupportedError(f"{text} Install the package that has the codec.") from error
        raise HeaderError(f"{text} It is damaged, or written by a newer version of Zarr.") from error


def _chunk_shape(said: Mapping[str, Any], path: str) -> tuple[int, ...]:
    grid = said["chunk_grid"]
    if grid["name"] != "regular":
        raise UnsupportedError(f"{path}: chunk_grid is {grid['name']!r}; wkgpu reads regular grids.")
    return tuple(grid["configuration"]["chunk_shape"])
