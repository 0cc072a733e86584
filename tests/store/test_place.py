"""Which paths can be a study's folder."""

import os
import stat

import pytest

from initscope.base.errors import EnvironmentFault, UsageError
from initscope.store import lock
from initscope.store.folder import open_folder, read_folder
from tests.store.material import assert_same_bits, ensemble, new_folder

LEGAL = "  legal: a new or empty folder, or one with results of initscope\n"


def refused(kind, action) -> str:
    with pytest.raises(kind) as caught:
        action()
    assert caught.value.exit_code == {UsageError: 2, EnvironmentFault: 4}[kind]
    return str(caught.value)


def test_missing_folders_are_made_with_their_parents(tmp_path):
    new_folder(tmp_path / "runs" / "of ü #1%" / "out?").close()
    with read_folder(tmp_path / "runs" / "of ü #1%" / "out?") as folder:
        assert folder.runs() == ()


def test_a_closed_folder_leaves_one_database_file_and_the_lock_file(tmp_path):
    new_folder(tmp_path / "out").close()
    assert sorted(entry.name for entry in (tmp_path / "out").iterdir()) == [".lock", "results.db"]


@pytest.mark.parametrize("opening", [lambda path: open_folder(path, create=True), read_folder])
def test_a_path_that_is_a_file_is_refused(tmp_path, opening):
    (tmp_path / "out").write_text("mine")
    assert refused(UsageError, lambda: opening(tmp_path / "out")) == (
        f"this is a file, not a folder\n  where: {tmp_path}/out\n{LEGAL}  do:    choose another folder with --out"
    )
    assert (tmp_path / "out").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_a_fault_that_names_it(tmp_path):
    (tmp_path / "file").write_text("")
    assert refused(EnvironmentFault, lambda: open_folder(tmp_path / "file" / "out", create=True)) == (
        "the folder cannot be used\n"
        f"  where: {tmp_path}/file/out\n"
        "  got:   Not a directory\n"
        "  do:    check the path and the disk, or choose another folder with --out"
    )


def test_a_folder_that_may_not_be_written_is_a_fault_that_names_it(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    assert refused(EnvironmentFault, lambda: open_folder(tmp_path / "out", create=True)) == (
        "no permission to read or write here\n"
        f"  where: {tmp_path}/out\n"
        "  got:   a folder that may not be written\n"
        "  do:    change the permissions of the folder, or choose another one with --out"
    )
    assert list((tmp_path / "out").iterdir()) == []


def test_a_database_that_may_not_be_written_is_a_fault_that_names_it(tmp_path, monkeypatch):
    new_folder(tmp_path / "out").close()
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path / "out" / "results.db")
    message = refused(EnvironmentFault, lambda: open_folder(tmp_path / "out", create=True))
    where = f"  where: {tmp_path}/out/results.db"
    assert message.splitlines()[1:3] == [where, "  got:   a file that may not be written"]


def test_a_folder_that_turns_out_read_only_is_a_fault_with_the_systems_words(tmp_path, monkeypatch):
    def deny(path, *rest):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(lock.os, "open", deny)
    message = refused(EnvironmentFault, lambda: open_folder(tmp_path / "out", create=True))
    assert message.splitlines()[:3] == [
        "no permission to read or write here",
        f"  where: {tmp_path}/out",
        "  got:   Permission denied",
    ]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root and Windows ignore these permissions")
def test_results_in_a_folder_that_may_not_be_written_can_be_read(tmp_path):
    out = tmp_path / "out"
    with new_folder(out, "default") as folder:
        runs, weights = ensemble(("default",), range(2))
        folder.save_ensemble(runs, weights)
    (out / "results.db").chmod(stat.S_IRUSR)
    out.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with read_folder(out) as folder:
            assert_same_bits(folder.runs(), tuple(runs))
        refused(EnvironmentFault, lambda: open_folder(out, create=True))
    finally:
        out.chmod(stat.S_IRWXU)


def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(tmp_path):
    for name in ("thesis.tex", "a", "b", "c", "d", "e", "figures"):
        (tmp_path / name).write_text("")
    assert refused(UsageError, lambda: open_folder(tmp_path, create=True)) == (
        "this folder holds something else\n"
        f"  where: {tmp_path}\n"
        "  got:   a, b, c, d, e and 1 more\n"
        f"{LEGAL}"
        "  do:    choose another folder with --out"
    )
    assert not (tmp_path / "results.db").exists()
    assert not (tmp_path / ".lock").exists()


def test_a_folder_with_only_our_own_leftovers_is_taken(tmp_path):
    for name in ("figures", "weights"):
        (tmp_path / name).mkdir()
    left = ("report.html", "runs.csv", "history.csv", ".lock", ".DS_Store", "results.db.new", "results.db.new-wal")
    for name in left:
        (tmp_path / name).write_text("left over")
    with open_folder(tmp_path, create=True) as folder:
        assert folder.keys() == {}
    assert (tmp_path / "report.html").read_text() == "left over"


def test_a_folder_that_has_results_may_hold_the_users_files_beside_them(tmp_path):
    new_folder(tmp_path / "out").close()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with open_folder(tmp_path / "out", create=True) as folder:
        assert folder.keys() == {}


@pytest.mark.parametrize("opening", [lambda path: open_folder(path, create=False), read_folder])
@pytest.mark.parametrize("there", [True, False])
def test_results_that_are_not_there_are_refused_without_making_anything(tmp_path, opening, there):
    if there:
        (tmp_path / "out").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert refused(UsageError, lambda: opening(tmp_path / "out")) == (
        "there are no results here\n"
        f"  where: {tmp_path}/out\n"
        f"  got:   {'a folder without results.db' if there else 'no such folder'}\n"
        "  legal: a folder that initscope run has filled\n"
        "  do:    check the path, or run a study first: initscope run STUDY --out DIR"
    )
    assert sorted(tmp_path.rglob("*")) == before
