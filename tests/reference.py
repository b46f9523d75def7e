"""What the engines are compared with: a volume that is one NumPy array, and an engine of plain Python loops."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import lz4.block
import numpy as np

from wkgpu.engines.tuning import Tuning
from wkgpu.errors import ChunkError
from wkgpu.storage.codecs import Codec, Pipeline
from wkgpu.storage.plans.comparison import ComparisonPlan
from wkgpu.storage.plans.read import ReadPlan
from wkgpu.storage.plans.sources import Sources
from wkgpu.storage.plans.write import ChunkSource, WritePlan

GARBAGE = 0xA5


class Volume:
    """A mag as one NumPy array ``(channel, x, y, z)``; what was not written, and lies beyond it, is the fill value."""

    def __init__(self, layout, shape, fill_value=0):
        self.voxels = np.full((layout.num_channels, *shape), fill_value, layout.memory_dtype)
        self._fill_value = fill_value

    def write(self, topleft, data):
        self.voxels[(slice(None), *slices(topleft, data.shape[1:]))] = data

    def read(self, topleft, shape):
        result = np.full((len(self.voxels), *shape), self._fill_value, self.voxels.dtype)
        found = self.voxels[(slice(None), *slices(topleft, shape))]
        result[(slice(None), *slices((0, 0, 0), found.shape[1:]))] = found
        return result


class NaiveEngine:
    """Executes plans chunk by chunk; an `Engine` that takes outputs of any layout."""

    name = "naive"
    xp = np
    tuning = Tuning(1 << 20, 1 << 20, rows=3, min_width=1, counters=3, labelled_values=100, labelled_width=100)

    def active(self):
        return nullcontext()

    def side_streams(self):
        return {}

    def share(self, nbytes):
        return nullcontext(nbytes)

    def asarray(self, data: Any) -> np.ndarray:
        return np.asarray(data)

    as_input = asarray

    def empty(self, shape, dtype):
        """Memory full of garbage: voxels that a plan forgets show."""
        block = np.full(int(np.prod(shape)) * dtype.itemsize, GARBAGE, np.uint8)
        return block.view(dtype).reshape(shape, order="F")

    def zeros(self, shape, dtype):
        return np.zeros(shape, dtype, order="F")

    def as_output(self, out: Any) -> np.ndarray:
        return out

    def check_room(self, nbytes: int, what: str, advice: str = "") -> None:
        pass

    def decodes(self, codec: Codec) -> bool:
        return codec.name in ("lz4", "lz4hc")

    def wait(self) -> None:
        pass

    def launch(self, kernel: Any, rows: int, width: int, *arguments: Any) -> None:
        kernel.compiled_for("cpu").py_func(0, rows, *arguments)

    def read(self, plan: ReadPlan, sources: Sources, out: np.ndarray) -> None:
        for row, voxels in enumerate(chunks_of(plan, sources, np.arange(len(plan.chunks)))):
            inside, chunk = common_slices(plan.chunks.origin[row], plan.pieces.shape, plan.shape)
            out[(slice(None), *inside, plan.chunks.box[row])] = voxels[(slice(None), *chunk)]
        for box, origin in zip(plan.missing.box, plan.missing.origin, strict=True):
            inside, _ = common_slices(origin, plan.pieces.shape, plan.shape)
            out[(slice(None), *inside, box)] = 0

    def projected_nbytes(self, plan: ReadPlan) -> int:
        return plan.nbytes_staged

    def compare(self, plan: ComparisonPlan, sources: tuple[Sources, Sources]) -> bool:
        sides = [(plan.one, sources[0], plan.rows_of_one), (plan.other, sources[1], plan.rows_of_other)]
        pairs = zip(*(chunks_of(*side) for side in sides), plan.origin, strict=True)
        for one, other, origin in pairs:
            _, chunk = common_slices(origin, plan.one.pieces.shape, plan.one.shape)
            if not np.array_equal(one[(slice(None), *chunk)], other[(slice(None), *chunk)]):
                return False
        return True

    def write(self, plan: WritePlan, data: np.ndarray) -> None:
        changed = [overlaid(plan, row, data) for row in range(len(plan.touched.ordinal))]
        if plan.is_in_place:
            for offset, chunk in zip(plan.touched.offset, changed, strict=True):
                os.pwrite(plan.descriptor, chunk, offset)
            return
        rows = {int(ordinal): row for row, ordinal in enumerate(plan.touched.ordinal)}
        fill = np.full(plan.spec.chunk_bytes // plan.spec.dtype.itemsize, plan.spec.fill_value, plan.spec.dtype)
        offset = plan.data_offset
        for ordinal, source in enumerate(plan.stored.source):
            encoded = b""
            if source == ChunkSource.ENCODE:
                encoded = lz4.block.compress(changed[rows[ordinal]], store_size=False)
            elif source == ChunkSource.FILL:
                encoded = lz4.block.compress(fill.tobytes(), store_size=False)
            elif source == ChunkSource.COPY:
                (begin,), (nbytes,) = plan.old.index.extents(np.array([ordinal]))
                encoded = os.pread(plan.old.descriptor, nbytes, begin)
            os.pwrite(plan.descriptor, encoded, offset)
            plan.stored.nbytes[ordinal] = len(encoded)
            offset += len(encoded)


def chunks_of(plan: ReadPlan, sources: Sources, rows: np.ndarray) -> Iterator[np.ndarray]:
    """The decoded chunks of rows of a plan; zeros for -1."""
    staging = staged(plan, sources)
    for row in rows:
        if row < 0:
            yield np.zeros((plan.spec.num_channels, *plan.pieces.shape), plan.spec.dtype)
        else:
            place, nbytes = plan.chunks.staging_offset[row], plan.chunks.nbytes[row]
            codec = plan.pipelines[plan.chunks.codec[row]]
            yield decoded(plan, bytes(staging[place : place + nbytes]), codec)


class Exporter:
    """An array of another library, which exports its memory through DLPack."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


def staged(plan: ReadPlan, sources: Sources) -> bytearray:
    """The staging space of a plan; garbage where no segment reaches."""
    space = bytearray([GARBAGE]) * plan.nbytes_staged
    for window in sources.windows(plan):
        for file, offset, nbytes, place in plan.segments.columns.T:
            if window.descriptors[file] >= 0:
                space[place : place + nbytes] = os.pread(window.descriptors[file], nbytes, offset)
    return space


def decoded(plan, encoded: bytes, codecs: Pipeline) -> np.ndarray:
    """The voxels ``(channel, x, y, z)`` of a chunk, or of a piece of a raw one."""
    if codecs:
        try:
            encoded = lz4.block.decompress(encoded, uncompressed_size=plan.pieces.nbytes)
        except lz4.block.LZ4BlockError as error:
            raise ChunkError(str(error)) from error
    if len(encoded) != plan.pieces.nbytes:
        raise ChunkError(f"{len(encoded)} bytes instead of {plan.pieces.nbytes}")
    shape = (plan.spec.num_channels, *plan.pieces.shape)
    return np.frombuffer(encoded, plan.spec.dtype).reshape(shape, order="F")


def overlaid(plan: WritePlan, row: int, data: np.ndarray) -> bytes:
    """A chunk with the new voxels over the old ones."""
    if plan.touched.nbytes[row] > 0:
        encoded = os.pread(plan.old.descriptor, plan.touched.nbytes[row], plan.touched.offset[row])
        chunk = decoded(plan, encoded, plan.spec.codecs).copy()
    else:
        chunk = np.zeros((plan.spec.num_channels, *plan.pieces.shape), plan.spec.dtype)
    inside, goal = common_slices(plan.touched.origin[row], plan.pieces.shape, plan.shape)
    chunk[(slice(None), *goal)] = data[(slice(None), *inside)]
    return chunk.tobytes(order="F")


def common_slices(origin, chunk, box):
    """What a chunk that begins at ``origin`` and a box share: as slices of the box, and of the chunk."""
    inside, goal = [], []
    for corner, length, extent in zip(np.asarray(origin).tolist(), chunk, box, strict=True):
        low, high = max(corner, 0), max(min(corner + length, extent), 0)
        inside.append(slice(low, high))
        goal.append(slice(low - corner, max(high - corner, 0)))
    return inside, goal


def slices(topleft, shape):
    return tuple(slice(begin, begin + length) for begin, length in zip(topleft, shape, strict=True))
