"""runs.csv, history.csv and the JSON export."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from initscope.base.errors import EnvironmentFault
from initscope.records.results import Results
from initscope.records.run import History
from initscope.report.export import export_json
from initscope.report.tables import history_rows, runs_rows, write_history_csv, write_runs_csv
from tests.support.synthetic import make_results

HEADER = (
    "condition,seed,status,learned,final_train_accuracy_percent,final_test_accuracy_percent,best_test_accuracy_percent,"
    "final_train_loss,first_step_loss,epochs,steps,wall_s,key"
)


def small() -> Results:
    """Two runs with round numbers, one of which diverged after its first epoch."""
    results = make_results(seeds=1, epochs=2, conditions=("default", "all-one"))
    curves = History(
        train_loss=np.array([0.5, 0.1]),
        train_accuracy_percent=np.array([80.0, 1 / 3 * 100]),
        test_accuracy_percent=np.array([91.5, 90.0]),
    )
    broken = replace(curves, train_loss=np.array([7.0, np.nan]), test_accuracy_percent=np.array([12.0, np.nan]))
    good, bad = results.runs
    good = replace(good, history=curves, wall_s=0.12345678, key="k1", first_step_loss=2.3)
    bad = replace(bad, history=broken, status="diverged", diverged_step=77, key="k2", first_step_loss=float("inf"))
    return replace(results, runs=(good, bad))


def test_runs_csv_is_written_to_the_letter(tmp_path: Path) -> None:
    path = write_runs_csv(small(), tmp_path / "runs.csv")
    assert path.read_bytes().decode() == (
        f"{HEADER}\n"
        "default,0,finished,true,33.33333333333333,90.0,91.5,0.1,2.3,2,100,0.123457,k1\n"
        "all-one,0,diverged,false,33.33333333333333,,12.0,,inf,2,100,0.1,k2\n"
    )


def test_history_csv_is_written_to_the_letter(tmp_path: Path) -> None:
    path = write_history_csv(small(), tmp_path / "history.csv")
    assert path.read_bytes().decode() == (
        "condition,seed,epoch,train_loss,train_accuracy_percent,test_accuracy_percent\n"
        "default,0,1,0.5,80.0,91.5\n"
        "default,0,2,0.1,33.33333333333333,90.0\n"
        "all-one,0,1,7.0,80.0,12.0\n"
        "all-one,0,2,,33.33333333333333,\n"
    )


def test_rows_follow_the_studys_conditions_and_then_the_seeds_however_the_runs_lie() -> None:
    results = make_results(seeds=3)
    shuffled = replace(results, runs=tuple(reversed(results.runs)))
    assert runs_rows(shuffled) == runs_rows(results)
    assert [(row["condition"], row["seed"]) for row in runs_rows(shuffled)] == [
        (key, seed) for key in results.study.conditions for seed in range(3)
    ]
    assert len(history_rows(results)) == 8 * 3 * 10


def test_floats_read_back_to_the_same_bits(tmp_path: Path) -> None:
    results = make_results(seeds=2)
    with write_runs_csv(results, tmp_path / "runs.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [float(row["final_train_loss"]) for row in read] == [run.final_train_loss for run in results.runs]


def test_learned_is_empty_where_it_is_not_known(tmp_path: Path) -> None:
    alone = make_results(seeds=1, conditions=("biases-zero",))
    assert [row["learned"] for row in runs_rows(alone)] == [None]
    raised = replace(alone, runs=(replace(alone.runs[0], status="failed", class_shares=()),))
    line = write_runs_csv(raised, tmp_path / "runs.csv").read_text().splitlines()[1]
    assert line.startswith("biases-zero,0,failed,,")


def test_a_table_that_cannot_be_written_says_where_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(EnvironmentFault) as raised:
        write_runs_csv(small(), tmp_path / "taken" / "runs.csv")
    assert str(raised.value) == (
        "cannot write a file of the report\n"
        f"  where: {tmp_path / 'taken' / 'runs.csv'}\n"
        f"  got:   {raised.value.value}\n"
        "  do:    free the place or choose another folder with --out"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_writing_again_replaces_the_file_and_leaves_no_other(tmp_path: Path) -> None:
    for _ in range(2):
        write_runs_csv(small(), tmp_path / "runs.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["runs.csv"]


def test_the_export_holds_study_data_runs_and_environments_with_null_for_what_was_not_measured() -> None:
    read = json.loads(export_json(small()), parse_constant=lambda word: pytest.fail(word))
    assert list(read) == ["version", "study", "data", "runs", "start_checks", "environments"]
    assert read["version"] == 1 and read["study"]["name"] == "surprising-demo"
    assert [run["outcome"] for run in read["runs"]] == ["learned", "diverged"]
    assert read["runs"][1]["history"]["train_loss"] == [7.0, None]
    assert read["runs"][1]["first_step_loss"] is None and read["runs"][1]["diverged_step"] == 77
    assert math.isclose(read["runs"][0]["chance_percent"], 11.7)
