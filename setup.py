"""The packages of wkgpu, which are found; all else is in ``pyproject.toml``."""

from setuptools import find_packages, setup

# Loops for every machine lie beside the package, because they import nothing of it, and are installed inside.
KERNELS = "kernels"

setup(
    packages=[
        *find_packages(include=["wkgpu", "wkgpu.*"]),
        *(f"wkgpu.{name}" for name in find_packages(include=[KERNELS, f"{KERNELS}.*"])),
    ],
    package_dir={"wkgpu.kernels": KERNELS},
)
