"""How a refusal is compared: whole, with its exit code, and with nothing left behind."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Program

INITIALIZERS = """\
  legal: constant, glorot_normal, glorot_uniform, he_normal, he_uniform, lecun_normal,
         lecun_uniform, normal, ones, orthogonal, torch_default, uniform, zeros
"""


def assert_refused(program: Program, arguments: list[str], message: str, *, code: int = 2) -> None:
    """Fails unless the program says exactly this, ends with this code, and has made no file or folder."""
    before = sorted(Path().iterdir())
    ended = program(*arguments)
    assert (ended.err, ended.out, ended.code) == (f"error: {message}\n", "", code)
    assert sorted(Path().iterdir()) == before
