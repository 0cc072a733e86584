"""No file over 400 lines, no function body over 60."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.architecture.sources import REPOSITORY, repository_files

FILE_LINES = 400
BODY_LINES = 60


def oversized(path: Path, name: str) -> list[str]:
    """Returns one line for a file that is too long and for every function body in it that is."""
    text = path.read_text(encoding="utf-8")
    lines = len(text.splitlines())
    found = [f"{name}: {lines} lines"] if lines > FILE_LINES else []
    for node in ast.walk(ast.parse(text, name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and body_lines(node) > BODY_LINES:
            found.append(f"{name}:{node.lineno}: the body of {node.name} has {body_lines(node)} lines")
    return found


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Returns how many lines the statements of a function take, its docstring left out."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def assert_sizes(paths: list[Path], *, above: Path) -> None:
    """Fails where a file or a function body is over its limit."""
    assert [fault for path in paths for fault in oversized(path, path.relative_to(above).as_posix())] == []


def test_no_file_and_no_function_of_the_repository_is_too_long() -> None:
    assert_sizes([path for path in repository_files() if path.suffix == ".py"], above=REPOSITORY)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("x = 1\n" * 401, "a.py: 401 lines"),
        ("def f():\n    '''Says.'''\n" + "    x = 1\n" * 61, "a.py:1: the body of f has 61 lines"),
        ("class C:\n    async def f(self):\n" + "        x = 1\n" * 61, "a.py:2: the body of f has 61 lines"),
    ],
)
def test_what_is_too_long_is_found(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "a.py"
    path.write_text(text)
    assert oversized(path, "a.py") == [fault]
    with pytest.raises(AssertionError):
        assert_sizes([path], above=tmp_path)


def test_what_is_at_its_limit_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("def f():\n    '''Says.'''\n" + "    x = 1\n" * 60 + "x = 1\n" * 338)
    assert_sizes([path], above=tmp_path)
