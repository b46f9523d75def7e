"""Install wkgpu into fresh environments, one for each Python that is given, and compile its kernels for GPUs there.

    python tests/install_check.py python3.11 python3.12 python3.13
    python tests/install_check.py --extra cuda12 python3.12
    python tests/install_check.py --newest .venv-newest

No GPU is needed: kernels become PTX and machine code. The last line is for `make test`: on the newest Python of this
machine, if it is newer than the one that runs this, into a folder that is kept, without the packages that no kernel
needs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

ROOT = Path(__file__).parents[1]
NEWEST_MINOR = 14  # of Python 3, which Numba and numba-cuda both support
TESTS = ["tests/kernels/test_numpy_names.py"]
NEWEST_GPU = "sm_100a"
TOOLS = ["pytest>=8", "pytest-xdist>=3.6", "hypothesis>=6.120"]
OF_KERNELS = ("numpy", "numba", "lz4", "msgspec")  # of what wkgpu needs, what its kernels and their tests import
COMPILERS = ("numpy", "numba-cuda", "nvidia-cuda-nvrtc")  # of an extra, what its kernels are compiled with
REPORTED = ("numpy", "numba", "numba-cuda", "cuda-toolkit", "cupy-cuda12x", "cupy-cuda13x", "nvidia-cuda-nvrtc")
SHOW_VERSIONS = """
import platform, sys
from importlib import metadata
found = {d.metadata["Name"].lower(): d.version for d in metadata.distributions()}
versions = [f"{name} {found[name]}" for name in sys.argv[1:] if name in found]
print("Python", platform.python_version(), "with", ", ".join(versions), flush=True)
"""
CUDA_C = """
from importlib.util import find_spec
from pathlib import Path
from cupy.cuda import nvrtc  # what compiles RawModules; the rest of CuPy's way wants a driver
(folder,) = find_spec("wkgpu.kernels.cuda").submodule_search_locations
paths = sorted(Path(folder).glob("*.cu"))
for path in paths:
    program = nvrtc.createProgram(path.read_text(), path.name, (), ())
    macros = "-DOK=0", "-DMALFORMED=1", "-DWRONG_LENGTH=2", "-DWARPS=4"
    try:
        nvrtc.compileProgram(program, ("-arch=sm_90", "--std=c++17", *macros))
    except nvrtc.NVRTCError:
        raise SystemExit(nvrtc.getProgramLog(program))
    print(f"{path.name}: {len(nvrtc.getCUBIN(program)):,} bytes, by CuPy and NVRTC", *nvrtc.getVersion())
print(len(paths), "files of CUDA C")
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="*", help="to make environments with")
    parser.add_argument("--extra", default="cuda13", help="of wkgpu, to be installed (default: %(default)s)")
    parser.add_argument("--newest", type=Path, metavar="FOLDER", help="keep an environment of the newest Python there")
    wanted = parser.parse_args(arguments)
    if wanted.newest:
        return check_newest(wanted.extra, wanted.newest.absolute())
    if not wanted.pythons:
        parser.error("name a Python, such as python3.12")
    failed = [python for python in wanted.pythons if not check(python, wanted.extra)]
    print("failed:", ", ".join(failed)) if failed else print("kernels compile on", ", ".join(wanted.pythons))
    return len(failed) > 0


def check(python: str, extra: str) -> bool:
    """Install wkgpu as a wheel, and compile its kernels beside a copy of the tests and benchmarks alone."""
    with TemporaryDirectory(prefix="wkgpu-install-") as name:
        folder = Path(name)
        begin = perf_counter()
        if not install(python, folder / "venv", [f"{ROOT}[{extra}]", *TOOLS]):
            return False
        print(f"{python}: '.[{extra}]' installed in {perf_counter() - begin:.0f} s", flush=True)
        for part in ("tests", "benchmarks"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        return compiles(folder / "venv", folder, every_test=True)


def check_newest(extra: str, venv: Path) -> int:
    python = newest_python()
    if python is None:
        running = ".".join(map(str, sys.version_info[:2]))
        print(f"skipped: kernels on a second Python, because this machine has none newer than {running}")
        return 0
    stamp, content = venv / ".installed", f"{python}\n{(ROOT / 'pyproject.toml').read_text()}"
    if not stamp.is_file() or stamp.read_text() != content:
        shutil.rmtree(venv, ignore_errors=True)
        if not install(python, venv, ["--no-compile", *requirements(extra), *TOOLS]):
            print(f"skipped: kernels on {python}, because their compilers cannot be installed there")
            return 0
        stamp.write_text(content)
    return not compiles(venv, ROOT, every_test=False)


def newest_python() -> str | None:
    """Return the newest Python 3 that starts: of those on PATH, and of pyenv, which may hide them from there."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in range(NEWEST_MINOR, sys.version_info.minor, -1):
        candidates = [shutil.which(f"python3.{minor}"), *map(str, pyenv.glob(f"3.{minor}.*/bin/python3.{minor}"))]
        for python in filter(None, candidates):
            if not subprocess.run([python, "-c", "import venv"], capture_output=True, check=False).returncode:
                return python
    return None


def requirements(extra: str) -> list[str]:
    """Return what wkgpu needs, and of an extra what compiles its kernels."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    of_extra = [line for line in project["optional-dependencies"][extra] if line.startswith(COMPILERS)]
    return [*(line for line in project["dependencies"] if line.startswith(OF_KERNELS)), *of_extra]


def install(python: str, venv: Path, what: list[str]) -> bool:
    commands = [[python, "-m", "venv", venv], [venv / "bin" / "python", "-m", "pip", "install", "--quiet", *what]]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
            return False
    return True


def compiles(venv: Path, folder: Path, every_test: bool) -> bool:
    python = venv / "bin" / "python"
    environment = {**os.environ, "PYTHONPATH": "" if every_test else str(folder), "PYTHONWARNINGS": "ignore"}
    tests = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
    kernels = [python, "-m", "benchmarks.kernels", "--output", os.devnull]
    if not every_test:
        kernels += ["--only", NEWEST_GPU]
    steps = [[python, "-c", SHOW_VERSIONS, *REPORTED], tests, kernels]
    if every_test:
        steps.append([python, "-c", CUDA_C])
    return all(not subprocess.run(step, cwd=folder, env=environment, check=False).returncode for step in steps)


if __name__ == "__main__":
    sys.exit(main())
