"""How many chunks a task of a thread has."""

from __future__ import annotations

from wkgpu.settings import config

_MIN_TASK_BYTES, _MAX_TASK_BYTES = 256 << 10, 2 << 20  # decoded
_MAX_TASK_CHUNKS = 4096


def rows_per_task(count: int, nbytes: int, threads: int | None = None, min_bytes: int = _MIN_TASK_BYTES) -> int:
    """How many chunks of ``nbytes`` a thread takes at a time, so that each gets several tasks and none is tiny."""
    least, most = max(1, min_bytes // nbytes), max(1, _MAX_TASK_BYTES // nbytes)
    wanted = -(-count // (4 * (threads or max(config.threads, 1))))
    rows = min(max(wanted, least), most)
    return min(1 << (rows - 1).bit_length(), _MAX_TASK_CHUNKS)  # powers of two keep neighbours in Morton order together
