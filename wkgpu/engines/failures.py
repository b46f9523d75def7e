"""What a kernel reports as numbers, as an error that names the file and the chunk."""

from __future__ import annotations

import errno

import numpy as np
from numpy.typing import NDArray

from wkgpu.errors import ChunkError, StorageAccessError
from wkgpu.kernels import failures as codes
from wkgpu.storage.codecs import LZ4, LZ4HC, Pipeline, names_of
from wkgpu.storage.plans.read import ReadPlan
from wkgpu.storage.plans.write import WritePlan

Failure = NDArray[np.int64]
"""What happened, to which row of the plan's table, and a detail; all zero where nothing happened."""


def check_read(plan: ReadPlan, failure: Failure) -> None:
    """Raise what a kernel reported while it read."""
    if failure[0] != codes.OK:
        raise read_error(plan, *failure.tolist())


def read_error(plan: ReadPlan, code: int, row: int, detail: int) -> ChunkError | StorageAccessError:
    """Make the error of a chunk that was being read."""
    return _error(plan.describe(row), plan.pipelines[int(plan.chunks.codec[row])], plan.pieces.nbytes, code, detail)


def check_write(plan: WritePlan, failure: Failure) -> None:
    """Raise what a kernel reported while it encoded."""
    if failure[0] != codes.OK:
        raise write_error(plan, *failure.tolist())


def write_error(plan: WritePlan, code: int, row: int, detail: int) -> ChunkError | StorageAccessError:
    """Make the error of a chunk that was being changed."""
    where = f"{plan.path}: chunk {int(plan.touched.ordinal[row])} of the shard"
    return _error(where, plan.spec.codecs, plan.pieces.nbytes, code, detail)


def _error(where: str, codecs: Pipeline, nbytes: int, code: int, detail: int) -> ChunkError | StorageAccessError:
    if code == codes.READ_FAILED:
        message = f"{where} cannot be read at file offset {detail}: the disk or the network fails"
        return StorageAccessError(errno.EIO, message)
    if code == codes.TRUNCATED:
        return ChunkError(f"{where} is truncated: the file ends at offset {detail}. It changed while it was read.")
    if code == codes.MALFORMED:
        name = "LZ4" if codecs in ((LZ4,), (LZ4HC,)) else names_of(codecs)
        return ChunkError(
            f"{where} is damaged: {name} cannot decode it to {nbytes} bytes. Restore the file from a backup."
        )
    if code == codes.WRONG_LENGTH:
        return ChunkError(f"{where} is damaged: it decodes to {detail} bytes instead of {nbytes}.")
    return ChunkError(f"{where} cannot be encoded into {detail} bytes.")
