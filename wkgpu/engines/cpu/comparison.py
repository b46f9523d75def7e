"""The CPU engine's comparisons: no voxel leaves a core's cache."""

from __future__ import annotations

import operator
from functools import partial

import numpy as np

from wkgpu.engines.cpu.codecs import kernel_pipelines
from wkgpu.engines.cpu.thread_buffers import ThreadBuffers
from wkgpu.engines.encoded_fill import fill_pattern
from wkgpu.engines.failures import check_read
from wkgpu.engines.footprint import check_comparison_plan
from wkgpu.engines.threads import ThreadTeam
from wkgpu.kernels.cpu import comparison as kernels
from wkgpu.settings import config
from wkgpu.storage.plans.chunk_lookup import Ints
from wkgpu.storage.plans.comparison import ComparisonPlan
from wkgpu.storage.plans.read import ReadPlan
from wkgpu.storage.plans.sources import Sources

_STAGED_BYTES = 128 << 10  # of each side at a time: with the decoded chunks they stay within a core's cache
_TAKEN_BYTES = 1 << 20  # decoded, of each side


def have_equal_voxels(
    plan: ComparisonPlan, sources: tuple[Sources, Sources], team: ThreadTeam, buffers: ThreadBuffers
) -> bool:
    """Compare pairs of chunks until two differ; see `wkgpu.engines.engine.Engine.compare`."""
    check_comparison_plan(plan)
    one, other = plan.one, plan.other
    count, size = len(plan.origin), one.pieces.nbytes
    codecs = len(one.pipelines)
    pipelines = kernel_pipelines(
        (*one.pipelines, *other.pipelines), size, 0,
        lambda number: one.file_encoded_by(number) if number < codecs else other.file_encoded_by(number - codecs),
    )  # fmt: skip
    sides = (
        _side(one, sources[0], pipelines.decoders[:codecs]), _side(other, sources[1], pipelines.decoders[codecs:])
    )  # fmt: skip
    geometry = (*map(int, one.pieces.shape), *map(int, one.shape), one.spec.voxel_bytes)
    capacity = max(_STAGED_BYTES, one.max_chunk_nbytes, other.max_chunk_nbytes)
    taken, differs = np.zeros(1, np.int64), np.zeros(1, np.int64)
    step = max(1, min(_TAKEN_BYTES // size, count // (4 * max(config.threads, 1))))

    def compare(_: int) -> None:
        failures = np.zeros(3, np.int64), np.zeros(3, np.int64)
        with buffers.borrow(capacity, capacity, size, size, pipelines.decoder_bytes) as (
            *stagings, scratch, other_scratch, work
        ):  # fmt: skip
            kernels.compare_chunks(
                taken, step, plan.rows_of_one, plan.rows_of_other, plan.origin, *sides, pipelines.rows, size,
                geometry, tuple(stagings), capacity, (scratch, other_scratch), work, differs, failures,
            )  # fmt: skip
        check_read(one, failures[0])
        check_read(other, failures[1])

    stop = partial(operator.setitem, taken, 0, count)  # what no thread has taken yet is not wanted any more
    team.run(compare, min(max(config.threads, 1), -(-count // step)), on_error=stop)
    return not differs[0]


def _side(plan: ReadPlan, sources: Sources, decoders: Ints) -> tuple[object, ...]:
    """Return a plan as the kernel wants it; bytes are compared as they are stored."""
    encodings, pattern = decoders[plan.chunks.codec], fill_pattern(plan.spec, as_stored=True)
    return sources.descriptors, plan.segments.columns, plan.chunks.columns, encodings, pattern
