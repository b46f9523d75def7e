"""A write to one shard, from its lock to its last byte."""

from __future__ import annotations

from contextlib import ExitStack
from math import prod
from types import TracebackType

import numpy as np

from wkgpu.errors import AlreadyExistsError, HeaderError, OutdatedFileError
from wkgpu.geometry.voxel_box import Triple
from wkgpu.storage.plans.chunk_lookup import Ints, Pieces, ShardRows, recut
from wkgpu.storage.plans.write import (
    NOTHING_STORED,
    WritePlan,
    covered,
    stored_chunks,
    touched_chunks,
    whole_chunks,
)
from wkgpu.storage.shard_file import ShardFile
from wkgpu.storage.shard_folder import ShardFolder
from wkgpu.storage.shard_index import UniformIndex, shard_indexes
from wkgpu.storage.spec import AbsentChunks, ArraySpec
from wkgpu.storage.stores.files import Replacing, WritableFile
from wkgpu.storage.stores.local.os_errors import wrap_os_errors
from wkgpu.storage.stores.staged_files import StagedFile

MAX_OVERTAKEN = 32  # a shard that other programs change more often during one write is not waited for
_OVERTAKEN = OutdatedFileError, AlreadyExistsError


class ShardWrite:
    """Locks a shard for a ``with`` block, in which an engine executes the write plan, and then commits it.

    A shard that did not exist, or whose format cannot change it in place, is written beside the old one and renamed
    over it when the block ends; when it raises, the old one stays.

    Programs that take no locks may make or replace the shard meanwhile. What they have written is not to be lost: then
    the block changes nothing, and `is_overtaken` says that the shard has to be written again.

    A shard keeps its codecs, whatever those of its mag are. A new one gets the mag's, and so does a damaged one that is
    covered whole and whose header does not tell its codecs.

    Parameters
    ----------
    rows, pieces, shape
        What is written, in storage axis order.

    Attributes
    ----------
    path : str
        The shard, as users know it.
    is_overtaken : bool
        Whether the ``with`` block has changed nothing, because another program has changed the shard.

    Examples
    --------
    >>> for shard_write in array.shard_writes((0, 0, 0), (64, 64, 64)):  # doctest: +SKIP
    ...     with shard_write as plan:
    ...         engine.write(plan, data)
    """

    def __init__(self, array: ShardFolder, rows: ShardRows, pieces: Pieces, shape: Triple) -> None:
        self._array = array
        self._rows = rows
        self._pieces = pieces
        self._shape = shape
        self._shard = array.spec.from_storage_order(rows.shard)
        self._store = array.location.store
        self._key = array.shard_key(self._shard)
        self.path = array.shard_path(self._shard)
        self.is_overtaken = False
        self._plan: WritePlan | None = None
        self._stack = ExitStack()
        self._lock: ExitStack | None = None

    def lock(self) -> bool:
        """Lock the shard before the ``with`` block; False if the mag has been rewritten, so that others are needed."""
        with ExitStack() as stack:
            stack.enter_context(self._store.lock(self._array.lock_key, _lock_number(self._shard)))
            if self._array.is_rewritten():
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
            raise HeaderError(
                f"{self._array.path} has been rewritten, and its shard shape may have changed; plan the write again."
            )
        assert self._lock is not None
        with self._lock.pop_all() as stack:
            self._lock = None
            self._plan = self._begun(stack)
            self._stack = stack.pop_all()
        return self._plan

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        try:
            with (
                wrap_os_errors(f"Cannot write {self.path}"),
                self._stack,
            ):  # a replacement sees errors and replaces nothing
                if error is not None:
                    raise error
                self._finish()
        except _OVERTAKEN:
            if error is not None:
                raise
            self.is_overtaken = True
        shard_indexes.discard(self.path)
        return self.is_overtaken

    def _begun(self, stack: ExitStack) -> WritePlan:
        """Open the shard and the file to write, until both are opened without a change by another program."""
        for attempt in range(MAX_OVERTAKEN):
            with ExitStack() as opened:
                try:
                    plan = self._opened(opened)
                except _OVERTAKEN:
                    if attempt + 1 == MAX_OVERTAKEN:
                        raise
                    continue
                stack.push(opened.pop_all())
                break
        return plan

    def _opened(self, stack: ExitStack) -> WritePlan:
        spec = self._array.spec
        self._file(self._is_in_place(spec), "anything")  # first: the error is that it may not be written
        # A shard that is covered whole is not read, so that overwriting it repairs a damaged one.
        if self._covers_shard():
            old, codecs = None, self._array.shard_codecs(self._shard)
            replacing: Replacing = "anything"
        else:
            old = self._array.open_shard(self._shard, wait=True)
            codecs, replacing = (None, "nothing") if old is None else (old.index.codecs, old.key.version)
        if old is not None:
            stack.callback(old.close)
            old.stage([(0, old.nbytes)])
        spec = spec.in_own_axes if codecs is None else spec.in_own_axes.encoded_as(codecs)
        file = self._file(old is not None and self._is_in_place(spec), replacing)
        return self._planned(spec, old, stack.enter_context(file))

    def _covers_shard(self) -> bool:
        count = self._array.spec.chunks_in_shard * prod(self._pieces.per_chunk)
        return len(self._rows.origin) == count and bool(covered(self._rows, self._pieces, self._shape).all())

    def _is_in_place(self, spec: ArraySpec) -> bool:
        return self._array.changes_in_place(spec.codecs) and self._store.changes_in_place

    def _file(self, is_in_place: bool, replacing: Replacing) -> WritableFile:
        """Return the shard to change, or a new one that replaces it; neither is opened yet."""
        if is_in_place:
            return self._store.change(self._key)
        file = self._store.new_file(self._key, is_locked=True, replacing=replacing)
        return file if self._store.has_descriptors else StagedFile(file, self.path)

    def _planned(self, spec: ArraySpec, old: ShardFile | None, file: WritableFile) -> WritePlan:
        array, is_in_place = self._array, self._is_in_place(spec)
        data_offset, absent = array.data_offset(spec.codecs), array.absent_chunks(spec.codecs)
        pieces = whole_chunks(spec)
        if is_in_place:  # cut as the rows are, whatever the settings say by now
            pieces = self._pieces if spec.codecs == array.spec.codecs else array.pieces_of(spec.codecs)
        rows = recut(self._rows, self._pieces, pieces, self._shape)
        uniform = UniformIndex(data_offset, spec.chunk_bytes) if is_in_place else None
        touched = touched_chunks(
            rows, pieces, self._shape, old, self._ordinals,
            None if uniform is None else lambda ordinals: uniform.extents(ordinals).offset,
        )  # fmt: skip
        stored = NOTHING_STORED if is_in_place else stored_chunks(spec, touched, old, absent)
        drops_filled = absent is AbsentChunks.OMITTED
        return WritePlan(
            self.path, spec, pieces, self._shape, file, old, data_offset, touched, stored, drops_filled
        )  # fmt: skip

    def _ordinals(self, chunks: Ints) -> Ints:
        """Return the ordinals of chunks that are counted in storage axis order."""
        axes = self._array.spec.axis_order
        return self._array.chunk_ordinals(chunks if axes == (0, 1, 2) else chunks[:, np.argsort(axes)])

    def _finish(self) -> None:
        """Write what frames the chunks, so that the file is a whole shard."""
        plan = self._plan
        assert plan is not None
        codecs = plan.spec.codecs
        if plan.drops_filled and not plan.is_in_place and not plan.stored.nbytes.any():
            plan.file.leave_out()  # a shard without chunks has no file
        elif not plan.is_in_place:
            before, after = self._array.shard_header_and_footer(codecs, plan.extents)
            plan.file.write(before, 0)
            plan.file.write(after, plan.data_offset + plan.nbytes_between(0, plan.spec.chunks_in_shard))
        elif plan.old is None:
            chunks = UniformIndex(plan.data_offset, plan.spec.chunk_bytes)
            extents = chunks.extents(np.arange(plan.spec.chunks_in_shard))
            end = plan.data_offset + int(extents.nbytes.sum())
            before, after = self._array.shard_header_and_footer(codecs, extents)
            plan.file.write(before, 0)
            plan.file.truncate(end)
            plan.file.write(after, end)


def _lock_number(shard: Triple) -> int:
    """A number below 2**62 for each shard; that two far-off shards could share one costs only a wait."""
    x, y, z = shard
    return (x & 0xFFFFF) | (y & 0xFFFFF) << 20 | (z & 0xFFFFF) << 40
