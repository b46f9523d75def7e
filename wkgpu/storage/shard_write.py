"""A write to one shard, from its lock to its last byte."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from math import prod
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from wkgpu.errors import HeaderError
from wkgpu.geometry.voxel_box import Triple
from wkgpu.settings import config
from wkgpu.storage.plans.chunk_lookup import Pieces, ShardRows, recut
from wkgpu.storage.plans.write import WritePlan, covered, touched_chunks
from wkgpu.storage.shard_file import ShardFile
from wkgpu.storage.shard_index import UniformIndex, shard_indexes
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stores.local.atomic_file import AtomicFile
from wkgpu.storage.stores.local.file_bytes import write_all
from wkgpu.storage.stores.local.locks import file_lock
from wkgpu.storage.stores.local.open_files import patiently
from wkgpu.storage.stores.local.os_errors import wrap_os_errors

if TYPE_CHECKING:
    from wkgpu.storage.stored_array import StoredArray


class ShardWrite:
    """Locks a shard for a ``with`` block, in which an engine executes the write plan, and then commits it.

    A compressed shard, and a raw one that did not exist, is written beside the old one and renamed over it when the
    block ends; when it raises, the old one stays. An existing raw shard is changed in place.

    A shard keeps its codec, whatever the codec of its mag is. A new one gets the mag's, and so does a damaged one that
    is covered whole and whose header does not tell its codec.

    Examples
    --------
    >>> for shard_write in array.shard_writes((0, 0, 0), (64, 64, 64)):  # doctest: +SKIP
    ...     with shard_write as plan:
    ...         engine.write(plan, data)
    """

    def __init__(self, array: StoredArray, rows: ShardRows, pieces: Pieces, shape: Triple) -> None:
        self._array = array
        self._rows = rows
        self._pieces = pieces
        self._shape = shape
        self._path = Path(array.shard_path(rows.shard))
        self._plan: WritePlan | None = None
        self._stack = ExitStack()
        self._lock: ExitStack | None = None

    def lock(self) -> bool:
        """Lock the shard before the ``with`` block; False if the mag has been rewritten, so that others are needed."""
        with ExitStack() as stack:
            stack.enter_context(file_lock(self._array.lock_file, _lock_number(self._rows.shard)))
            if self._array.is_outdated():
                return False
            self._lock = stack.pop_all()
        return True

    def unlock(self) -> None:
        """Give the lock back, if no ``with`` block did."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> WritePlan:
        if self._lock is None and not self.lock():
            raise HeaderError(f"{self._array.path} has been rewritten, perhaps in other shards; plan the write again.")
        assert self._lock is not None
        with self._lock.pop_all() as stack:
            self._lock = None
            self._path = self._array.writable_path(self._rows.shard)
            # A shard that is covered whole is not read, so that overwriting it repairs a damaged one.
            if self._covers_shard():
                old, codec = None, self._array.shard_codec(self._rows.shard)
            else:
                old = patiently(partial(self._array.open_shard, self._rows.shard))
                codec = None if old is None else old.index.codec
            if old is not None:
                stack.callback(old.close)
            spec = self._array.spec.encoded_as(codec or self._array.spec.codec)
            self._plan = self._planned(spec, old, self._target(spec, old, stack))
            self._stack = stack.pop_all()
        return self._plan

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with (
            wrap_os_errors(f"Cannot write {self._path}"),
            self._stack,
        ):  # a replacement sees errors and replaces nothing
            if error is not None:
                raise error
            self._finish()
        shard_indexes.discard(self._array.shard_path(self._rows.shard))

    def _covers_shard(self) -> bool:
        count = self._array.spec.chunks_in_shard * prod(self._pieces.per_chunk)
        return len(self._rows.origin) == count and bool(covered(self._rows, self._pieces, self._shape).all())

    def _target(self, spec: ArraySpec, old: ShardFile | None, stack: ExitStack) -> int:
        """Open the file to write."""
        if old is None or spec.codec != "raw":
            replacement = stack.enter_context(AtomicFile(self._path, is_locked=True))
            return replacement.descriptor
        with wrap_os_errors(f"Cannot write {self._path}"):
            descriptor = patiently(partial(os.open, self._path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC))
        stack.callback(os.close, descriptor)
        return descriptor

    def _planned(self, spec: ArraySpec, old: ShardFile | None, descriptor: int) -> WritePlan:
        array = self._array
        data_offset = array.data_offset(spec.codec)
        pieces = array.pieces_of(spec.codec)
        rows = recut(self._rows, self._pieces, pieces, self._shape)
        uniform = None
        sizes = np.zeros(0, np.int64)
        if spec.codec == "raw":
            uniform = UniformIndex(data_offset, spec.chunk_bytes)
        elif old is None:
            sizes = np.full(spec.chunks_in_shard, -1, np.int64)
        else:
            _, sizes = old.index.extents(np.arange(spec.chunks_in_shard))
        touched = touched_chunks(
            rows, pieces, self._shape, old, array.chunk_ordinals,
            None if uniform is None else lambda ordinals: uniform.extents(ordinals)[0],
        )  # fmt: skip
        return WritePlan(self._path, spec, pieces, self._shape, descriptor, old, data_offset, touched, sizes)

    def _finish(self) -> None:
        """Write what frames the chunks, so that the file is a whole shard."""
        plan = self._plan
        assert plan is not None
        if plan.is_compressed:
            ends = plan.data_offset + np.cumsum(plan.sizes)
            before, after = self._array.frame_shard(plan.spec.codec, ends)
            write_all(plan.descriptor, before, 0)
            write_all(plan.descriptor, after, int(ends[-1]))
        elif plan.old is None:
            before, _ = self._array.frame_shard(plan.spec.codec, np.zeros(0, np.int64))
            write_all(plan.descriptor, before, 0)
            spec = plan.spec
            os.ftruncate(plan.descriptor, plan.data_offset + spec.chunks_in_shard * spec.chunk_bytes)
        elif config.durable_writes:
            os.fsync(plan.descriptor)


def _lock_number(shard: Triple) -> int:
    """A number below 2**62 for each shard; that two far-off shards could share one costs only a wait."""
    x, y, z = shard
    return (x & 0xFFFFF) | (y & 0xFFFFF) << 20 | (z & 0xFFFFF) << 40
