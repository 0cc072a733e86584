"""What can be read from a study's folder, by its writer and by anybody beside it."""

from __future__ import annotations

import json
import sqlite3
from abc import ABC, abstractmethod
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from initscope.records.dataset import DatasetSummary
from initscope.records.results import Environment, Moment
from initscope.records.run import RunRecord, Status
from initscope.records.start_check import StartCheck
from initscope.store import claims, rows, start_checks, weights
from initscope.store.database import NAME, snapshot
from initscope.store.faults import Damage, guarded

STUDY, DATA = "study", "data"
ENVIRONMENT = tuple(field.name for field in fields(Environment))


class ReadableFolder(ABC):
    """An opened folder of results. Its final forms are `FolderReader` and, for writing, `StudyFolder`.

    It belongs to the thread that opened it, is a context manager, and raises EnvironmentFault where what is stored
    cannot be read. Only whole ensembles are ever visible.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @abstractmethod
    def close(self) -> None:
        """Closes the database; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def database(self) -> Path:
        """The path of results.db."""
        return self.path / NAME

    def runs(self) -> tuple[RunRecord, ...]:
        """Returns all runs, conditions in the order of their first appearance, then by seed."""
        with guarded(self.database), snapshot(self._connection):
            return rows.read_runs(self._connection)

    def start_checks(self) -> tuple[StartCheck, ...]:
        """Returns what was found in the starts of runs; none in a folder written before starts were checked."""
        with guarded(self.database), snapshot(self._connection):
            return start_checks.read_checks(self._connection)

    def keys(self) -> dict[tuple[str, int], tuple[str, Status]]:
        """Returns (condition, seed) -> (key, status) of all runs, without reading what was measured."""
        with guarded(self.database):
            found = self._connection.execute("SELECT condition, seed, key, status FROM runs")
            return {(condition, seed): (key, status) for condition, seed, key, status in found}

    def weights(self, condition: str, seed: int, parameter: str, moment: Moment) -> weights.FloatTensor | None:
        """Returns the kept values of a parameter, or None where they were not kept or their file was taken away."""
        name = f"{moment}/{parameter}"
        with guarded(self.database):
            query = "SELECT kept FROM runs WHERE condition = ? AND seed = ?"
            row = self._connection.execute(query, (condition, int(seed))).fetchone()
            if row is None or name not in _loaded(row[0], "kept weights"):
                return None
        path = weights.weight_path(self.path, condition, int(seed))
        with guarded(path):
            return weights.read_weights(path, name)

    def conditions(self) -> dict[str, dict[str, str]]:
        """Returns condition key -> (pattern -> call text), in the order of first appearance."""
        with guarded(self.database):
            return claims.read_conditions(self._connection)

    def identity(self) -> dict[str, object]:
        """Returns what all runs of the folder share, empty where nothing was claimed yet."""
        with guarded(self.database):
            return claims.read_identity(self._connection)

    def study_toml(self) -> str | None:
        """Returns the text of the study as last run, None where none was saved."""
        with guarded(self.database):
            return self._meta(STUDY)

    def data_summary(self) -> DatasetSummary | None:
        """Returns what is remembered of the data, None where nothing was saved."""
        with guarded(self.database):
            text = self._meta(DATA)
            return None if text is None else _summary(text)

    def environments(self) -> tuple[Environment, ...]:
        """Returns what computed the runs, one for each session, oldest first."""
        with guarded(self.database):
            query = f"SELECT {', '.join(ENVIRONMENT)} FROM environments ORDER BY session"
            return tuple(
                Environment(**dict(zip(ENVIRONMENT, row, strict=True))) for row in self._connection.execute(query)
            )

    def _meta(self, key: str) -> str | None:
        row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])


def _summary(text: str) -> DatasetSummary:
    values = _loaded(text, "data")
    try:
        for name in ("class_values", "class_shares"):
            values[name] = tuple(values[name])
        values["image_shape"] = None if values["image_shape"] is None else tuple(values["image_shape"])
        return DatasetSummary(**values)
    except (TypeError, KeyError, AttributeError) as error:
        raise Damage(f"data: {error}") from error


def _loaded(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError) as error:
        raise Damage(f"{what}: {error}") from error
