"""Where CuPy keeps what it compiles, if it can be kept.

Numba's kernels take care of themselves; see `wkgpu.kernels.kernel_files`.
"""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

_logger = logging.getLogger("wkgpu")


def use_cache_of_cupy() -> None:
    """See that CuPy works where the folder of its cache cannot be made, or written to.

    CuPy makes the folder while it is imported, and fails there; and fails again with each kernel that it compiles and
    cannot write. Then it is told to keep kernels in memory, and gets a folder that is there and remains empty.
    """
    if os.environ.get("CUPY_CACHE_IN_MEMORY", "0") not in ("", "0"):
        return
    usual = os.path.expanduser("~/.cupy/kernel_cache")  # noqa: PTH111 - as CuPy says it, which works without a home
    folder = Path(os.environ.get("CUPY_CACHE_DIR", usual))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"a")
            file.flush()
    except OSError as error:
        _logger.warning(
            "kernels that CuPy compiles cannot be kept in %s, and are compiled in each process (%s). Give the folder "
            "room and write permission, or choose another one with CUPY_CACHE_DIR.",
            folder,
            error,
        )
        os.environ["CUPY_CACHE_IN_MEMORY"] = "1"
        os.environ["CUPY_CACHE_DIR"] = tempfile.gettempdir()
