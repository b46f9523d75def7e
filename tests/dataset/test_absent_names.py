"""What the WEBKNOSSOS library has and wkgpu has not: the error says why, and the README lists it."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path

import pytest

import wkgpu as wk
from wkgpu.absent_names import IN_THE_LIBRARY, ON_A_SERVER

CLASSES = ("Dataset", "Layer", "SegmentationLayer", "View", "MagView")
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def owner_of(name):
    return wk if name == "wkgpu" else getattr(wk, name)


def absent(name):
    """Return what the tables say of a class and of its bases."""
    owners = [base.__name__ for base in getattr(wk, name).__mro__] if name != "wkgpu" else [name]
    return {member for table in (ON_A_SERVER, IN_THE_LIBRARY) for owner in owners for member in table.get(owner, ())}


@pytest.mark.parametrize("name", ["wkgpu", *CLASSES])
def test_the_tables_name_what_only_the_library_has(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        webknossos = pytest.importorskip("webknossos")
    theirs = webknossos if name == "wkgpu" else getattr(webknossos, name)
    public = {member for member in dir(theirs) if not member.startswith("_")}
    if name == "wkgpu":  # and not its modules, nor what these import
        kinds = (type, type(lambda: None))
        public = {
            member
            for member in public
            if isinstance(value := getattr(theirs, member), kinds) and value.__module__.startswith("webknossos")
        }
    assert sorted(public - set(dir(owner_of(name))) - absent(name)) == []
    assert sorted(absent(name) & set(dir(owner_of(name)))) == []


@pytest.mark.parametrize(
    ("table", "says"), [(ON_A_SERVER, "needs a WEBKNOSSOS server"), (IN_THE_LIBRARY, "not have it")]
)
def test_the_error_says_what_to_do(table, says, dataset, layer, mag_view, view):
    instances = {"Dataset": dataset, "Layer": layer, "MagView": mag_view, "View": view}
    for owner, names in table.items():
        for name in names:
            for place in filter(None, (owner_of(owner), instances.get(owner))):
                with pytest.raises(AttributeError, match=f"{name}.*{says}.*webknossos package.*files are the same"):
                    getattr(place, name)
                assert not hasattr(place, name)


def test_other_errors_are_pythons_own(dataset, layer):
    with pytest.raises(AttributeError, match=r"'Dataset' object has no attribute 'uplaod'$"):
        dataset.uplaod  # noqa: B018
    with pytest.raises(AttributeError, match=r"type object 'Layer' has no attribute 'uplaod'$"):
        wk.Layer.uplaod  # noqa: B018

    class Broken(wk.Layer):
        @property
        def broken(self):
            return None.something

    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'something'"):
        Broken(dataset, layer._properties).broken  # noqa: B018


def test_the_readme_lists_what_is_missing():
    (section,) = (part for part in README.split("\n## ") if part.startswith("Coming from"))
    listed = set(section.replace("`", " ").replace(",", " ").replace(".", " ").split())
    members = {name for table in (ON_A_SERVER, IN_THE_LIBRARY) for owner in CLASSES for name in table.get(owner, ())}
    assert sorted(members - listed) == []


@pytest.mark.parametrize(
    "name",
    [
        *("add_layer_like", "write_layer", "read_cxyz", "write_cxyz", "as_segmentation_layer"),
        *("add_layer_as_copy", "add_layer_as_ref", "add_mag_as_copy", "add_mag_as_ref"),
    ],
)
def test_parameters_are_those_of_the_library(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        webknossos = pytest.importorskip("webknossos")
    for owner in CLASSES:
        if hasattr(getattr(wk, owner), name):
            theirs = inspect.signature(getattr(getattr(webknossos, owner), name)).parameters
            ours = inspect.signature(getattr(getattr(wk, owner), name)).parameters
            assert list(ours) == list(theirs)
