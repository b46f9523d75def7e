"""The table of all members in the README: what each is, where it is documented, and which test covers it.

`make format` writes it. The members are those that the classes have; what they are is the first line of their
docstrings; and a test covers the members that its marker names: ``@pytest.mark.covers("View.read")``.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import wkgpu as wk

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- members:start -->\n", "<!-- members:end -->"
OWNERS = (wk.Dataset, wk.Layer, wk.SegmentationLayer, wk.View, wk.MagView)
BESIDES = {  # a class has the members of others as well, which are listed with those
    wk.SegmentationLayer: wk.Layer,
    wk.MagView: wk.View,
}
ALONE = {  # nothing to call
    *("errors", "config", "COLOR_CATEGORY", "SEGMENTATION_CATEGORY"),
    *("LayerCategoryType", "BoundingBoxLike", "MagLike", "Vec3IntLike", "VecIntLike"),
}


class Member(NamedTuple):
    """A public class, function, method or property."""

    name: str
    """``"View.read"``, or of what belongs to no class listed ``"get_executor"``."""
    documented: Any
    """What has the docstring."""

    @property
    def summary(self) -> str:
        return (inspect.getdoc(self.documented) or "").split("\n")[0]

    @property
    def place(self) -> str:
        """Where it is documented, as a link."""
        source = inspect.unwrap(self.documented)
        line = inspect.getsourcelines(source)[1]
        file = Path(inspect.getsourcefile(source)).relative_to(ROOT)
        return f"{file.as_posix()}#L{line}"


def members() -> Iterator[Member]:
    """Yield all members, in the order of the table."""
    for owner in OWNERS:
        yield Member(owner.__name__, owner)
        listed_before = dir(BESIDES.get(owner, object))
        mine = [name for name in dir(owner) if not name.startswith("_")]
        for name in mine:
            value = inspect.getattr_static(owner, name)
            if name in listed_before and not _is_redefined(owner, name):
                continue
            yield Member(f"{owner.__name__}.{name}", _documented(value))
    for name in sorted(set(wk.__all__) - ALONE - {owner.__name__ for owner in OWNERS}, key=str.lower):
        value = getattr(wk, name)
        if not inspect.ismodule(value):
            yield Member(name, value)


def _is_redefined(owner: type, name: str) -> bool:
    """Whether a class has its own version of what its base has."""
    return inspect.getattr_static(owner, name) is not inspect.getattr_static(BESIDES[owner], name)


def _documented(value: Any) -> Any:
    if isinstance(value, property):
        return value.fget
    if isinstance(value, functools.cached_property):
        return value.func
    return value.__func__ if isinstance(value, (classmethod, staticmethod)) else value


# ---- Tests


def covering_tests() -> dict[str, list[str]]:
    """Return the tests that cover each member, as links."""
    found: dict[str, list[str]] = {}
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                for name in _covered(node):
                    place = f"{file.relative_to(ROOT).as_posix()}#L{node.lineno}"
                    found.setdefault(name, []).append(place)
    return found


def _covered(node: ast.FunctionDef | ast.ClassDef) -> Iterator[str]:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.covers":
            for argument in decorator.args:
                assert isinstance(argument, ast.Constant), f"{node.name}: covers() takes names as they are"
                yield argument.value


# ---- The table


def table() -> str:
    """Return the table as it should be."""
    tests = covering_tests()
    lines = ["| member | what it is | test |", "|---|---|---|"]
    for member in members():
        covered = ", ".join(f"[{_title(place)}]({place})" for place in tests.get(member.name, [])[:1])
        summary = member.summary.replace("|", "\\|")
        lines.append(f"| [`{member.name}`]({member.place}) | {summary} | {covered} |")
    return "\n".join(lines) + "\n"


def _title(place: str) -> str:
    return Path(place.partition("#")[0]).name


def written(text: str) -> str:
    """Return the README with the table as it should be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


def main() -> None:
    """Write the table."""
    text = README.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        sys.exit(f"{README} has no place for the table of members: {BEGIN}{END}")
    README.write_text(written(text), encoding="utf-8")


if __name__ == "__main__":
    main()
