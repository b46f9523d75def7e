"""A format that is registered from outside: a mag is a folder of ``.npy`` files, one for each chunk, in C order.

It differs from WKW in all that a spec can say: chunks of any shape, a fill value, an axis order, channels that lie
apart, and chunks that are not stored.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from wkgpu.errors import NotFoundError, UnsupportedError
from wkgpu.storage import formats
from wkgpu.storage.shard_index import UniformIndex
from wkgpu.storage.spec import AbsentChunks, ArraySpec
from wkgpu.storage.stored_array import StoredArray
from wkgpu.storage.stores.store import Location

FILL = 7
_NAME = re.compile(r"(\d+)\.(\d+)\.(\d+)\.npy")


class NpyArray(StoredArray):
    """A folder with ``array.json`` and chunks ``X.Y.Z.npy``, each an array ``(channel, x, y, z)``."""

    data_format = "npy"

    @classmethod
    def open(cls, location: Location) -> NpyArray:
        file = location / "array.json"
        found = location.store.read(file.key, 1000)
        if found is None:
            raise NotFoundError(f"{file} does not exist.")
        data, version = found
        said = json.loads(data)
        spec = npy_spec(np.dtype(said["dtype"]), said["channels"], tuple(said["chunk_shape"]))
        return cls(location, spec, version)

    @classmethod
    def create(cls, location: Location, spec: ArraySpec, extent=None, axes=None, extra_axes=()) -> NpyArray:
        cls.check_spec(spec)
        said = {"dtype": spec.dtype.str, "channels": spec.num_channels, "chunk_shape": spec.chunk_shape}
        location.store.write((location / "array.json").key, json.dumps(said).encode())
        return cls.open(location)

    @classmethod
    def check_spec(cls, spec: ArraySpec) -> None:
        if spec != npy_spec(spec.dtype, spec.num_channels, spec.chunk_shape):
            raise UnsupportedError(f"{spec} is no array of .npy files.")

    @classmethod
    def adapted_spec(cls, spec: ArraySpec) -> ArraySpec:
        return replace(spec, fill_value=FILL, axis_order=(2, 1, 0), channel_position=3)

    @property
    def lock_key(self) -> str:
        return (self.location / "array.json").key

    def shard_key(self, shard) -> str:
        return (self.location / f"{'.'.join(map(str, shard))}.npy").key

    @classmethod
    def is_shard(cls, path: str) -> bool:
        return _NAME.fullmatch(path) is not None

    def existing_shards(self, box=None):
        names = filter(None, (_NAME.fullmatch(name) for name, _ in self.location.store.entries(self.location.key)))
        found = [tuple(map(int, name.groups())) for name in names]
        if box is not None:
            corner, shape = (np.array(triple) for triple in box)
            edges = np.array(self.spec.shard_shape)
            first, last = corner // edges, (corner + shape - 1) // edges
            found = [shard for shard in found if (first <= shard).all() and (shard <= last).all()]
        return sorted(found, key=lambda shard: shard[::-1])

    def read_index(self, source):
        return UniformIndex(len(self._header), self.spec.chunk_bytes)

    @property
    def ordinal_strides(self):
        return 1, 1, 1

    def shard_codecs(self, shard):
        return () if self.location.store.exists(self.shard_key(shard)) else None

    def changes_in_place(self, codecs) -> bool:
        return False

    def absent_chunks(self, codecs):
        return AbsentChunks.OMITTED

    def data_offset(self, codecs) -> int:
        return len(self._header)

    def shard_header_and_footer(self, codecs, extents):
        return self._header, b""

    @property
    def _header(self) -> bytes:
        file = io.BytesIO()
        shape = (self.spec.num_channels, *self.spec.chunk_shape)
        said = {"descr": self.spec.dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, said)
        return file.getvalue()


def npy_spec(dtype, num_channels: int, chunk_shape) -> ArraySpec:
    """What is said of voxels in ``.npy`` files."""
    return ArraySpec(
        np.dtype(dtype), num_channels, chunk_shape, (1, 1, 1), (), FILL, axis_order=(2, 1, 0), channel_position=3
    )


@contextmanager
def registered(name: str = "npy") -> Iterator[None]:
    """Let wkgpu know the format for a ``with`` block; layers of datasets have it under a name that properties know."""
    kind = NpyArray if name == "npy" else type("NpyArray", (NpyArray,), {"data_format": name})
    formats.register(formats.Format(name, ".npy", "array.json", lambda: kind))
    try:
        yield
    finally:
        formats.unregister(name)
