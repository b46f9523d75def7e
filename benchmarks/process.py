"""What a process pays for a library: the time of its import, and memory while it reads.

Each figure comes from processes of their own. `python -m benchmarks.process` is what runs in them.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.figures import Figure
from benchmarks.volumes import Shape
from benchmarks.workbench import KINDS, ORIGIN, Workbench


def import_time(bench: Workbench) -> Iterator[Figure]:
    """Seconds that an import adds to a Python process, alone and with the class that all scripts need."""
    nothing = [_seconds("pass") for _ in range(bench.sizes.rounds)]
    yield Figure("python", "start of Python, without any import", "s", "python", theirs=nothing)
    for name, work, code, below in (
        ("import", "import, beyond the start of Python", "import {}", 0.3),
        ("import-dataset", "import and first use of Dataset, likewise", "import {}; {}.Dataset", None),
    ):
        seconds: dict[str, list[float]] = {"wkgpu": [], "webknossos": []}
        for _ in range(bench.sizes.rounds):
            for library, rounds in seconds.items():
                if library == "webknossos" or bench.wkgpu is not None:
                    rounds.append(_seconds(code.format(library, library)) - median(nothing))
        yield Figure(name, work, "s", "webknossos", seconds["wkgpu"], seconds["webknossos"], below=below)


def read_memory(bench: Workbench) -> Iterator[Figure]:
    """Memory beyond the output at the worst moment of a whole read; wkw has no `out=` and returns a new array."""
    for kind, label in KINDS.items():
        path, shape = bench.dataset(kind), bench.sizes.volume
        for mode, work in (("into", "out="), ("fresh", "fresh output")):
            peer = "wkw" if mode == "into" else "webknossos"
            yield Figure(
                f"memory-{mode}-{kind}",
                f"memory of a whole read, {work}: {label}",
                "MiB",
                peer,
                [] if bench.wkgpu is None else [_mebibytes("wkgpu", mode, path, shape)],
                [_mebibytes(peer, mode, path, shape)],
                below=256,
            )


def _seconds(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
    return time.perf_counter() - start


def _mebibytes(library: str, mode: str, path: Path, shape: Shape) -> float:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.process", library, mode, str(path), *map(str, shape)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    return int(answer.stdout.split()[-1]) / 2**20


def _memory(field: str) -> int:
    """Resident bytes of this process: "VmRSS" now, or "VmHWM" at the worst moment."""
    status = Path("/proc/self/status")
    if not status.exists():  # only the worst moment of the whole life is known here, and on macOS in bytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    lines = status.read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def _forget_worst_moment() -> None:
    """Reset "VmHWM", where the kernel allows it."""
    if os.access("/proc/self/clear_refs", os.W_OK):
        Path("/proc/self/clear_refs").write_text("5")


def _measure(library: str, mode: str, path: Path, shape: Shape) -> int:
    """Bytes that a whole read needs beyond its output, files that it maps included."""
    read = _reader(library, path)
    few = read((64, 64, 64))  # loads what is loaded once in a process
    options = {}
    if mode == "into" and library != "wkw":  # wkw has no out=: its output is new, and does not count
        options["out"] = np.ones((1, *shape), few.dtype, order="F")
    _forget_worst_moment()
    before = _memory("VmRSS")
    result = read(shape, **options)
    return _memory("VmHWM") - before - (0 if options else result.nbytes)


def _reader(library: str, path: Path) -> Callable[..., NDArray[Any]]:
    if library == "wkw":
        dataset = peers.open_wkw(path)
        return lambda size: dataset.read(ORIGIN, size)
    mag = peers.open_mag(peers.library(library), path)
    return lambda size, **options: mag.read(absolute_offset=ORIGIN, size=size, **options)


if __name__ == "__main__":
    library, mode, path, *edges = sys.argv[1:]
    print(_measure(library, mode, Path(path), tuple(map(int, edges))))  # type: ignore[arg-type]
