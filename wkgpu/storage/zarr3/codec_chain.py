"""The codecs of a Zarr array: what is done by the placement of voxels, and what by a pipeline of codecs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wkgpu.errors import HeaderError, UnsupportedError
from wkgpu.storage.codecs import Codec, Pipeline, codec_named
from wkgpu.storage.zarr3.shard_table import ShardTable

_SHUFFLES = ("noshuffle", "shuffle", "bitshuffle")
_NAMES = {
    **{name: name for name in ("zstd", "blosc", "gzip", "crc32c", "numcodecs.zlib", "numcodecs.lz4")},
    "numcodecs.zstd": "zstd",
    "numcodecs.gzip": "gzip",
    "numcodecs.blosc": "blosc",
}
"""What the codecs of Zarr that make bytes of bytes are called here."""


@dataclass(frozen=True)
class CodecChain:
    """The codecs of a chunk.

    Parameters
    ----------
    chunk_shape : tuple of int
        Of a chunk, in Zarr's axes.
    table : ShardTable or None
        The index of shards; None where a file is a chunk.
    is_big_endian : bool
        Byte order in a chunk.
    order : tuple of int
        The axes as they lie in a chunk, the slowest first.
    codecs : tuple of Codec
        From bytes to bytes.
    """

    chunk_shape: tuple[int, ...]
    table: ShardTable | None
    is_big_endian: bool
    order: tuple[int, ...]
    codecs: Pipeline

    @classmethod
    def of(cls, said: Sequence[Any], shape: tuple[int, ...], data_type: Any, fill_value: Any, path: str) -> CodecChain:
        """Read the codecs of an array whose files have a shape; zarr has checked them.

        What is not known here becomes one codec that zarr decodes.

        Raises
        ------
        UnsupportedError
            For shards in shards, and shards whose index is encoded.
        HeaderError
            For a shard that is not made of whole chunks, or does not say its codecs.
        """
        chain = [_named(codec) for codec in said]
        table = None
        if [name for name, _ in chain] == ["sharding_indexed"]:
            ((_, sharding),) = chain
            if "codecs" not in sharding:  # zarr takes its own default for what has to be there
                raise HeaderError(f"{path}: sharding_indexed has no codecs.")
            table, inner = _shard_table(sharding, path), tuple(sharding["chunk_shape"])
            if len(inner) != len(shape) or any(n % m for n, m in zip(shape, inner, strict=True)):
                raise HeaderError(f"{path}: chunks of {inner} do not fill shards of {shape}.")
            shape, chain = inner, [_named(codec) for codec in sharding["codecs"]]
        _refuse_nested(chain, path, is_inside=table is not None)
        order, is_big_endian, codecs = _known(chain, len(shape)) or (
            tuple(range(len(shape))), False, (_of_zarr(chain, shape, data_type, fill_value),)
        )  # fmt: skip
        return cls(shape, table, is_big_endian, order, codecs)

    def described(self, itemsize: int) -> list[dict[str, Any]]:
        """Return the codecs as ``zarr.json`` has them."""
        inner: list[dict[str, Any]] = []
        if self.order != tuple(range(len(self.order))):
            inner.append({"name": "transpose", "configuration": {"order": list(self.order)}})
        endian = {"configuration": {"endian": "big" if self.is_big_endian else "little"}} if itemsize > 1 else {}
        inner.append({"name": "bytes", **endian})
        inner += [_described(codec) for codec in self.codecs]
        if self.table is None:
            return inner
        numbers = {"name": "bytes", "configuration": {"endian": self.table.endian}}
        checksum = [{"name": "crc32c"}] if self.table.has_checksum else []
        configuration = {
            "chunk_shape": list(self.chunk_shape),
            "codecs": inner,
            "index_codecs": [numbers, *checksum],
            "index_location": self.table.location,
        }
        return [{"name": "sharding_indexed", "configuration": configuration}]


def _named(said: Any) -> tuple[str, dict[str, Any]]:
    """Return the name and the configuration of a codec; one without configuration may be its name alone."""
    if isinstance(said, str):
        return said, {}
    return said["name"], dict(said.get("configuration") or {})


def _shard_table(sharding: dict[str, Any], path: str) -> ShardTable:
    chain = [_named(codec) for codec in sharding.get("index_codecs", ())]
    names = [name for name, _ in chain]
    if names not in (["bytes"], ["bytes", "crc32c"]):
        raise UnsupportedError(f"{path}: index_codecs are {names}; wkgpu reads 'bytes' and 'crc32c'.")
    return ShardTable(
        sharding.get("index_location", "end"), chain[0][1].get("endian", "little"), names[1:] == ["crc32c"]
    )


def _refuse_nested(chain: Sequence[tuple[str, dict[str, Any]]], path: str, *, is_inside: bool) -> None:
    for name, configuration in chain:
        if name == "sharding_indexed":
            if is_inside:
                raise UnsupportedError(
                    f"{path}: has shards in shards (nested sharding_indexed), which wkgpu does not read."
                )
            _refuse_nested([_named(codec) for codec in configuration.get("codecs", ())], path, is_inside=True)


def _known(chain: Sequence[tuple[str, dict[str, Any]]], ndim: int) -> tuple[tuple[int, ...], bool, Pipeline] | None:
    """Return order, byte order and pipeline of a chain of known codecs."""
    order = tuple(range(ndim))
    names = [name for name, _ in chain]
    if "bytes" not in names:
        return None
    serializer = names.index("bytes")
    for name, configuration in chain[:serializer]:
        if name != "transpose":
            return None
        order = tuple(order[axis] for axis in configuration["order"])
    codecs = [_codec(name, configuration) for name, configuration in chain[serializer + 1 :]]
    if None in codecs:
        return None
    is_big_endian = chain[serializer][1].get("endian", "little") == "big"
    return order, is_big_endian, tuple(codec for codec in codecs if codec is not None)


def _codec(name: str, configuration: dict[str, Any]) -> Codec | None:
    """Return a codec that makes bytes of bytes, if it is known."""
    if name not in _NAMES:
        return None
    known = codec_named(_NAMES[name])
    parameters = {key: value for key, value in configuration.items() if value is not None}
    if known.name == "blosc" and isinstance(parameters.get("shuffle"), int):
        number = parameters["shuffle"]
        if number not in range(3):  # as -1 for one that depends on the dtype
            return None
        parameters["shuffle"] = _SHUFFLES[number]
    if known.name == "zstd":
        parameters.setdefault("checksum", False)  # Zarr's default, which is not that of WEBKNOSSOS
    try:
        return codec_named(known.name, **parameters)
    except UnsupportedError:
        return None


def _described(codec: Codec) -> dict[str, Any]:
    if codec.name not in _NAMES:
        raise UnsupportedError(
            f"Zarr 3 arrays cannot be made with chunks stored as {codec.name!r}; use compress=True (zstd), 'lz4', "
            "'lz4hc' or False (raw)."
        )
    configuration = dict(codec.parameters)
    return {"name": codec.name, **({"configuration": configuration} if configuration else {})}


def _of_zarr(
    chain: Sequence[tuple[str, dict[str, Any]]], shape: tuple[int, ...], data_type: Any, fill_value: Any
) -> Codec:
    """Return the codec of chunks that zarr decodes, to bytes in C order."""
    said = [{"name": name, **({"configuration": found} if found else {})} for name, found in chain]
    return Codec(
        "zarr",
        _unknown_bound,
        (
            ("codecs", json.dumps(said)),
            ("dtype", str(data_type)),
            ("shape", ",".join(map(str, shape))),
            ("fill_value", json.dumps(fill_value)),
        ),
    )


def _unknown_bound(nbytes: int) -> int:
    """What a codec may make of bytes of which nothing is known."""
    return 2 * nbytes + (64 << 10)
