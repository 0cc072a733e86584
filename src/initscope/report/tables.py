"""The two CSV tables of a study: one row a run, and one row an epoch of a run."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from initscope.records.results import Results
from initscope.records.run import RunRecord
from initscope.report.atomic import write_atomically
from initscope.stats.outcomes import Outcome, classify

Cell = str | int | float | bool | None
RUN_COLUMNS = (
    "condition", "seed", "status", "learned", "final_train_accuracy_percent", "final_test_accuracy_percent",
    "best_test_accuracy_percent", "final_train_loss", "first_step_loss", "epochs", "steps", "wall_s", "key",
)  # fmt: skip
HISTORY_COLUMNS = ("condition", "seed", "epoch", "train_loss", "train_accuracy_percent", "test_accuracy_percent")


def learned(outcome: Outcome) -> bool | None:
    """Returns whether an outcome is "learned"; None where that is not known: the run failed or nothing was measured."""
    return None if outcome in ("unknown", "failed") else outcome == "learned"


def runs_rows(results: Results) -> list[dict[str, Cell]]:
    """Returns one row a run with the columns of `RUN_COLUMNS`, by the study's conditions, then by seed.

    Numbers that were not measured are NaN; `learned` is None where it is not known.
    """
    outcomes = classify(results)
    return [_run_row(run, outcomes[run.condition, run.seed]) for run in _ordered(results)]


def history_rows(results: Results) -> list[dict[str, Cell]]:
    """Returns one row an epoch (1 is the first) of every run, with the columns of `HISTORY_COLUMNS`."""
    return [row for run in _ordered(results) for row in _epoch_rows(run)]


def write_runs_csv(results: Results, path: Path) -> Path:
    """Writes runs.csv: equal numbers give equal bytes (the shortest text that reads back); NaN is an empty field."""
    return _write(path, RUN_COLUMNS, runs_rows(results))


def write_history_csv(results: Results, path: Path) -> Path:
    """Writes history.csv in the same form as `write_runs_csv`."""
    return _write(path, HISTORY_COLUMNS, history_rows(results))


def csv_text(columns: Sequence[str], rows: Iterable[dict[str, Cell]]) -> str:
    """Returns rows as CSV text with a header and line ends of one newline.

    Example:
        >>> csv_text(("a", "b", "c"), [{"a": 0.1, "b": float("nan"), "c": True}])
        'a,b,c\\n0.1,,true\\n'
    """
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row[column]) for column in columns] for row in rows)
    return sink.getvalue()


def _ordered(results: Results) -> list[RunRecord]:
    return [run for key in results.study.conditions for run in sorted(results.of(key), key=lambda run: run.seed)]


def _run_row(run: RunRecord, outcome: Outcome) -> dict[str, Cell]:
    return {
        "condition": run.condition,
        "seed": run.seed,
        "status": run.status,
        "learned": learned(outcome),
        "final_train_accuracy_percent": run.final_train_accuracy_percent,
        "final_test_accuracy_percent": run.final_test_accuracy_percent,
        "best_test_accuracy_percent": run.best_test_accuracy_percent,
        "final_train_loss": run.final_train_loss,
        "first_step_loss": float(run.first_step_loss),
        "epochs": int(run.epochs),
        "steps": int(run.steps),
        "wall_s": round(float(run.wall_s), 6),
        "key": run.key,
    }


def _epoch_rows(run: RunRecord) -> list[dict[str, Cell]]:
    history = run.history
    curves = zip(history.train_loss, history.train_accuracy_percent, history.test_accuracy_percent, strict=True)
    return [
        {
            "condition": run.condition,
            "seed": run.seed,
            "epoch": epoch,
            "train_loss": float(loss),
            "train_accuracy_percent": float(train),
            "test_accuracy_percent": float(test),
        }
        for epoch, (loss, train, test) in enumerate(curves, start=1)
    ]


def _cell(value: Cell) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(float(value)) if isinstance(value, float) else str(value)


def _write(path: Path, columns: Sequence[str], rows: list[dict[str, Cell]]) -> Path:
    return write_atomically(path, csv_text(columns, rows).encode())
