from __future__ import annotations

from pathlib import Path

import pytest

from initscope.base.errors import EnvironmentFault
from initscope.records.study import Study
from initscope.study.stored import stored_study


def fault(text: str | None) -> str:
    with pytest.raises(EnvironmentFault) as caught:
        stored_study(text, database=Path("out/results.db"))
    return str(caught.value)


def test_a_stored_study_is_read_back_equal() -> None:
    study = Study.model_validate({"conditions": {"default": {}, "zero": {"*": "zeros"}}})
    assert stored_study(study.to_toml(), database=Path("x")) == study


def test_a_folder_left_before_its_study_was_written_says_so() -> None:
    assert fault(None) == (
        "this folder was left before its study was written\n  where: out/results.db\n"
        "  do:    run the study again into the same folder"
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("seeds = ", "Invalid value (at end of document)"),
        ("seeds = 3", "1 validation error for Study"),
    ],
)
def test_a_stored_study_that_is_none_is_a_damaged_folder(text: str, found: str) -> None:
    assert fault(text) == (
        "the study stored in this folder cannot be read\n  where: out/results.db\n"
        f"  got:   {found}\n  do:    keep the folder, and run the study into another one with --out"
    )
