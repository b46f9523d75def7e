"""Byte ranges of files into the memory of a device: long ones straight into it, short ones together through the host's.

A request of its own costs more than the bytes of a single chunk: for a patch, which wants a few chunks here and a few
there, compiled code gathers them in host memory that the device copies from by itself, all at once.
"""

from __future__ import annotations

import errno
import operator
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

import numpy as np

from wkgpu.engines.cuda.device import Bytes, Device, DeviceFile, Memory
from wkgpu.engines.cuda.slots import Slot
from wkgpu.engines.threads import ThreadTeam
from wkgpu.errors import StorageAccessError
from wkgpu.kernels.cpu import files as kernels
from wkgpu.kernels.failures import OK, READ_FAILED, TRUNCATED
from wkgpu.settings import config
from wkgpu.storage.plans.chunk_lookup import Ints
from wkgpu.storage.plans.read import Segments

LONG_BYTES = 1 << 18
"""Mean bytes of ranges from which on each is a request of its own."""
_MIN_TAKEN_BYTES = 256 << 10  # of short ranges, that a thread takes at a time: more than waking another one costs

OnFailure = Callable[[int, int, int], Exception]
"""Makes an error of a code of `wkgpu.kernels.failures`, the segment and the file offset."""


class Fetcher:
    """Fetches from files, which it opens on the device when the first long range needs them.

    Parameters
    ----------
    descriptors : int64 (files,)
        Those of the files; -1 for what is not fetched from.
    stack : ExitStack
        Closes what was opened on the device.
    """

    def __init__(self, device: Device, team: ThreadTeam, descriptors: Ints, stack: ExitStack) -> None:
        self._device = device
        self._team = team
        self._descriptors = descriptors
        self._files: dict[int, DeviceFile] = {}
        self._stack = stack

    def fetch(
        self, segments: Segments, staging: Memory, nbytes: int, slot: Slot, on_failure: OnFailure
    ) -> Callable[[], None]:
        """Begin to fetch segments to their offsets in ``staging``, which is idle; the result makes sure they come.

        Of the first ``nbytes`` of the staging memory, those that no segment covers are undefined afterwards.
        """
        if int(segments.nbytes.sum()) >= LONG_BYTES * len(segments):
            return self._fetch_long(segments, staging, slot, on_failure)
        host = slot.host("staging", nbytes)

        def fetch() -> None:
            self.fetch_to_host(segments, host, on_failure)
            slot.stream.upload(host, staging)

        return fetch

    def fetch_to_host(self, segments: Segments, host: Bytes, on_failure: OnFailure) -> None:
        """Fetch segments to their places in host memory, on all threads."""
        count = len(segments)
        if count == 0:
            return
        taken = np.zeros(1, np.int64)
        target = host.__array_interface__["data"][0]
        step = max(_MIN_TAKEN_BYTES * count // max(int(segments.nbytes.sum()), 1), 1)
        columns = np.ascontiguousarray(segments.columns)

        def fetch(_: int) -> None:
            failure = np.zeros(3, np.int64)
            kernels.fetch_ranges(taken, step, self._descriptors, columns, target, failure)
            if failure[0] != OK:
                code, segment, offset = failure.tolist()
                raise on_failure(code, segment, offset)

        stop = partial(operator.setitem, taken, 0, count)
        self._team.run(fetch, min(max(config.threads, 1), -(-count // step)), on_error=stop)

    def _fetch_long(self, segments: Segments, staging: Memory, slot: Slot, on_failure: OnFailure) -> Callable[[], None]:
        columns = segments.columns.tolist()
        for number, (file, offset, nbytes, place) in enumerate(zip(*columns, strict=True)):
            try:
                slot.requests.append(self._file(file).read(staging, place, nbytes, offset))
            except OSError as error:
                raise self._failed(segments, number, error, on_failure) from error

        def complete() -> None:
            for number, (offset, nbytes) in enumerate(zip(columns[1], columns[2], strict=True)):
                try:
                    got = slot.requests[number]()
                except OSError as error:
                    raise self._failed(segments, number, error, on_failure) from error
                if got != nbytes:
                    raise on_failure(TRUNCATED, number, offset + got)
            slot.requests.clear()

        return complete

    def _failed(self, segments: Segments, number: int, error: OSError, on_failure: OnFailure) -> Exception:
        """Make the error of a request; KvikIO does not say when a file ends too early, but the file does."""
        offset = int(segments.offset[number])
        end = os.fstat(int(self._descriptors[segments.file[number]])).st_size
        if end < offset + int(segments.nbytes[number]):
            return on_failure(TRUNCATED, number, max(end, offset))
        failure = on_failure(READ_FAILED, number, offset)
        failure.add_note(f"What went wrong: {error}")
        return failure

    def _file(self, number: int) -> DeviceFile:
        file = self._files.get(number)
        if file is None:
            file = self._files[number] = self._device.open(int(self._descriptors[number]))
            self._stack.callback(file.close)
        return file


def complete_writes(slot: Slot, lengths: Sequence[int], path: str) -> None:
    """Wait until a slot's requests to write are done, and make sure that each has written all its bytes.

    Raises
    ------
    StorageAccessError
        Naming the file.
    """
    for result, nbytes in zip(slot.requests, lengths, strict=True):
        try:
            done = result()
        except OSError as error:
            raise StorageAccessError(error.errno or errno.EIO, f"{path} cannot be written: {error}") from error
        if done != nbytes:
            raise StorageAccessError(errno.EIO, f"{path}: {done} of {nbytes} bytes were written; is the disk full?")
    slot.requests.clear()
