"""Imports go downward only, brothers stay apart, no circles, and nothing inside imports the package root."""

from __future__ import annotations

import graphlib
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGE, Module, imports_of, read_package, write_package

FLOORS = {
    "base": 0,
    "records": 1, "theory": 1,
    "modules": 2, "measures": 2, "models": 2, "datasets": 2,
    "initializers": 3, "train": 3, "stats": 3, "store": 3, "checker": 3,
    "study": 4, "figures": 4,
    "report": 5,
    "api": 6, "init": 6,
    "cli": 7, "integrations": 7,
    "__main__": 8,
}  # fmt: skip


def faults(modules: dict[str, Module]) -> list[str]:
    """Returns one line for every import that a floor, a brother or the root forbids."""
    root, known = next(iter(modules)).split(".")[0], frozenset(modules)
    found = []
    for module in modules.values():
        if module.name == root:
            continue
        here = FLOORS.get(module.floor_name)
        if here is None:
            found.append(f"{module.name}: the package {module.floor_name} has no floor")
            continue
        for item in imports_of(module, known):
            words = item.target.split(".")
            if words[0] != root:
                continue
            reason = _reason(module.floor_name, here, "".join(words[1:2]))
            found += [f"{module.name}:{item.line}: {reason}"] if reason else []
    return found


def _reason(name: str, here: int, target: str) -> str | None:
    if target == "":
        return "imports the package root"
    there = FLOORS.get(target)
    if there is None:
        return f"imports {target}, which has no floor"
    if target != name and there == here:
        return f"{name} imports its brother {target}"
    return f"{name} (floor {here}) imports upward from {target} (floor {there})" if there > here else None


def assert_floors(modules: dict[str, Module]) -> None:
    """Fails where an import goes upward, to a brother, to the root, or to or from a package without a floor."""
    assert faults(modules) == []


def assert_no_circle(modules: dict[str, Module]) -> None:
    """Fails where modules import each other in a circle, imports inside functions and for types included."""
    root, known = next(iter(modules)).split(".")[0], frozenset(modules)
    inside = [module for name, module in modules.items() if name != root]
    graph = {
        module.name: {item.target for item in imports_of(module, known)} & known - {module.name} for module in inside
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        raise AssertionError(f"circle: {' -> '.join(reversed(error.args[1]))}") from error


def test_the_imports_of_initscope_go_downward_only() -> None:
    assert_floors(read_package(PACKAGE))


def test_the_modules_of_initscope_form_no_circle() -> None:
    assert_no_circle(read_package(PACKAGE))


def test_every_package_of_initscope_has_a_floor() -> None:
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages <= set(FLOORS)


@pytest.mark.parametrize(
    ("path", "text", "fault"),
    [
        ("base/a.py", "import made.records.b\n", "base (floor 0) imports upward from records (floor 1)"),
        ("base/a.py", "def f():\n    from made.cli import b\n", "base (floor 0) imports upward from cli (floor 7)"),
        ("base/a.py", "from ..cli import b\n", "base (floor 0) imports upward from cli (floor 7)"),
        (
            "base/a.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from made.cli.b import c\n",
            "base (floor 0) imports upward from cli (floor 7)",
        ),
        ("stats/a.py", "from made.train import b\n", "stats imports its brother train"),
        ("stats/a.py", "from made import train\n", "stats imports its brother train"),
        ("stats/a.py", "from made import __version__\n", "imports the package root"),
        ("stats/a.py", "import made\n", "imports the package root"),
        ("stats/a.py", "import made.web.page\n", "imports web, which has no floor"),
    ],
)
def test_an_import_against_the_floors_is_found(tmp_path: Path, path: str, text: str, fault: str) -> None:
    modules = write_package(tmp_path / "made", {path: text, "train/b.py": "", "cli/b.py": "c = 1\n"})
    where = path.removesuffix(".py").replace("/", ".")
    assert faults(modules) == [f"made.{where}:{text.count(chr(10))}: {fault}"]
    with pytest.raises(AssertionError):
        assert_floors(modules)


def test_a_package_without_a_floor_is_found(tmp_path: Path) -> None:
    modules = write_package(tmp_path / "made", {"helpers/__init__.py": ""})
    assert faults(modules) == ["made.helpers: the package helpers has no floor"]


def test_the_root_may_name_what_lies_above_the_ground(tmp_path: Path) -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from made.cli.b import c\n"
    assert_floors(write_package(tmp_path / "made", {"__init__.py": text, "cli/b.py": "c = 1\n"}))


def test_imports_downward_and_within_a_package_are_allowed(tmp_path: Path) -> None:
    files = {
        "stats/a.py": "import numpy\nfrom made.base.errors import E\nfrom made.stats import b\n",
        "stats/b.py": "from made.records import r\n",
        "records/r.py": "",
        "base/errors.py": "E = 1\n",
    }
    modules = write_package(tmp_path / "made", files)
    assert_floors(modules)
    assert_no_circle(modules)


@pytest.mark.parametrize(
    "text", ["from made.stats import a\n", "from . import a\n", "def f():\n    import made.stats.a\n"]
)
def test_a_circle_of_modules_is_found(tmp_path: Path, text: str) -> None:
    modules = write_package(tmp_path / "made", {"stats/a.py": "from made.stats.b import f\n", "stats/b.py": text})
    with pytest.raises(AssertionError, match=r"circle: made\.stats\.\w -> made\.stats\.\w -> made\.stats\.\w"):
        assert_no_circle(modules)
