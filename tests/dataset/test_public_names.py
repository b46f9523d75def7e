"""`import wkgpu`: what it offers, what it loads, and how long it takes."""

from __future__ import annotations

import inspect
import pickle

import pytest

import wkgpu as wk

HEAVY = ("numba", "llvmlite", "lz4", "numpy", "zarr", "cupy", "kvikio", "torch", "dask", "rich", "typer")


def test_the_import_loads_nothing_heavy(run_python):
    loaded = run_python(f"import wkgpu, sys; print(*(name for name in {HEAVY} if name in sys.modules))")
    assert loaded.split() == []


def test_opening_a_dataset_loads_no_kernels(run_python, dataset, layer, mag_view):
    script = (
        "import sys, wkgpu as wk; dataset = wk.Dataset.open(sys.argv[1]); dataset.get_layer('color').get_mag(1).info;"
        f"print(*(name for name in {HEAVY} if name in sys.modules))"
    )
    assert run_python(script, dataset.path).split() == ["numpy"]


def test_the_import_is_quick(run_python):
    script = "import time; start = time.perf_counter(); import wkgpu; print(time.perf_counter() - start)"
    assert min(float(run_python(script)) for _ in range(3)) < 0.3


def test_every_public_name_is_there():
    for name in wk.__all__:
        assert getattr(wk, name) is not None
    assert set(wk.__all__) <= set(dir(wk))
    with pytest.raises(AttributeError, match="no attribute 'Datenset'"):
        wk.Datenset  # noqa: B018
    assert wk.errors.WkgpuError is wk.WkgpuError


@pytest.mark.parametrize(
    "owner",
    [wk.Dataset, wk.Layer, wk.SegmentationLayer, wk.MagView, wk.View, wk.ArrayInfo, wk.DataFormat, wk.VoxelSize],
)
def test_every_public_member_is_described(owner):
    members = inspect.classify_class_attrs(owner)
    public = [
        member
        for member in members
        if not member.name.startswith("_") and member.defining_class.__module__.startswith("wkgpu")
    ]
    for member in public:
        if callable(member.object) or isinstance(member.object, (property, classmethod)):
            assert inspect.getdoc(getattr(owner, member.name)), member.name


# ---- Errors


BUILT_INS = {
    "RegionError": (AssertionError, ValueError),
    "OutOfBoundsError": (AssertionError, ValueError),
    "ShapeError": (AssertionError, ValueError),
    "DtypeError": (AssertionError, ValueError, TypeError),
    "ArgumentError": (TypeError, ValueError),
    "CategoryError": (RuntimeError,),
    "InvalidNameError": (ValueError,),
    "MismatchError": (AssertionError, ValueError),
    "ReadOnlyError": (RuntimeError, AssertionError),
    "HandleError": (RuntimeError,),
    "NotFoundError": (FileNotFoundError,),
    "AlreadyExistsError": (RuntimeError, FileExistsError),
    "NameTakenError": (IndexError, RuntimeError),
    "LayerNotFoundError": (KeyError, IndexError),
    "MagNotFoundError": (KeyError, IndexError),
    "PropertiesError": (ValueError,),
}


@pytest.mark.parametrize("name", BUILT_INS)
@pytest.mark.covers("WkgpuError")
def test_errors_are_the_built_ins_that_callers_catch(name):
    error = getattr(wk.errors, name)
    for built_in in BUILT_INS[name]:
        with pytest.raises(built_in):
            raise error("what to do")
    assert issubclass(error, wk.WkgpuError)
    assert str(error("what to do")) == "what to do"
    assert str(pickle.loads(pickle.dumps(error("what to do")))) == "what to do"
