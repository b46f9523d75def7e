"""A file format for tests alone: any spec, with an index behind the chunks that can say that one is absent."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

from wkgpu.storage.shard_file import open_shard
from wkgpu.storage.shard_folder import identity_of
from wkgpu.storage.shard_index import TableIndex
from wkgpu.storage.spec import AbsentChunks
from wkgpu.storage.stored_array import StoredArray

HEADER = b"indexed\0"


class IndexedArray(StoredArray):
    """A folder with ``spec.pickle`` and shards ``X.Y.Z``."""

    data_format = "indexed"
    absent = AbsentChunks.OMITTED

    @classmethod
    def open(cls, path: Path) -> IndexedArray:
        file = path / "spec.pickle"
        spec, absent = pickle.loads(file.read_bytes())
        array = cls(path, spec, identity_of(file.stat()))
        array.absent = absent
        return array

    @classmethod
    def create(cls, path: Path, spec, absent=AbsentChunks.OMITTED) -> IndexedArray:
        path.mkdir()
        (path / "spec.pickle").write_bytes(pickle.dumps((spec, absent)))
        return cls.open(path)

    @classmethod
    def check_spec(cls, spec) -> None:
        pass

    def is_shard(self, path: str) -> bool:
        return path.replace(".", "").isdigit()

    @property
    def lock_file(self) -> Path:
        return self.path / "spec.pickle"

    def shard_path(self, shard) -> str:
        return str(self.path / ".".join(map(str, shard)))

    def existing_shards(self, box=None):
        found = [tuple(map(int, file.name.split("."))) for file in self.path.glob("[0-9]*")]
        return sorted(found, key=lambda shard: shard[::-1])

    def open_shard(self, shard):
        return open_shard(self.shard_path(shard), self._read_index)

    def _read_index(self, descriptor, nbytes, path):
        data = Path(path).read_bytes()
        offset, nbytes = np.frombuffer(data[-16 * self.spec.chunks_in_shard :], np.int64).reshape(2, -1)
        return TableIndex(offset, offset + nbytes, self.spec.codecs)

    @property
    def ordinal_strides(self):
        _, y, z = self.spec.chunks_per_shard
        return y * z, z, 1

    def shard_codecs(self, shard):
        return self.spec.codecs if Path(self.shard_path(shard)).exists() else None

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
