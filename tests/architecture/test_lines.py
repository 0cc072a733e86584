"""The torch line, the matplotlib line, a light start, and no library that is not declared."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGE, REPOSITORY, Module, imports_of, read_package, write_package

WITHOUT_TORCH = frozenset({"base", "records", "theory", "datasets", "stats", "store", "figures", "report"})
WITH_MATPLOTLIB = frozenset({"figures", "report", "api", "cli", "__main__"})
HEAVY = ("torch", "scipy", "matplotlib")

BLOCKED_IMPORT = """
import importlib, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {library!r}:
            raise ModuleNotFoundError(f"blocked: {{name}}")

sys.meta_path.insert(0, Block())
for name in {modules!r}:
    importlib.import_module(name)
"""

LOADED_AFTER = """
import sys
try:
    exec({code!r})
except SystemExit:
    pass
print("loaded:", *(name for name in {heavy!r} if name in sys.modules))
"""


def run_python(code: str, *, above: Path) -> subprocess.CompletedProcess[str]:
    """Returns the outcome of `code` in a fresh Python that finds packages in `above` first."""
    path = os.pathsep.join([str(above), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path, "MPLBACKEND": "Agg"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def assert_imports_without(library: str, modules: dict[str, Module], *, above: Path) -> None:
    """Fails where one of the modules cannot be imported while `library` is blocked."""
    ended = run_python(BLOCKED_IMPORT.format(library=library, modules=sorted(modules)), above=above)
    assert ended.returncode == 0, ended.stderr


def assert_never_names(library: str, modules: dict[str, Module]) -> None:
    """Fails where one of the modules imports `library` anywhere, inside functions and for types included."""
    known = frozenset(modules)
    found = [
        f"{module.name}:{item.line}"
        for module in modules.values()
        for item in imports_of(module, known)
        if item.target.split(".")[0] == library
    ]
    assert not found, f"these import {library}: {', '.join(found)}"


def assert_loads_nothing_heavy(code: str, *, above: Path) -> None:
    """Fails where running `code` in a fresh Python loads one of HEAVY."""
    ended = run_python(LOADED_AFTER.format(code=code, heavy=HEAVY), above=above)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1].split() == ["loaded:"]


def assert_declared(modules: dict[str, Module], *, required: frozenset[str], optional: frozenset[str]) -> None:
    """Fails where a module imports at run time what is no requirement; what is optional only inside functions."""
    known = frozenset(modules)
    root = next(iter(modules)).split(".")[0]
    allowed = required | frozenset(sys.stdlib_module_names) | {root, "__future__"}
    found = []
    for module in modules.values():
        for item in imports_of(module, known):
            name = item.target.split(".")[0]
            fine = item.for_types or name in allowed or (name in optional and item.in_function)
            found += [] if fine else [f"{module.name}:{item.line}: {name}"]
    assert not found, f"imported and not declared: {', '.join(found)}"


def requirement_names(requirements: list[str]) -> frozenset[str]:
    """Returns the import names of requirements such as "typing-extensions>=4.12"."""
    return frozenset(re.split(r"[\[<>=!~ ;]", text)[0].lower().replace("-", "_") for text in requirements)


def below(packages: frozenset[str]) -> dict[str, Module]:
    """Returns the modules of initscope that lie in `packages`."""
    return {name: module for name, module in read_package(PACKAGE).items() if module.floor_name in packages}


def test_the_packages_above_no_tensor_import_without_torch() -> None:
    assert_imports_without("torch", below(WITHOUT_TORCH), above=PACKAGE.parent)


def test_the_packages_above_no_tensor_name_torch_nowhere() -> None:
    assert_never_names("torch", below(WITHOUT_TORCH))


def test_everything_below_the_figures_imports_without_matplotlib() -> None:
    assert_imports_without("matplotlib", below(below_figures()), above=PACKAGE.parent)


def test_everything_below_the_figures_names_matplotlib_nowhere() -> None:
    assert_never_names("matplotlib", below(below_figures()))


def below_figures() -> frozenset[str]:
    """Returns the packages that may not use matplotlib."""
    return frozenset(module.floor_name for module in read_package(PACKAGE).values()) - WITH_MATPLOTLIB - {""}


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert_loads_nothing_heavy("import initscope; dir(initscope)", above=PACKAGE.parent)


@pytest.mark.skipif(
    importlib.util.find_spec("initscope.cli.main") is None, reason="the command line is not written yet"
)
def test_the_help_of_the_program_loads_nothing_heavy() -> None:
    assert_loads_nothing_heavy("from initscope.cli.main import main; main(['--help'])", above=PACKAGE.parent)


def test_every_library_that_is_imported_is_declared() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    optional = requirement_names([*extras["pandas"], *extras["notebook"]]) | {"IPython"}
    modules = read_package(PACKAGE)
    plugin = modules.pop("initscope.integrations.pytest_plugin")  # pytest itself loads it, so pytest is there
    assert_declared(modules, required=requirement_names(project["dependencies"]), optional=optional)
    assert_declared(
        {**modules, plugin.name: plugin},
        required=requirement_names(["pytest", *project["dependencies"]]),
        optional=optional,
    )


def test_every_requirement_has_a_pin_in_the_tested_set() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [text for group in project["optional-dependencies"].values() for text in group]
    pins = requirement_names((REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines())
    assert requirement_names([*project["dependencies"], *extras]) - {"initscope"} <= pins


@pytest.mark.parametrize("text", ["import torch\n", "from torch.nn import Linear\n", "import torch.nn\n"])
def test_an_import_of_a_blocked_library_is_found(tmp_path: Path, text: str) -> None:
    modules = write_package(tmp_path / "made", {"stats/a.py": text})
    with pytest.raises(AssertionError, match="blocked: torch"):
        assert_imports_without("torch", modules, above=tmp_path)


def test_a_library_named_inside_a_function_is_found(tmp_path: Path) -> None:
    modules = write_package(tmp_path / "made", {"stats/a.py": "def f():\n    import torch\n"})
    assert_imports_without("torch", modules, above=tmp_path)
    with pytest.raises(AssertionError, match=r"these import torch: made\.stats\.a:2"):
        assert_never_names("torch", modules)


def test_a_heavy_start_is_found(tmp_path: Path) -> None:
    write_package(tmp_path / "made", {"__init__.py": "import scipy\n"})
    with pytest.raises(AssertionError, match="scipy"):
        assert_loads_nothing_heavy("import made", above=tmp_path)


def test_a_start_that_fails_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no_such_package"):
        assert_loads_nothing_heavy("import no_such_package", above=tmp_path)


def test_a_library_that_is_not_declared_is_found(tmp_path: Path) -> None:
    text = "import json\nimport beartype\ndef f():\n    import pandas\n"
    modules = write_package(tmp_path / "made", {"stats/a.py": text})
    with pytest.raises(AssertionError, match=r"not declared: made\.stats\.a:2: beartype\n"):
        assert_declared(modules, required=frozenset({"numpy"}), optional=frozenset({"pandas"}))


def test_an_optional_library_imported_at_the_top_is_found(tmp_path: Path) -> None:
    modules = write_package(tmp_path / "made", {"stats/a.py": "import pandas\n"})
    with pytest.raises(AssertionError, match=r"not declared: made\.stats\.a:1: pandas\n"):
        assert_declared(modules, required=frozenset(), optional=frozenset({"pandas"}))


def test_a_library_imported_for_types_alone_needs_no_declaration(tmp_path: Path) -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from jaxtyping import Float\n"
    modules = write_package(tmp_path / "made", {"stats/a.py": text})
    assert_declared(modules, required=frozenset(), optional=frozenset())
