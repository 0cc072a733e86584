"""What a folder remembers of its runs, and what it may forget."""

from __future__ import annotations

from pathlib import Path

import pytest

from initscope.store.folder import open_folder
from tests.store.material import IDENTITY, ensemble


def test_a_folder_without_numbers_starts_over(tmp_path: Path) -> None:
    with open_folder(tmp_path / "out", create=True) as folder:
        folder.claim(IDENTITY)
        folder.claim_condition("default", {"*": "ones"})
        folder.save_study_toml("text")
        folder.start_over()
        assert (folder.identity(), folder.conditions(), folder.study_toml()) == ({}, {}, None)
        folder.claim({"other": 1})


def test_what_has_numbers_is_never_forgotten(tmp_path: Path) -> None:
    with open_folder(tmp_path / "out", create=True) as folder:
        folder.claim(IDENTITY)
        for key in ("default", "all-zero", "empty"):
            folder.claim_condition(key, {})
        folder.save_ensemble(*ensemble(("default", "all-zero"), range(2)))
        folder.forget_condition("empty")
        for forget in (folder.start_over, lambda: folder.forget_condition("default")):
            with pytest.raises(ValueError, match="has numbers: nothing of it is forgotten"):
                forget()
        assert list(folder.conditions()) == ["default", "all-zero"]
        assert folder.identity() == IDENTITY
