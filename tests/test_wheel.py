"""A wheel holds all that wkgpu needs when it runs: modules, kernels, and CUDA C, which is no Python module."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]


def test_a_wheel_holds_modules_kernels_and_cuda_c(tmp_path):
    version = metadata.version("setuptools")
    if int(version.partition(".")[0]) < 77:
        pytest.skip(f"setuptools {version} is too old to build wkgpu; the extra test brings a newer one")
    tree = tmp_path / "tree"
    for folder in ("wkgpu", "kernels"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, tree)
    (tree / "kernels" / "cuda" / "of_this_test.cu").write_text("// no kernel\n")
    build = "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=tree, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    with ZipFile(tmp_path / done.stdout.splitlines()[-1]) as wheel:
        held = set(wheel.namelist())
    expected = {path.relative_to(tree).as_posix() for path in (tree / "wkgpu").rglob("*.py")} | {"wkgpu/py.typed"}
    kernels = [path for suffix in ("py", "cu") for path in (tree / "kernels").rglob(f"*.{suffix}")]
    expected |= {f"wkgpu/{path.relative_to(tree).as_posix()}" for path in kernels}
    assert expected <= held
    assert "wkgpu/kernels/cuda/of_this_test.cu" in held
    assert {name for name in held if ".dist-info/" not in name} == expected
