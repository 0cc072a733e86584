"""An ensemble is stored as a whole; what is stored is never replaced, unless it had failed."""

import contextlib
import dataclasses
import errno
import os
import sqlite3

import numpy as np
import pytest

from initscope.base.errors import EnvironmentFault
from initscope.records.run import History
from initscope.store import rows
from initscope.store.folder import read_folder
from tests.store.material import assert_same_bits, ensemble, new_folder, weights_of
from tests.support.synthetic import make_run


@pytest.fixture
def folder(tmp_path):
    with new_folder(tmp_path / "out", "default", "all-zero") as opened:
        yield opened


def refused(action) -> str:
    with pytest.raises(ValueError) as caught:
        action()
    return str(caught.value)


def test_a_failed_run_is_replaced_with_its_history_probes_and_weights(folder):
    first = dataclasses.replace(make_run("default", 0, epochs=5), status="failed", error="boom")
    folder.save_ensemble([first], {})
    second = make_run("default", 0, epochs=2)
    folder.save_ensemble([second], {("default", 0): weights_of("default", 0)})
    assert_same_bits(folder.runs(), (second,))
    assert folder.weights("default", 0, "hidden1.weight", "final") is not None


@pytest.mark.parametrize("status", ["finished", "diverged"])
def test_a_run_that_did_not_fail_is_never_replaced_and_keeps_its_weights(folder, status):
    first = dataclasses.replace(make_run("default", 0), status=status)
    folder.save_ensemble([first], {("default", 0): weights_of("default", 0)})
    runs, weights = ensemble(("all-zero", "default"), range(1))
    weights["default", 0] = {name: values + 9 for name, values in weights["default", 0].items()}
    assert refused(lambda: folder.save_ensemble(runs, weights)) == "run 'default', seed 0 is stored already"
    assert_same_bits(folder.runs(), (first,))
    kept = folder.weights("default", 0, "hidden1.weight", "final")
    assert_same_bits(kept, weights_of("default", 0)["final/hidden1.weight"])


def test_records_that_cannot_be_stored_are_refused_before_anything_is_written(folder):
    good = make_run("default", 0)
    short = dataclasses.replace(good.history, train_loss=np.zeros(1))
    probes = dataclasses.replace(good.probes, dead_units=np.zeros((1, 3)))
    steps = len(good.probes.steps)
    values = np.zeros(2, np.float32)
    cases = {
        "the condition 'other' was not claimed": ([make_run("other", 0)], {}),
        "an ensemble names a run twice": ([good, good], {}),
        "run 'default', seed -1: a seed is 0 or more": ([dataclasses.replace(good, seed=-1)], {}),
        "run 'default', seed 0: the curves of its history differ in length": (
            [dataclasses.replace(good, history=short)], {}),
        f"dead_units has shape (1, 3), legal: ({steps}, 3)": ([dataclasses.replace(good, probes=probes)], {}),
        "weights of 'default', seed 1, which is no run of the ensemble": ([good], {("default", 1): {}}),
        "weights of 'default', seed 0: 'last/a' is neither initial/... nor final/...": (
            [good], {("default", 0): {"last/a": values}}),
        "weights of 'default', seed 0: 'final/a' is not an array of floating numbers": (
            [good], {("default", 0): {"final/a": np.zeros(2, np.int64)}}),
    }  # fmt: skip
    for message, (runs, weights) in cases.items():
        assert refused(lambda runs=runs, weights=weights: folder.save_ensemble(runs, weights)) == message
    assert folder.keys() == {}
    assert not (folder.path / "weights").exists()


def test_an_error_between_two_rows_leaves_no_run_of_the_ensemble_visible(folder, monkeypatch):
    inserted = []
    plain = rows.insert_run

    def second_fails(*arguments):
        inserted.append(arguments)
        if len(inserted) == 2:
            raise KeyboardInterrupt
        plain(*arguments)

    folder.save_ensemble(*ensemble(("default",), range(1)))
    monkeypatch.setattr(rows, "insert_run", second_fails)
    with pytest.raises(KeyboardInterrupt):
        folder.save_ensemble(*ensemble(("all-zero",), range(3)))
    monkeypatch.undo()
    assert list(folder.keys()) == [("default", 0)]
    assert folder.weights("all-zero", 0, "hidden1.weight", "final") is None
    folder.save_ensemble(*ensemble(("all-zero",), range(3)))
    assert len(folder.runs()) == 4


def test_a_reader_beside_the_writer_sees_whole_ensembles_as_they_come(folder):
    with read_folder(folder.path) as reader:
        for number in range(3):
            folder.save_ensemble(*ensemble(("default", "all-zero"), range(2 * number, 2 * number + 2)))
            assert len(reader.keys()) == len(reader.runs()) == 4 * (number + 1)
            assert reader.weights("all-zero", 2 * number, "hidden1.weight", "initial") is not None


def test_runs_stored_while_a_reader_is_half_way_do_not_appear_without_their_history(folder, monkeypatch):
    folder.save_ensemble(*ensemble(("default",), range(1)))
    plain = rows._histories

    def overtaken(connection):
        histories = plain(connection)
        folder.save_ensemble(*ensemble(("all-zero",), range(1)))
        return histories

    with read_folder(folder.path) as reader:
        monkeypatch.setattr(rows, "_histories", overtaken)
        assert [run.condition for run in reader.runs()] == ["default"]
        monkeypatch.undo()
        assert [run.history.train_loss.size for run in reader.runs()] == [2, 2]


def test_a_full_disk_under_the_database_is_a_fault_and_finished_runs_stay(folder):
    folder.save_ensemble(*ensemble(("default",), range(1)))
    pages = folder._connection.execute("PRAGMA page_count").fetchone()[0]
    folder._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(EnvironmentFault) as caught:
        folder.save_ensemble(*ensemble(("all-zero",), range(20)))
    assert str(caught.value) == (
        "the disk is full\n"
        f"  where: {folder.database}\n"
        "  got:   database or disk is full\n"
        "  do:    make room and give the same command again; the runs stored so far stay"
    )
    folder._connection.execute("PRAGMA max_page_count = 100000")
    assert list(folder.keys()) == [("default", 0)]
    folder.save_ensemble(*ensemble(("all-zero",), range(20)))
    assert len(folder.runs()) == 21


def test_a_full_disk_under_the_weights_is_a_fault_and_finished_runs_stay(folder, monkeypatch):
    folder.save_ensemble(*ensemble(("default",), range(1)))

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EnvironmentFault) as caught:
        folder.save_ensemble(*ensemble(("all-zero",), range(2)))
    assert caught.value.exit_code == 4
    assert str(caught.value) == (
        "the disk is full\n"
        f"  where: {folder.path}\n"
        "  got:   No space left on device\n"
        "  do:    make room and give the same command again; the runs stored so far stay"
    )
    assert list(folder.keys()) == [("default", 0)]


def test_a_database_held_by_another_program_is_a_fault_that_says_so(folder):
    folder._connection.execute("PRAGMA busy_timeout = 1")
    with new_connection(folder) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(EnvironmentFault) as caught:
            folder.save_study_toml("text")
        other.rollback()
    assert str(caught.value).splitlines()[:3] == [
        "another program holds the database",
        f"  where: {folder.database}",
        "  got:   database is locked",
    ]


def new_connection(folder):
    return contextlib.closing(sqlite3.connect(folder.database, isolation_level=None))


def test_reading_many_runs_takes_one_query_a_table_and_not_one_a_run(folder):
    runs, _ = ensemble(("default", "all-zero"), range(320))
    folder.save_ensemble(runs, {})
    statements = []
    folder._connection.set_trace_callback(statements.append)
    assert len(folder.runs()) == 640
    assert sum(statement.startswith("SELECT") for statement in statements) == 3


def test_an_empty_history_is_a_legal_one(folder):
    empty = History(train_loss=np.array([]), train_accuracy_percent=np.array([]), test_accuracy_percent=np.array([]))
    run = dataclasses.replace(make_run("default", 0), history=empty)
    folder.save_ensemble([run], {})
    assert_same_bits(folder.runs(), (run,))
