"""A folder of its own for each test, with a small study in it, and the program called in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.small_study import Ended, call, write_small

Program = Callable[..., Ended]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Calls `initscope` in a fresh folder that holds small.toml and small.csv."""
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    return lambda *arguments: call(monkeypatch, *arguments)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of the small study, finished once; tests must leave it as it is or copy it."""
    place = tmp_path_factory.mktemp("finished")
    write_small(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        ended = call(patch, "run", "small.toml", "--out", "out", "--quiet", "--no-report")
    assert ended == Ended(code=0, out="", err="")
    return place / "out"
