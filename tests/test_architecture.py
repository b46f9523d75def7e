"""The packages of wkgpu, and the only dependencies between them."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

EVERYWHERE = {"enum_members", "errors", "extras", "forking", "geometry", "settings"}
# Package: what it may import of wkgpu besides itself and the modules that serve all packages.
DEPENDENCIES = {
    "geometry": {"errors"},
    "storage": {"kernels.planning", "kernels.cpu.planning", *EVERYWHERE},
    "engines": {"storage.spec", "storage.codecs", "storage.plans", "kernels", *EVERYWHERE},
    "operations": {"engines", "storage", *EVERYWHERE},
    "dataset": {"operations", "engines", "storage", "absent_names", *EVERYWHERE},
    "cli": {
        "dataset",
        "operations",
        "storage.formats",
        "storage.stores",
        "synthetic",
        "kernels.compile_listeners",
        "wkgpu",
        *EVERYWHERE,
    },
    "synthetic": set(),
}
# The only modules that name each other, and only as types: datasets, layers and mags hold their parents, and functions
# that change the files and entries of one take all of them; a vector has a part in space, which is a vector.
CIRCLES = ["wkgpu.dataset", "wkgpu.geometry.vec"]
FACADES = {"dataset.py", "layer.py", "mag_view.py", "view.py"}


def imports(file, with_types=True):
    """Yield the modules of wkgpu that a file names, without the leading "wkgpu."."""
    tree = ast.parse(file.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and (with_types or id(node) not in for_types):
            module = node.module or ""
            names = [
                f"{module}.{alias.name}" if is_module(f"{module}.{alias.name}") else module for alias in node.names
            ]
        for name in names:
            if name == "wkgpu" or name.startswith("wkgpu."):
                yield name.removeprefix("wkgpu.")


def is_module(name):
    path = ROOT / name.replace("wkgpu.kernels", "kernels").replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def files_of(package):
    files = sorted((ROOT / "wkgpu" / package).rglob("*.py"))
    assert files
    return files


def is_allowed(module, package):
    allowed = DEPENDENCIES[package] | {package}
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


@pytest.mark.parametrize("package", DEPENDENCIES)
def test_a_package_imports_only_what_the_architecture_allows(package):
    found = [(file.name, module) for file in files_of(package) for module in imports(file)]
    assert [pair for pair in found if not is_allowed(pair[1], package)] == []


def test_kernels_import_nothing_of_wkgpu():
    assert [module for file in (ROOT / "kernels").rglob("*.py") for module in imports(file)] == []


def circles(with_types):
    """The sets of modules of which each imports every other one, by way of some."""
    graph = {}
    for file in (ROOT / "wkgpu").rglob("*.py"):
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        graph[name] = {f"wkgpu.{module}".removesuffix(".wkgpu") for module in imports(file, with_types)} - {name}
    reached = {name: reachable(graph, name) for name in graph}
    mutual = {frozenset({name, *(other for other in reached[name] if name in reached[other])}) for name in graph}
    return sorted(sorted(modules) for modules in mutual if len(modules) > 1)


def reachable(graph, name):
    found, left = set(), [name]
    while left:
        left += (new := graph.get(left.pop(), set()) - found)
        found |= new
    return found & graph.keys()


def test_no_module_imports_one_that_imports_it():
    assert circles(with_types=False) == []


def test_only_parents_and_children_name_each_other():
    found = circles(with_types=True)
    assert len(found) == len(CIRCLES)
    for modules, prefix in zip(found, CIRCLES, strict=True):
        assert [module for module in modules if not module.startswith(prefix)] == []


def test_an_engine_is_not_asked_for_its_name():
    asked = re.compile(r"engine\.name\s*[=!]=|\.device\s*[=!]=\s*[\"']cpu")
    files = [file for file in (ROOT / "wkgpu").rglob("*.py") if "engines" not in file.parts]
    assert [file.name for file in files if asked.search(file.read_text())] == []


def test_files_are_of_a_size_to_read():
    folders = ROOT / "wkgpu", ROOT / "kernels"
    files = [file for folder in folders for file in folder.rglob("*.py") if file.name not in FACADES]
    assert [file.name for file in files if len(file.read_text().splitlines()) > 400] == []
    assert len(list((ROOT / "wkgpu" / "dataset").glob("*.py"))) <= 20
