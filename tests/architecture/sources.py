"""What the tests of this folder read: the repository's files, the package's modules and what each of them imports."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import initscope

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = Path(initscope.__file__).resolve().parent


@dataclass(frozen=True, kw_only=True)
class Import:
    """`target` is the dotted module named at `line`.

    `for_types` where only a type checker reads it, `in_function` where it is carried out at a call.
    """

    target: str
    line: int
    for_types: bool
    in_function: bool


@dataclass(frozen=True, kw_only=True)
class Module:
    """One file of a package: its dotted name, its path and its syntax tree."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def floor_name(self) -> str:
        """The package directly under the root that holds this module; "" for the root itself."""
        return "".join(self.name.split(".")[1:2])


def read_package(folder: Path) -> dict[str, Module]:
    """Returns the modules under a package's folder by dotted name; the folder's name is the root's name."""
    modules = {}
    for path in sorted(folder.rglob("*.py")):
        parts = [folder.name, *path.relative_to(folder).with_suffix("").parts]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        modules[name] = Module(name=name, path=path, tree=ast.parse(path.read_text(encoding="utf-8"), str(path)))
    return modules


def imports_of(module: Module, known: frozenset[str]) -> Iterator[Import]:
    """Yields every import in a module, inside functions too; `from a import b` names a.b where that is a module."""
    typing_only = {id(node) for branch in _type_checking_branches(module.tree) for node in ast.walk(branch)}
    functions = (node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    called = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            inside = [f"{base}.{alias.name}" for alias in node.names]
            targets = [name if name in known else base for name in inside]
        else:
            continue
        for target in dict.fromkeys(targets):
            at_call = id(node) in called
            yield Import(target=target, line=node.lineno, for_types=id(node) in typing_only, in_function=at_call)


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    above = parts[: len(parts) - node.level + (module.path.name == "__init__.py")]
    return ".".join([*above, *([node.module] if node.module else [])])


def _type_checking_branches(tree: ast.Module) -> Iterator[ast.stmt]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from node.body


def write_package(folder: Path, files: dict[str, str]) -> dict[str, Module]:
    """Returns the modules of a made-up package, written under `folder` from relative paths to source texts."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        for parent in path.parents:
            if parent == folder.parent:
                break
            (parent / "__init__.py").touch()
    return read_package(folder)


def repository_files() -> list[Path]:
    """Returns the files git knows or would add; skips the test outside a git checkout."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        told = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [path for name in sorted(set(told.split("\0"))) if name and (path := REPOSITORY / name).is_file()]
