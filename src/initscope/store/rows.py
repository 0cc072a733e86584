"""Run records as rows of results.db, and back, bit for bit."""

from __future__ import annotations

import json
import math
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from initscope.records.run import History, Probes, RunRecord
from initscope.store import probes as probe_columns
from initscope.store.faults import Damage

RunId = tuple[str, int]
HISTORY = ("train_loss", "train_accuracy_percent", "test_accuracy_percent")
RUN = (
    "condition", "seed", "key", "status", "epochs", "steps", "n_test", "class_shares", "first_step_loss", "wall_s",
    "diverged_step", "error",
)  # fmt: skip


def insert_run(connection: sqlite3.Connection, run: RunRecord, kept: Sequence[str]) -> None:
    """Writes one run with its history and probes, in place of a row of the same condition and seed.

    `kept` are the names inside its weight file. Must be called inside a transaction.
    """
    identity = (run.condition, int(run.seed))
    connection.execute("DELETE FROM runs WHERE condition = ? AND seed = ?", identity)
    values = (
        *identity, run.key, run.status, int(run.epochs), int(run.steps), int(run.n_test),
        json.dumps([float(share) for share in run.class_shares]), _stored(run.first_step_loss), _stored(run.wall_s),
        None if run.diverged_step is None else int(run.diverged_step), _storable(run.error), json.dumps(sorted(kept)),
    )  # fmt: skip
    connection.execute(f"INSERT INTO runs ({', '.join(RUN)}, kept) VALUES ({', '.join('?' * len(values))})", values)
    curves = [np.asarray(getattr(run.history, name), np.float64).tolist() for name in HISTORY]
    lines = [
        (*identity, epoch, *map(_stored, numbers)) for epoch, numbers in enumerate(zip(*curves, strict=True), start=1)
    ]
    connection.executemany("INSERT INTO history VALUES (?, ?, ?, ?, ?, ?)", lines)
    if run.probes is not None:
        connection.execute("INSERT INTO probes VALUES (?, ?, ?, ?)", (*identity, *probe_columns.encode(run.probes)))


def check_run(run: RunRecord) -> None:
    """Raises ValueError where a record cannot be stored: curves of different length, probes of a wrong shape."""
    shapes = {np.shape(getattr(run.history, name)) for name in HISTORY}
    if len(shapes) != 1 or len(shapes.pop()) != 1:
        raise ValueError(f"run {run.condition!r}, seed {run.seed}: the curves of its history differ in length")
    if run.seed < 0:
        raise ValueError(f"run {run.condition!r}, seed {run.seed}: a seed is 0 or more")
    if run.probes is not None:
        probe_columns.check(run.probes)


def read_runs(connection: sqlite3.Connection) -> tuple[RunRecord, ...]:
    """Returns all runs, conditions in the order of their first appearance, then by seed; raises Damage."""
    histories = _histories(connection)
    measured = _probes(connection)
    columns = ", ".join(f"runs.{name}" for name in RUN)
    query = f"SELECT {columns} FROM runs JOIN conditions ON conditions.key = runs.condition ORDER BY position, seed"
    return tuple(
        _record(dict(zip(RUN, row, strict=True)), histories.get((row[0], row[1]), []), measured.get((row[0], row[1])))
        for row in connection.execute(query)
    )


def _record(fields: dict[str, Any], lines: list[tuple[Any, ...]], probes: Probes | None) -> RunRecord:
    try:
        if [line[0] for line in lines] != list(range(1, len(lines) + 1)):
            raise ValueError("epochs are missing from its history")
        curves = [np.array([_read(line[column]) for line in lines], np.float64) for column in (1, 2, 3)]
        fields["class_shares"] = tuple(float(share) for share in json.loads(fields["class_shares"]))
        fields["first_step_loss"], fields["wall_s"] = _read(fields["first_step_loss"]), _read(fields["wall_s"])
        history = History(**dict(zip(HISTORY, curves, strict=True)))
        return RunRecord(**fields, history=history, probes=probes)
    except (ValueError, TypeError) as error:
        raise Damage(f"run {fields['condition']!r}, seed {fields['seed']}: {error}") from error


def _histories(connection: sqlite3.Connection) -> dict[RunId, list[tuple[Any, ...]]]:
    found: dict[RunId, list[tuple[Any, ...]]] = defaultdict(list)
    query = f"SELECT condition, seed, epoch, {', '.join(HISTORY)} FROM history ORDER BY condition, seed, epoch"
    for condition, seed, *line in connection.execute(query):
        found[condition, seed].append(tuple(line))
    return found


def _probes(connection: sqlite3.Connection) -> dict[RunId, Probes]:
    found = {}
    for condition, seed, names, content in connection.execute("SELECT condition, seed, names, arrays FROM probes"):
        try:
            found[condition, seed] = probe_columns.decode(names, content)
        except Damage as damage:
            raise Damage(f"run {condition!r}, seed {seed}: {damage}") from damage
    return found


def _stored(value: float) -> float | None:
    """A NaN, which SQLite cannot hold, becomes NULL."""
    number = float(value)
    return None if math.isnan(number) else number


def _read(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _storable(text: str) -> str:
    """Half surrogates, which file names can bring into error texts, cannot be stored as they are."""
    return text.encode(errors="backslashreplace").decode()
