"""What a kernel reports as numbers, as an error that names the file and the chunk."""

from __future__ import annotations

import errno

import numpy as np
from numpy.typing import NDArray

from wkgpu.errors import ChunkError, StorageAccessError
from wkgpu.kernels import failures as codes
from wkgpu.storage.read_plan import ReadPlan
from wkgpu.storage.write_plan import WritePlan

Failure = NDArray[np.int64]
"""What happened, to which row of the plan's table, and a detail; all zero where nothing happened."""


def check_read(plan: ReadPlan, failure: Failure) -> None:
    """Raise what a kernel reported while it read."""
    if failure[0] != codes.OK:
        raise _error(plan.describe(int(failure[1])), plan.pieces.nbytes, failure)


def check_write(plan: WritePlan, failure: Failure) -> None:
    """Raise what a kernel reported while it encoded."""
    if failure[0] != codes.OK:
        ordinal = int(plan.touched.ordinal[int(failure[1])])
        raise _error(f"{plan.path}: chunk {ordinal} of the shard", plan.pieces.nbytes, failure)


def _error(where: str, nbytes: int, failure: Failure) -> ChunkError | StorageAccessError:
    code, _, detail = failure.tolist()
    if code == codes.READ_FAILED:
        message = f"{where} cannot be read at file offset {detail}: the disk or the network fails"
        return StorageAccessError(errno.EIO, message)
    if code == codes.TRUNCATED:
        return ChunkError(f"{where} is truncated: the file ends at offset {detail}. It changed while it was read.")
    if code == codes.MALFORMED:
        return ChunkError(f"{where} is damaged: LZ4 cannot decode it to {nbytes} bytes. Restore the file from a copy.")
    if code == codes.WRONG_LENGTH:
        return ChunkError(f"{where} is damaged: it decodes to {detail} bytes instead of {nbytes}.")
    return ChunkError(f"{where} cannot be encoded into {detail} bytes.")
