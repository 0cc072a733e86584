"""One folder a study: opened for writing under a lock or for reading beside a writer; ensembles stored whole."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from typing import final

from initscope.base.errors import EnvironmentFault, UsageError
from initscope.records.dataset import DatasetSummary
from initscope.records.results import Environment
from initscope.records.run import RunRecord
from initscope.records.start_check import StartCheck
from initscope.store import claims, lock, reading, rows, schema, start_checks, weights
from initscope.store.database import NAME, connect_reading, connect_writing, create_database, transaction
from initscope.store.faults import guarded
from initscope.store.place import check_results, check_writable, make_place


def open_folder(path: str | os.PathLike[str], *, create: bool) -> StudyFolder:
    """Returns a study's folder opened for writing, under its lock; use it in a `with`.

    `create`: a folder that is missing or empty becomes one; otherwise it must hold results. Folders of older schema
    versions are migrated.

    Raises UsageError where the path is a file, holds something else, holds nothing and `create` is false, or is
    being written by another process; EnvironmentFault where it cannot be made, written or read, or is of a newer
    schema version.
    """
    folder = Path(path)
    with guarded(folder):
        if create:
            make_place(folder)
        else:
            check_results(folder)
        check_writable(folder)
        held = lock.acquire(folder)
    try:
        return StudyFolder(folder, _database_for_writing(folder), held)
    except BaseException:
        held.release()
        raise


def read_folder(path: str | os.PathLike[str]) -> FolderReader:
    """Returns a study's folder opened for reading; no lock, so another process may be writing into it.

    Use it in a `with`, or close it. An older schema version is migrated first, under the lock, where that can be had.
    Raises as `open_folder`.
    """
    folder = Path(path)
    database = folder / NAME
    with guarded(database):
        check_results(folder)
        connection = connect_reading(database)
        if schema.version_of(connection) < len(schema.MIGRATIONS):
            connection = _migrated(folder, connection)
        return FolderReader(folder, connection)


def _migrated(folder: Path, connection: sqlite3.Connection) -> sqlite3.Connection:
    """A connection to the newest schema; `connection` itself where the folder cannot be written or is in use.

    Every reader copes with the schemas there have been: what they lack was not measured.
    """
    try:
        with open_folder(folder, create=False):
            pass
    except (UsageError, EnvironmentFault):
        return connection
    connection.close()
    return connect_reading(folder / NAME)


@final
class FolderReader(reading.ReadableFolder):
    """A study's folder opened for reading only, by `read_folder`."""

    def close(self) -> None:
        """Closes the database; a second call does nothing."""
        self._connection.close()


@final
class StudyFolder(reading.ReadableFolder):
    """A study's folder opened for writing, by `open_folder`. Each method that stores does so whole or not at all."""

    def __init__(self, path: Path, connection: sqlite3.Connection, held: lock.FolderLock) -> None:
        super().__init__(path, connection)
        self._lock = held

    def close(self) -> None:
        """Closes the database and lifts the lock; a second call does nothing."""
        try:
            self._connection.close()
        finally:
            self._lock.release()

    def claim(self, identity: Mapping[str, object]) -> None:
        """Stores what all runs of the folder share at the first call, and compares with it ever after.

        `identity` maps key paths ("train.epochs") to JSON-able values; 1 and 1.0 differ. Raises UsageError that lists
        each field that differs, ValueError for a NaN or an empty map.
        """
        if not identity:
            raise ValueError("the identity of a folder has at least one field")
        with guarded(self.database), transaction(self._connection):
            claims.claim_identity(self._connection, identity, self.path)

    def claim_condition(self, key: str, definition: Mapping[str, str]) -> None:
        """Stores a new condition behind those that are there; raises UsageError where `key` is defined otherwise.

        `definition` maps patterns to call texts; their order counts, because a later pattern wins.
        """
        with guarded(self.database), transaction(self._connection):
            claims.claim_condition(self._connection, key, definition, self.path)

    def start_over(self) -> None:
        """Forgets identity, conditions, study and sessions of a folder in which no run has numbers.

        Raises ValueError where one has.
        """
        with guarded(self.database), transaction(self._connection):
            self._check_no_numbers("1")
            for table in ("runs", "conditions", "identity", "meta", "environments"):
                self._connection.execute(f"DELETE FROM {table}")

    def forget_condition(self, key: str) -> None:
        """Forgets a condition of which no run has numbers, with its failed runs; raises ValueError where one has."""
        with guarded(self.database), transaction(self._connection):
            self._check_no_numbers("condition = ?", key)
            self._connection.execute("DELETE FROM runs WHERE condition = ?", (key,))
            self._connection.execute("DELETE FROM conditions WHERE key = ?", (key,))

    def _check_no_numbers(self, which: str, *values: str) -> None:
        query = f"SELECT condition, seed FROM runs WHERE status != 'failed' AND {which} LIMIT 1"
        row = self._connection.execute(query, values).fetchone()
        if row is not None:
            raise ValueError(f"run {row[0]!r}, seed {row[1]} has numbers: nothing of it is forgotten")

    def save_ensemble(
        self, runs: Sequence[RunRecord], weights_of: Mapping[tuple[str, int], Mapping[str, weights.FloatTensor]]
    ) -> None:
        """Stores the runs of one ensemble with their weights; a kill at any moment leaves all of them or none.

        `weights_of` maps (condition, seed) to the kept arrays by name, "initial/hidden1.weight" or
        "final/hidden1.weight". A run that is there already is replaced only if it had failed.
        Raises ValueError for one that had not, for a condition that was not claimed, and for records out of shape.
        """
        with guarded(self.path):
            self._check_ensemble(runs, weights_of)
            self._write_weights(weights_of)
        with guarded(self.database), transaction(self._connection):
            for run in runs:
                rows.insert_run(self._connection, run, tuple(weights_of.get((run.condition, run.seed), ())))

    def save_start_check(self, check: StartCheck) -> None:
        """Stores what was found in the start of a run of a claimed condition, in place of an earlier check."""
        with guarded(self.database), transaction(self._connection):
            start_checks.insert_check(self._connection, check)

    def save_study_toml(self, text: str) -> None:
        """Stores the text of the study as it is run now, in place of an earlier one."""
        self._save_meta(reading.STUDY, text)

    def save_data_summary(self, summary: DatasetSummary) -> None:
        """Stores what is worth remembering of the data, in place of an earlier one."""
        self._save_meta(reading.DATA, json.dumps(asdict(summary)))

    def save_environment(self, environment: Environment) -> None:
        """Adds what computes the runs of this session; call it once a session, when something is to be trained."""
        names = ", ".join(reading.ENVIRONMENT)
        marks = ", ".join("?" * len(reading.ENVIRONMENT))
        with guarded(self.database), transaction(self._connection):
            self._connection.execute(f"INSERT INTO environments ({names}) VALUES ({marks})", astuple(environment))

    def _save_meta(self, key: str, value: str) -> None:
        with guarded(self.database), transaction(self._connection):
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _check_ensemble(
        self, runs: Sequence[RunRecord], weights_of: Mapping[tuple[str, int], Mapping[str, weights.FloatTensor]]
    ) -> None:
        stored, claimed = self.keys(), self.conditions()
        identities = [(run.condition, run.seed) for run in runs]
        if len(set(identities)) != len(identities):
            raise ValueError("an ensemble names a run twice")
        for run in runs:
            rows.check_run(run)
            if run.condition not in claimed:
                raise ValueError(f"the condition {run.condition!r} was not claimed")
            if stored.get((run.condition, run.seed), ("", "failed"))[1] != "failed":
                raise ValueError(f"run {run.condition!r}, seed {run.seed} is stored already")
        for (condition, seed), tensors in weights_of.items():
            if (condition, seed) not in identities:
                raise ValueError(f"weights of {condition!r}, seed {seed}, which is no run of the ensemble")
            weights.check_tensors(condition, seed, tensors)

    def _write_weights(self, weights_of: Mapping[tuple[str, int], Mapping[str, weights.FloatTensor]]) -> None:
        touched: set[Path] = set()
        for (condition, seed), tensors in weights_of.items():
            path = weights.weight_path(self.path, condition, seed)
            weights.write_weights(path, tensors)
            touched |= {path.parent, path.parent.parent, self.path}
        for folder in sorted(touched):
            weights.sync_folder(folder)


def _database_for_writing(folder: Path) -> sqlite3.Connection:
    database = folder / NAME
    with guarded(database):
        if not database.exists():
            create_database(folder)
        return connect_writing(database)
