"""The room as a whole: its examples run, it stands alone, and its objects are cheap to make."""

import doctest
import importlib
import pkgutil
import subprocess
import sys
import timeit
from typing import Optional, get_type_hints

import pytest

import wkgpu.geometry

MODULES = [f"wkgpu.geometry.{module.name}" for module in pkgutil.iter_modules(wkgpu.geometry.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", ["BoundingBoxLike", "MagLike", "Vec3IntLike", "VecIntLike"])
def test_what_things_are_made_of_is_a_type_at_run_time(name):
    like = getattr(wkgpu, name)
    assert like is getattr(wkgpu.geometry, name)
    assert like | None == Optional[like]  # noqa: UP045
    annotated = type("Annotated", (), {"__annotations__": {"value": f"wkgpu.{name} | None"}})
    assert get_type_hints(annotated, {"wkgpu": wkgpu})["value"] == like | None


def test_geometry_stands_alone():
    program = (
        "import sys, wkgpu.geometry as g; g.BoundingBox((1, 2, 3), (4, 5, 6)).from_mag_to_mag1(2).in_mag('2');"
        "print(sorted(n for n in sys.modules if n == 'numpy' or n.startswith('wkgpu') and not n.startswith('wkgpu.g')))"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "['wkgpu', 'wkgpu.errors', 'wkgpu.forking']"


@pytest.mark.parametrize(
    ("statement", "microseconds"),
    [
        ("Vec3Int(1, 2, 3)", 0.5),
        ("Mag(2)", 1),
        ("BoundingBox((1, 2, 3), (4, 5, 6))", 1.5),
        ("box.in_mag(mag)", 5),
        ("box.contains_bbox(box)", 2.5),
    ],
)
def test_objects_are_cheap(statement, microseconds):
    """Every patch makes some of these; ten times their budget is a change of kind, not a busy machine."""
    names = vars(wkgpu.geometry) | {"box": wkgpu.geometry.BoundingBox((8, 8, 8), (16, 16, 16))}
    seconds = timeit.repeat(statement, globals=names | {"mag": wkgpu.geometry.Mag(2)}, number=1000, repeat=5)
    assert min(seconds) * 1000 < 10 * microseconds
