"""Everything public has a docstring, and the examples in docstrings are true."""

from __future__ import annotations

import ast
import doctest
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGE, Module, read_package, write_package

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def undocumented(module: Module) -> list[str]:
    """Returns the dotted names of what is public in a module and has no docstring."""
    missing = [] if ast.get_docstring(module.tree) else [module.name]
    if any(part.startswith("_") and part != "__main__" for part in module.name.split(".")):
        return []
    return missing + [name for name, node in public(module.tree, module.name) if not ast.get_docstring(node)]


def public(scope: ast.Module | ast.ClassDef, name: str) -> Iterator[tuple[str, Definition]]:
    """Yields the public functions and classes of a scope, and the public methods of those classes."""
    for node in scope.body:
        if isinstance(node, Definition) and not node.name.startswith("_") and not _is_overload(node):
            yield f"{name}.{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{name}.{node.name}")


def _is_overload(node: Definition) -> bool:
    return any(ast.unparse(decorator).split(".")[-1] == "overload" for decorator in node.decorator_list)


def assert_documented(modules: dict[str, Module]) -> None:
    """Fails where something public has no docstring."""
    assert [name for module in modules.values() for name in undocumented(module)] == []


def assert_examples_hold(name: str) -> None:
    """Fails where an example in the docstrings of the module called `name` does not give what it says."""
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for example in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name), name):
        runner.run(example, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def with_examples(modules: dict[str, Module]) -> list[str]:
    """Returns the names of the modules that have a `>>>` in them."""
    return [name for name, module in modules.items() if ">>>" in module.path.read_text(encoding="utf-8")]


def test_everything_public_in_initscope_has_a_docstring() -> None:
    assert_documented(read_package(PACKAGE))


@pytest.mark.parametrize("name", with_examples(read_package(PACKAGE)))
def test_the_examples_in_the_docstrings_hold(name: str) -> None:
    assert_examples_hold(name)


def test_what_is_public_and_silent_is_found(tmp_path: Path) -> None:
    text = (
        "class C:\n    def method(self): ...\n    def _own(self): ...\n\n"
        "def f(): ...\n\n"
        "def _g(): ...\n\n"
        "class _D:\n    def method(self): ...\n"
    )
    modules = write_package(tmp_path / "made", {"__init__.py": "'''Says.'''\n", "a.py": text})
    assert undocumented(modules["made.a"]) == ["made.a", "made.a.C", "made.a.C.method", "made.a.f"]
    with pytest.raises(AssertionError):
        assert_documented(modules)


def test_an_example_that_is_not_true_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"a.py": "'''Says.\n\n>>> 1 + 1\n3\n'''\n", "b.py": "'''Says.\n\n>>> 1 + 1\n2\n'''\n"}
    modules = write_package(tmp_path / "made_examples", files)
    assert with_examples(modules) == ["made_examples.a", "made_examples.b"]
    monkeypatch.syspath_prepend(str(tmp_path))
    assert_examples_hold("made_examples.b")
    with pytest.raises(AssertionError, match=r"Expected:\s+3\s+Got:\s+2"):
        assert_examples_hold("made_examples.a")
