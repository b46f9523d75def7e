"""The rooms of the house, and the only arrows between them."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Room: what it may import of wkgpu. "absent_names", "errors", "extras", "forking" and "settings" serve all of them.
CLI_STORAGE = {"storage.layout", "storage.local_path", "storage.replacement"}
ARROWS = {
    "geometry": {"errors"},
    "storage": {"storage", "geometry", "errors", "forking", "settings"},
    "engines": {"engines", "storage", "kernels", "errors", "extras", "forking", "settings"},
    "dataset": {"dataset", "geometry", "storage", "engines", "absent_names", "errors", "extras", "forking", "settings"},
    "cli": {
        "cli",
        "dataset",
        "geometry",
        *CLI_STORAGE,
        "synthetic",
        "errors",
        "extras",
        "kernels.announcements",
        "wkgpu",
    },
    "synthetic": {"synthetic"},
}
# Of storage an engine sees plans and the types of their columns, and never a file format or a path of one.
PLANS = {"read_plan", "write_plan", "comparison_plan", "chunk_grid", "layout"}


def imports(file):
    """Yield the modules of wkgpu that a file names, without the leading "wkgpu."."""
    for node in ast.walk(ast.parse(file.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        for name in names:
            if name == "wkgpu" or name.startswith("wkgpu."):
                yield name.removeprefix("wkgpu.")


def is_allowed(module, room):
    return any(module == allowed or module.startswith(f"{allowed}.") for allowed in ARROWS[room] | {room})


@pytest.mark.parametrize("room", ARROWS)
def test_a_room_imports_only_what_the_house_allows(room):
    files = list((ROOT / "wkgpu" / room).rglob("*.py"))
    assert files
    forbidden = [(file.name, module) for file in files for module in imports(file) if not is_allowed(module, room)]
    assert forbidden == []


def test_an_engine_sees_plans_and_no_formats():
    seen = {module for file in (ROOT / "wkgpu" / "engines").rglob("*.py") for module in imports(file)}
    assert {module.removeprefix("storage.") for module in seen if module.startswith("storage.")} <= PLANS


def test_kernels_import_nothing_of_wkgpu():
    assert [module for file in (ROOT / "kernels").rglob("*.py") for module in imports(file)] == []
