"""A folder of its own for each test, so that messages name files as a user would write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from initscope.base.errors import UsageError
from initscope.study.file import load_study

Refusal = Callable[..., str]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refusal() -> Refusal:
    """Returns the message for a file mine.toml with this text or these bytes."""

    def refuse(content: str | bytes, *overrides: str) -> str:
        Path("mine.toml").write_bytes(content.encode() if isinstance(content, str) else content)
        with pytest.raises(UsageError) as caught:
            load_study("mine.toml", overrides=overrides)
        assert caught.value.exit_code == 2
        return str(caught.value)

    return refuse
