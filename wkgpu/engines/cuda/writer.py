"""The CUDA engine's writes: a batch of chunks is stored while the next one is gathered and encoded.

Where a batch goes in a shard that is written whole is known when the one before it is encoded. The chunks between are
copied as they are when all their places are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wkgpu.engines.assembly import shard_runs
from wkgpu.engines.cuda.device import Device, DeviceFile
from wkgpu.engines.cuda.encoder import CudaEncoder, EncodedBatch
from wkgpu.engines.cuda.fetching import LONG_BYTES, complete_writes
from wkgpu.engines.encoded_fill import encoded_fill
from wkgpu.engines.threads import ThreadTeam
from wkgpu.storage.plans.write import WritePlan


class _Run(NamedTuple):
    """Bytes of a batch's memory, and the file offset that they go to."""

    begin: int
    nbytes: int
    offset: int


class CudaWriter:
    """Executes one write plan.

    Parameters
    ----------
    plan : WritePlan
        Open.
    encoder : CudaEncoder
        Of this plan.
    stack : ExitStack
        Closes what is opened on the device, when nothing uses the slots any more.
    """

    def __init__(
        self, device: Device, team: ThreadTeam, plan: WritePlan, encoder: CudaEncoder, stack: ExitStack
    ) -> None:
        self._device = device
        self._team = team
        self._plan = plan
        self._encoder = encoder
        self._stack = stack
        self._file: DeviceFile | None = None
        self._fill = b""
        self._untouched: list[tuple[int, int, int]] = []  # first chunk, last chunk, and the file offset they go to

    def run(self) -> None:
        """Write the plan's chunks."""
        if self._plan.is_in_place:
            self._write_in_place()
        else:
            self._write_whole()

    # ---- Shards that are changed in place

    def _write_in_place(self) -> None:
        count, rows = len(self._plan.touched.ordinal), self._encoder.rows
        ahead: EncodedBatch | None = None
        for first in range(0, count, rows):
            batch = self._encoder.begin(first, min(first + rows, count))
            if ahead is not None:
                self._store_in_place(ahead)
            ahead = batch
        if ahead is not None:
            self._store_in_place(ahead)

    def _store_in_place(self, batch: EncodedBatch) -> None:
        """Store chunks in their places, neighbours at a time."""
        batch.slot.finish()
        size = self._encoder.size
        offsets = self._plan.touched.offset[batch.first : batch.last]
        heads = _heads(offsets[1:] - offsets[:-1] != size, len(offsets))
        runs = [_Run(head * size, (after - head) * size, int(offsets[head])) for head, after in pairwise(heads)]
        self._store(runs, batch)

    # ---- Shards that are written whole

    def _write_whole(self) -> None:
        plan = self._plan
        if plan.has_fill:
            self._fill = encoded_fill(plan.spec)
            plan.set_fill(len(self._fill))
        offset = plan.data_offset
        ahead: EncodedBatch | None = None
        for run in shard_runs(plan, self._encoder.rows):
            batch = self._encoder.begin(*run.rows) if run.is_touched else None
            if ahead is not None:
                offset = self._store_encoded(ahead, offset)
            ahead = batch
            if batch is None:
                offset = self._pass_over(run.first, run.last, offset)
        if ahead is not None:
            self._store_encoded(ahead, offset)

        def store_untouched(task: int) -> None:
            plan.store_untouched(*self._untouched[task], self._fill)

        self._team.run(store_untouched, len(self._untouched))

    def _store_encoded(self, batch: EncodedBatch, offset: int) -> int:
        """Store what has been encoded, from a file offset on, leaving room for what lies between; the offset after."""
        batch.slot.finish()
        ordinals = self._plan.touched.ordinal[batch.first : batch.last]
        self._plan.stored.nbytes[ordinals] = batch.lengths
        ends = [0, *np.cumsum(batch.lengths).tolist()]
        runs = []
        for head, after in pairwise(_heads(ordinals[1:] - ordinals[:-1] != 1, len(ordinals))):
            if head > 0:
                offset = self._pass_over(int(ordinals[head - 1]) + 1, int(ordinals[head]), offset)
            runs.append(_Run(ends[head], ends[after] - ends[head], offset))
            offset += runs[-1].nbytes
        self._store(runs, batch)
        return offset

    def _pass_over(self, first: int, last: int, offset: int) -> int:
        """Remember where untouched chunks go, and return the offset after them."""
        self._untouched.append((first, last, offset))
        return offset + self._plan.nbytes_between(first, last)

    # ---- What both have in common

    def _store(self, runs: Sequence[_Run], batch: EncodedBatch) -> None:
        """Write bytes of a batch to the file: long runs from the device, short ones through the host."""
        slot, plan = batch.slot, self._plan
        runs = [run for run in runs if run.nbytes]  # chunks that are dropped have none
        if not runs:
            return
        nbytes = sum(run.nbytes for run in runs)
        if nbytes >= LONG_BYTES * len(runs):
            if self._file is None:
                self._file = self._device.open(plan.descriptor, writable=True)
                self._stack.callback(self._file.close)
            for run in runs:
                slot.requests.append(self._file.write(batch.chunks, run.begin, run.nbytes, run.offset))
            complete_writes(slot, [run.nbytes for run in runs], str(plan.path))
            return
        image = slot.host("packed", nbytes)
        slot.stream.download(batch.chunks, 0, image)
        slot.stream.record().wait()
        for run in runs:
            plan.store(image[run.begin : run.begin + run.nbytes].data, run.offset)


def _heads(begins: NDArray[np.bool_], count: int) -> list[int]:
    """Return where runs begin, of which ``begins`` says so for all rows but the first, and in the end their count."""
    return [0, *(begins.nonzero()[0] + 1).tolist(), count]
