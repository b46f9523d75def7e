"""Decoding by the CPU, in the host's memory, of chunks that no decoder of the device takes."""

from __future__ import annotations

import operator
from functools import partial

import numpy as np

from wkgpu.engines.cpu.codecs import kernel_pipelines
from wkgpu.engines.cpu.thread_buffers import ThreadBuffers
from wkgpu.engines.cuda.device import Bytes
from wkgpu.engines.encoded_fill import swapped_bytes
from wkgpu.engines.failures import check_read
from wkgpu.engines.threads import ThreadTeam
from wkgpu.kernels.cpu import reader as kernels
from wkgpu.settings import config
from wkgpu.storage.plans.chunk_lookup import Ints
from wkgpu.storage.plans.read import ReadPlan

_TAKEN_BYTES = 256 << 10  # decoded, that a thread takes at a time


class HostDecoder:
    """Fetches and decodes the chunks of one plan.

    Parameters
    ----------
    descriptors : int64 (files,)
        The plan's files, open.
    """

    def __init__(self, team: ThreadTeam, plan: ReadPlan, descriptors: Ints) -> None:
        self._team = team
        self._plan = plan
        self._descriptors = descriptors
        self._buffers = ThreadBuffers()

    def decode(self, heads: Ints, wanted: Ints, target: Bytes) -> None:
        """Decode the chunks of some rows, one after another, to the host's memory.

        Parameters
        ----------
        wanted : int64 (n,)
            How many bytes of each are needed.
        """
        plan, size = self._plan, self._plan.pieces.nbytes
        pipelines = kernel_pipelines(plan.pipelines, size, swapped_bytes(plan.spec), plan.file_encoded_by)
        count = len(heads)
        taken = np.zeros(1, np.int64)
        address = target.__array_interface__["data"][0]
        step = max(_TAKEN_BYTES // size, 1)

        def decode(_: int) -> None:
            failure = np.zeros(3, np.int64)
            with self._buffers.borrow(plan.max_chunk_nbytes, pipelines.decoder_bytes) as (staging, work):
                kernels.decode_chunks(
                    taken, step, heads, wanted, self._descriptors, plan.segments.columns, plan.chunks.columns,
                    pipelines.rows, size, staging, work, address, failure,
                )  # fmt: skip
            check_read(plan, failure)

        stop = partial(operator.setitem, taken, 0, count)
        self._team.run(decode, min(max(config.threads, 1), -(-count // step)), on_error=stop)
