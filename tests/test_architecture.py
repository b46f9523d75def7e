"""The packages of wkgpu, and the only dependencies between them."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

EVERYWHERE = {"choices", "errors", "extras", "forking", "geometry", "settings"}
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
        "kernels.announcements",
        "wkgpu",
        *EVERYWHERE,
    },
    "synthetic": set(),
}
# Each with what must change before it can go.
EXCEPTIONS: dict[str, set[str]] = {}
HOLD_THEIR_PARENTS = {"wkgpu.dataset.dataset", "wkgpu.dataset.layer", "wkgpu.dataset.mag_view"}


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
    path = ROOT / name.removeprefix("wkgpu." if name.startswith("wkgpu.kernels") else "").replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def files_of(package):
    files = sorted((ROOT / "wkgpu" / package).rglob("*.py"))
    assert files
    return files


def is_allowed(module, package):
    allowed = DEPENDENCIES[package] | EXCEPTIONS.get(package, set()) | {package}
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


@pytest.mark.parametrize("package", DEPENDENCIES)
def test_a_package_imports_only_what_the_architecture_allows(package):
    found = [(file.name, module) for file in files_of(package) for module in imports(file)]
    assert [pair for pair in found if not is_allowed(pair[1], package)] == []


def test_kernels_import_nothing_of_wkgpu():
    assert [module for file in (ROOT / "kernels").rglob("*.py") for module in imports(file)] == []
