"""A file format for tests alone: any spec, with an index behind the chunks that can say that one is absent."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

from wkgpu.storage.shard_index import TableIndex
from wkgpu.storage.spec import AbsentChunks
from wkgpu.storage.stored_array import StoredArray
from wkgpu.storage.stores.store import Location

HEADER = b"indexed\0"


class IndexedArray(StoredArray):
    """A folder with ``spec.pickle`` and shards ``X.Y.Z``."""

    data_format = "indexed"
    absent = AbsentChunks.OMITTED

    @classmethod
    def open(cls, location: Location) -> IndexedArray:
        data, version = location.store.read((location / "spec.pickle").key, 1 << 20)
        spec, absent = pickle.loads(data)
        array = cls(location, spec, version)
        array.absent = absent
        return array

    @classmethod
    def create(cls, location: Location, spec, extent=None, axes=None, absent=AbsentChunks.OMITTED) -> IndexedArray:
        location.store.write((location / "spec.pickle").key, pickle.dumps((spec, absent)))
        return cls.open(location)

    @classmethod
    def check_spec(cls, spec) -> None:
        pass

    @classmethod
    def is_shard(cls, path: str) -> bool:
        return path.replace(".", "").isdigit()

    @property
    def lock_key(self) -> str:
        return (self.location / "spec.pickle").key

    def shard_key(self, shard) -> str:
        return (self.location / ".".join(map(str, shard))).key

    def existing_shards(self, box=None):
        names = [name for name, _ in self.location.store.entries(self.location.key) if name[0].isdigit()]
        found = [tuple(map(int, name.split("."))) for name in names]
        if box is not None:
            corner, shape = (np.array(triple) for triple in box)
            edges = np.array(self.spec.shard_shape)
            first, last = corner // edges, (corner + shape - 1) // edges
            found = [shard for shard in found if (first <= shard).all() and (shard <= last).all()]
        return sorted(found, key=lambda shard: shard[::-1])

    def read_index(self, source):
        nbytes = 16 * self.spec.chunks_in_shard
        offset, nbytes = np.frombuffer(source.read(source.nbytes - nbytes, nbytes), np.int64).reshape(2, -1)
        return TableIndex(offset, offset + nbytes, self.spec.codecs)

    @property
    def ordinal_strides(self):
        _, y, z = self.spec.chunks_per_shard
        return y * z, z, 1

    def shard_codecs(self, shard):
        return self.spec.codecs if self.location.store.exists(self.shard_key(shard)) else None

    def changes_in_place(self, codecs) -> bool:
        return False

    def absent_chunks(self, codecs):
        return self.absent

    def data_offset(self, codecs) -> int:
        return len(HEADER)

    def shard_header_and_footer(self, codecs, extents):
        return HEADER, np.stack(extents).tobytes()

    # ---- For tests

    def encoded(self, shard=(0, 0, 0)) -> list[bytes]:
        """The chunks of a shard as they are stored, by ordinal."""
        data = Path(self.shard_path(shard)).read_bytes()
        assert data.startswith(HEADER)
        table = np.frombuffer(data[-16 * self.spec.chunks_in_shard :], np.int64).reshape(2, -1)
        return [data[begin : begin + nbytes] for begin, nbytes in table.T.tolist()]

    def shuffle(self, shard=(0, 0, 0)) -> None:
        """Put the chunks of a shard in another order, with gaps."""
        chunks = self.encoded(shard)
        offset, data = np.zeros(len(chunks), np.int64), HEADER
        for number in np.random.default_rng(len(chunks)).permutation(len(chunks)):
            data += b"gap"
            offset[number] = len(data)
            data += chunks[number]
        nbytes = np.array([len(chunk) for chunk in chunks])
        Path(self.shard_path(shard)).write_bytes(data + np.stack([offset, nbytes]).tobytes())
