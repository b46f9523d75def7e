"""NVIDIA's memory checker finds no access out of bounds in any kernel."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.gpu, pytest.mark.computes]

ROOT = Path(__file__).parents[2]
TOOL = "compute-sanitizer"
FOUND = 86  # the exit status where it has found something


def test_kernels_stay_in_bounds():
    tool = shutil.which(TOOL) or shutil.which(TOOL, path="/usr/local/cuda/bin")
    if tool is None:
        pytest.skip(f"{TOOL} is not on the PATH; it comes with the CUDA toolkit")
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", "tests/kernels"]
    # Calls that fail are no errors: CUDA's Python packages ask a driver for functions that only newer ones have.
    checked = [tool, "--tool", "memcheck", "--report-api-errors", "no", "--error-exitcode", str(FOUND)]
    done = subprocess.run(
        [*checked, *pytest_command],
        cwd=ROOT,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "0"},
        capture_output=True,
        text=True,
        timeout=540,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ERROR SUMMARY: 0 errors" in done.stdout
    assert " passed" in done.stdout
