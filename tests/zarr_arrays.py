"""Zarr arrays of all kinds, made by zarr-python, and what is written to them in the axes of wkgpu."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr
from hypothesis import strategies as st
from zarr.codecs import (
    BloscCodec,
    BytesCodec,
    Crc32cCodec,
    GzipCodec,
    ShardingCodec,
    TransposeCodec,
    ZstdCodec,
)

DTYPES = ["uint8", "int16", "uint32", "float32", "float64", "bool", "float16", "complex64", "uint64"]
FILLS = {
    "u": [0, 7],
    "i": [0, -3],
    "f": [0.0, -0.0, 1.5, float("nan"), float("inf")],
    "b": [False, True],
    "c": [0j, 1 - 2j],
}
KEYS = [None, {"name": "default", "separator": "."}, {"name": "v2", "separator": "/"}, {"name": "v2"}]
COMPRESSORS = [
    (),
    (ZstdCodec(level=5, checksum=True),),
    (ZstdCodec(level=1), Crc32cCodec()),
    (GzipCodec(),),
    (BloscCodec(cname="lz4", shuffle="noshuffle", typesize=4),),
    (BloscCodec(cname="zstd", shuffle="bitshuffle", typesize=2),),
    (Crc32cCodec(),),
]
AXES = ["cxyz", "xyz", "zyx", "zyxc", "xcyz", "yx"]


@dataclass(frozen=True)
class ZarrCase:
    """A Zarr array: its axes, and lengths along these."""

    axes: str
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    per_shard: tuple[int, ...] | None
    dtype: str
    fill: object
    order: tuple[int, ...]
    endian: str
    keys: dict | None
    index: tuple[str, bool] = ("end", True)
    compressors: tuple = ()

    def create(self, path: Path):
        """Make the array."""
        inner = [*self._filters, BytesCodec(endian=self.endian), *self.compressors]
        options = {"serializer": inner[-1 - len(self.compressors)], "filters": inner[: len(self._filters)]}
        chunk = self.chunk
        if self.per_shard is not None:
            location, has_checksum = self.index
            index = [BytesCodec(endian=self.endian), *([Crc32cCodec()] if has_checksum else [])]
            sharding = ShardingCodec(chunk_shape=self.chunk, codecs=inner, index_codecs=index, index_location=location)
            chunk = tuple(n * m for n, m in zip(self.chunk, self.per_shard, strict=True))
            options = {"serializer": sharding, "filters": []}
        return zarr.create_array(
            store=str(path), shape=self.shape, chunks=chunk, dtype=self.dtype, fill_value=self.fill,
            dimension_names=list(self.axes), compressors=[] if self.per_shard is not None else list(self.compressors),
            **options, **({} if self.keys is None else {"chunk_key_encoding": self.keys}),
        )  # fmt: skip

    @property
    def _filters(self):
        return [] if self.order == tuple(range(len(self.axes))) else [TransposeCodec(order=self.order)]

    @property
    def channels(self) -> int:
        return self.shape[self.axes.index("c")] if "c" in self.axes else 1

    @property
    def extent(self) -> tuple[int, ...]:
        return tuple(self.shape[self.axes.index(axis)] if axis in self.axes else 1 for axis in "xyz")

    def as_voxels(self, data):
        """The data of the array as ``(channel, x, y, z)``."""
        voxels = data.transpose([self.axes.index(axis) for axis in "cxyz" if axis in self.axes])
        return voxels.reshape((data.shape[self.axes.index("c")] if "c" in self.axes else 1, *self._lengths(data)))

    def _lengths(self, data):
        return [data.shape[self.axes.index(axis)] if axis in self.axes else 1 for axis in "xyz"]


PLAIN = ZarrCase("cxyz", (1, 40, 30, 20), (1, 8, 8, 8), (1, 2, 2, 2), "uint16", 0, (3, 2, 1, 0), "little", None)


@st.composite
def zarr_cases(draw, compressors=COMPRESSORS, longest=9):
    """Arrays whose last chunks are mostly cut."""
    axes = draw(st.sampled_from(AXES))
    ndim = len(axes)
    dtype = draw(st.sampled_from(DTYPES))
    chunk = tuple(draw(st.integers(1, 3 if axis == "c" else longest)) for axis in axes)
    per_shard = draw(st.none() | st.tuples(*[st.integers(1, 2 if axis == "c" else 3) for axis in axes]))
    shape = tuple(draw(st.integers(1, 4 if axis == "c" else 21)) for axis in axes)
    order = tuple(draw(st.permutations(range(ndim))))
    return ZarrCase(
        axes, shape, chunk, per_shard, dtype, draw(st.sampled_from(FILLS[np.dtype(dtype).kind])), order,
        draw(st.sampled_from(["little", "big"])),
        draw(st.sampled_from(KEYS)), draw(st.tuples(st.sampled_from(["start", "end"]), st.booleans())),
        draw(st.sampled_from(compressors)),
    )  # fmt: skip


@st.composite
def boxes(draw, extent, beyond=4):
    """First voxel and shape of a box, which may leave an array."""
    corner = [draw(st.integers(0, end - 1)) for end in extent]
    shape = [
        draw(st.integers(1, end + (beyond if end > 1 else 0) - low)) for low, end in zip(corner, extent, strict=True)
    ]
    return tuple(corner), tuple(shape)


@st.composite
def histories(draw, compressors=COMPRESSORS, longest=9):
    """An array, boxes to write one after another, and boxes to read."""
    case = draw(zarr_cases(compressors, longest))
    inside = st.lists(boxes(case.extent, 0), min_size=1, max_size=3)
    return case, draw(inside), draw(st.lists(boxes(case.extent), min_size=1, max_size=3))


def numbers(case: ZarrCase, shape, seed):
    """Voxels ``(channel, x, y, z)`` of which some are the fill value."""
    rng = np.random.default_rng(seed)
    voxels = rng.integers(0, 2 if case.dtype == "bool" else 100, (case.channels, *shape)).astype(case.dtype)
    voxels[rng.integers(0, 3, voxels.shape) == 0] = case.fill
    return voxels


def of_zarr(array, case):
    """What zarr-python reads of an array."""
    return case.as_voxels(zarr.open_array(str(array.path))[...])
