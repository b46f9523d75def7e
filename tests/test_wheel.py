"""A wheel holds all that wkgpu needs when it runs, and is all that it needs besides its dependencies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
SECONDS = 300  # compiling kernels takes long on a busy machine

JOB = """
import sys
from importlib.resources import files
from pathlib import Path
import numpy as np
import wkgpu as wk
from wkgpu import kernels

environment = Path(sys.argv[1])
for module in (wk, kernels):
    assert Path(module.__file__).is_relative_to(environment), module.__file__
assert all(files("wkgpu.kernels").joinpath("cuda", name).is_file() for name in ("lz4.cu", "words.cu", "frames.cu"))

data = np.random.default_rng(0).integers(0, 9, (48, 40, 36), np.uint8)
dataset = wk.Dataset("tissue", voxel_size=(4, 4, 35))
layer = dataset.add_layer("color", "color", dtype="uint8")
mag = layer.add_mag(1, chunk_shape=16, shard_shape=32, compress=False)
mag.write(data, absolute_offset=(0, 0, 0), allow_resize=True)
layer.bounding_box = wk.BoundingBox((0, 0, 0), data.shape)
mag.compress()
assert mag.info.compression_mode
layer.downsample_mag(1, 2, interpolation_mode="max")

layer = wk.Dataset.open("tissue").get_layer("color")
np.testing.assert_array_equal(layer.get_mag(1).read()[0], data)
np.testing.assert_array_equal(layer.get_mag(2).read()[0], data.reshape(24, 2, 20, 2, 18, 2).max((1, 3, 5)))
print("done")
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of what a wheel is made of, with a file of CUDA C and a package that are found."""
    version = metadata.version("setuptools")
    if int(version.partition(".")[0]) < 77:
        pytest.skip(f"setuptools {version} is too old to build wkgpu; the extra test brings a newer one")
    tree = tmp_path_factory.mktemp("wheel") / "tree"
    for folder in ("wkgpu", "kernels"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, tree)
    (tree / "kernels" / "cuda" / "of_this_test.cu").write_text("// no kernel\n")
    for package in ("kernels/rocm", "wkgpu/storage/zarr9"):
        (tree / package).mkdir()
        (tree / package / "__init__.py").write_text('"""A package of this test."""\n')
    return tree


@pytest.fixture(scope="module")
def wheel(tree):
    """The wheel of it; nothing is downloaded."""
    build = "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"
    built = run(sys.executable, "-c", build, tree.parent, cwd=tree)
    return tree.parent / built.splitlines()[-1]


def run(*command, cwd):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_wheel_holds_modules_kernels_and_cuda_c(tree, wheel):
    with ZipFile(wheel) as file:
        held = set(file.namelist())
    expected = {path.relative_to(tree).as_posix() for path in (tree / "wkgpu").rglob("*.py")} | {"wkgpu/py.typed"}
    kernels = [path for suffix in ("py", "cu") for path in (tree / "kernels").rglob(f"*.{suffix}")]
    expected |= {f"wkgpu/{path.relative_to(tree).as_posix()}" for path in kernels}
    assert {"wkgpu/kernels/cuda/of_this_test.cu", "wkgpu/kernels/rocm/__init__.py"} <= expected
    assert {name for name in held if ".dist-info/" not in name} == expected


def test_the_main_job_in_a_fresh_environment(wheel, tmp_path):
    """Its dependencies are those of these tests, and the source tree is nowhere on its path."""
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=tmp_path)
    python = venv / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    show = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(python, "-c", show, cwd=tmp_path).strip())
    folders = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "dependencies.pth").write_text("\n".join(folders))
    assert run(python, "-c", JOB, venv, cwd=tmp_path) == "done\n"
    assert "color" in run(venv / "bin" / "wkgpu", "info", "tissue", cwd=tmp_path)
