"""Decoding by the CPU, in the host's memory, of chunks that no decoder of the device takes, or that it has left."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from wkgpu.engines.cpu.codecs import kernel_pipelines
from wkgpu.engines.cpu.thread_buffers import ThreadBuffers
from wkgpu.engines.cuda.device import Bytes
from wkgpu.engines.encoded_fill import swapped_bytes
from wkgpu.engines.failures import Failure, check_read, check_write
from wkgpu.engines.threads import ThreadTeam
from wkgpu.kernels.cpu import reader as kernels
from wkgpu.settings import config
from wkgpu.storage.codecs import Pipeline
from wkgpu.storage.plans.chunk_lookup import Ints
from wkgpu.storage.plans.read import Chunks, ReadPlan, Segments
from wkgpu.storage.plans.write import WritePlan
from wkgpu.storage.spec import ArraySpec

_TAKEN_BYTES = 256 << 10  # decoded, that a thread takes at a time


class EncodedChunks(NamedTuple):
    """Chunks of files, as tables."""

    spec: ArraySpec
    size: int
    """Bytes of each decoded chunk."""
    pipelines: Sequence[Pipeline]
    segments: Segments
    chunks: Chunks
    max_chunk_nbytes: int
    file_encoded_by: Callable[[int], str]
    """Names a file that a pipeline is of."""
    check: Callable[[Failure], None]
    """Raises what a kernel reports."""


def chunks_to_read(plan: ReadPlan) -> EncodedChunks:
    """Return the chunks of a plan."""
    return EncodedChunks(
        plan.spec, plan.pieces.nbytes, plan.pipelines, plan.segments, plan.chunks, plan.max_chunk_nbytes,
        plan.file_encoded_by, partial(check_read, plan),
    )  # fmt: skip


def old_chunks(plan: WritePlan, rows: Ints) -> EncodedChunks:
    """Return the old chunks of some rows of a plan, which are stored."""
    nbytes, zeros = plan.touched.nbytes[rows], np.zeros(len(rows), np.int64)
    places = nbytes.cumsum() - nbytes
    segments = Segments.of(zeros, plan.touched.offset[rows], nbytes, places)
    chunks = Chunks.of(places, nbytes, zeros, zeros, np.zeros((len(rows), 3), np.int64), np.arange(len(rows)))

    def check(failure: Failure) -> None:
        if failure[0]:
            failure[1] = rows[failure[1]]
        check_write(plan, failure)

    return EncodedChunks(
        plan.spec, plan.pieces.nbytes, (plan.spec.codecs,), segments, chunks, int(nbytes.max()),
        lambda _: str(plan.path), check,
    )  # fmt: skip


class HostDecoder:
    """Fetches and decodes chunks.

    Parameters
    ----------
    encoded : EncodedChunks
        Of a plan.
    descriptors : int64 (files,)
        Its files, open.
    """

    def __init__(self, team: ThreadTeam, encoded: EncodedChunks, descriptors: Ints) -> None:
        self._team = team
        self._encoded = encoded
        self._descriptors = descriptors
        self._buffers = ThreadBuffers()

    def decode(self, heads: Ints, wanted: Ints, target: Bytes) -> None:
        """Decode the chunks of some rows, one after another, to the host's memory.

        Parameters
        ----------
        wanted : int64 (n,)
            How many bytes of each are needed.
        """
        encoded, size = self._encoded, self._encoded.size
        pipelines = kernel_pipelines(encoded.pipelines, size, swapped_bytes(encoded.spec), encoded.file_encoded_by)
        count = len(heads)
        taken = np.zeros(1, np.int64)
        address = target.__array_interface__["data"][0]
        step = max(_TAKEN_BYTES // size, 1)

        def decode(_: int) -> None:
            failure = np.zeros(3, np.int64)
            with self._buffers.borrow(encoded.max_chunk_nbytes, pipelines.decoder_bytes) as (staging, work):
                kernels.decode_chunks(
                    taken, step, heads, wanted, self._descriptors, encoded.segments.columns, encoded.chunks.columns,
                    pipelines.rows, size, staging, work, address, failure,
                )  # fmt: skip
            encoded.check(failure)

        stop = partial(operator.setitem, taken, 0, count)
        self._team.run(decode, min(max(config.threads, 1), -(-count // step)), on_error=stop)
