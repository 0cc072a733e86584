"""Start checks in results.db: back as they were, forgotten with their condition, absent from folders of before."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from initscope.base.errors import EnvironmentFault
from initscope.records.start_check import StartCheck, StartFinding
from initscope.store.folder import open_folder, read_folder
from tests.store.material import ensemble, new_folder

FINDING = StartFinding(
    code="INI301",
    name="signal-fades",
    severity="warn",
    where=("hidden1", "größe.weight"),
    message="falls \ud800 by 1e-7",
)
CHECKS = (
    StartCheck(condition="zero", seed=0, findings=(FINDING, FINDING), rules=30, crashed=("one", "two")),
    StartCheck(condition="default", seed=0, rules=31),
    StartCheck(condition="default", seed=2, error="ValueError: no"),
)


def older(folder: Path) -> None:
    """Takes a folder back to the schema of before start checks."""
    with sqlite3.connect(folder / "results.db") as connection:
        connection.execute("DROP TABLE start_checks")
        connection.execute("PRAGMA user_version = 1")
    connection.close()


def test_checks_come_back_as_they_were_by_condition_and_seed(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out", "default", "zero") as folder:
        for check in CHECKS:
            folder.save_start_check(check)
    with read_folder(tmp_path / "out") as reader:
        found = reader.start_checks()
    assert found[:2] == CHECKS[1:]
    assert found[2].findings[0].where == FINDING.where
    assert (found[2].rules, found[2].crashed) == (30, ("one", "two"))


def test_a_check_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out", "default") as folder:
        folder.save_start_check(CHECKS[2])
        folder.save_start_check(StartCheck(condition="default", seed=2, rules=5))
        assert folder.start_checks() == (StartCheck(condition="default", seed=2, rules=5),)


def test_checks_go_with_their_condition_and_when_a_folder_starts_over(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out", "default", "zero") as folder:
        for check in CHECKS:
            folder.save_start_check(check)
        folder.forget_condition("zero")
        assert folder.start_checks() == CHECKS[1:]
        folder.start_over()
        assert folder.start_checks() == ()


def test_a_folder_of_before_is_read_as_not_checked_and_can_be_written(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out", "default") as folder:
        folder.save_ensemble(*ensemble(("default",), range(2)))
    older(tmp_path / "out")
    with read_folder(tmp_path / "out") as reader:
        assert reader.start_checks() == () and len(reader.runs()) == 2
    with open_folder(tmp_path / "out", create=False) as folder:
        folder.save_start_check(CHECKS[1])
        assert folder.start_checks() == CHECKS[1:2]


def test_a_folder_of_before_that_cannot_be_migrated_now_is_read_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_folder(tmp_path / "out", "default") as folder:
        folder.save_ensemble(*ensemble(("default",), range(2)))
    older(tmp_path / "out")

    def refuse(path: Path) -> None:
        raise EnvironmentFault("no permission to read or write here")

    monkeypatch.setattr("initscope.store.folder.check_writable", refuse)
    with read_folder(tmp_path / "out") as reader:
        assert reader.start_checks() == () and len(reader.runs()) == 2


def test_a_check_that_makes_no_sense_is_a_fault_that_names_the_run(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out", "default") as folder:
        folder.save_start_check(CHECKS[1])
    with sqlite3.connect(tmp_path / "out" / "results.db") as connection:
        connection.execute("UPDATE start_checks SET content = '[]'")
    connection.close()
    with read_folder(tmp_path / "out") as reader, pytest.raises(EnvironmentFault) as caught:
        reader.start_checks()
    assert str(caught.value.value).startswith("start check of 'default', seed 0: ")
