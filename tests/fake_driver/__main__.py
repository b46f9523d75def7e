"""Runs pytest on the fake driver: ``python tests/fake_driver``, with other arguments of pytest instead of its own.

It exits with 0 and says why where the driver cannot be built. ``--devices 2`` in front of the arguments gives it two
devices; without arguments it runs the tests below, with one and with two.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fake_driver import build

FEWER_TYPES = "not (test_all_voxel_types and (int16 or int32 or int64))"  # words of 2 bytes come in test_all_lengths
ONE_DEVICE = [
    "tests/fake_driver", "tests/gpu", "tests/engines/test_inputs.py", "tests/engines/test_outputs.py",
    "tests/engines/test_round_trip.py", "tests/engines/test_streaming.py", "tests/engines/test_concurrency.py",
    "tests/engines/test_ordering.py", "tests/engines/test_decoding.py", "tests/engines/test_cuda_codecs.py",
    "tests/storage", "tests/kernels/test_map_compilation.py", "-k", FEWER_TYPES,
]  # fmt: skip
TWO_DEVICES = ["tests/gpu/test_arrays.py", "tests/gpu/test_equality.py", "-k", "device or threads or all_ways"]


def main(arguments: list[str]) -> int:
    if (reason := build.why_not()) is not None:
        print(f"The fake driver is left out: {reason}.")
        return 0
    build.build()
    devices = 1
    if arguments[:1] == ["--devices"]:
        devices, arguments = int(arguments[1]), arguments[2:]
    if arguments:
        return run(devices, arguments)
    return run(1, ONE_DEVICE) or run(2, TWO_DEVICES)


def run(devices: int, arguments: list[str]) -> int:
    pytest = [sys.executable, "-m", "pytest", "-q", "-m", "gpu and not computes", "-p", "no:cacheprovider"]
    parallel = ["--numprocesses", "auto", "--maxprocesses", "4", "--dist", "loadfile"]
    return subprocess.run(
        [*pytest, *parallel, *arguments], env=build.environment(devices), cwd=build.TESTS.parent
    ).returncode


if __name__ == "__main__":
    os.environ.pop("PYTEST_ADDOPTS", None)
    sys.exit(main(sys.argv[1:]))
