"""A study and all its runs as one JSON text, for other programs."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

from initscope.records.results import Results
from initscope.records.run import RunRecord
from initscope.stats.outcomes import Outcome, classify

VERSION = 1


def export_json(results: Results) -> str:
    """Returns study, data's summary, runs with outcomes and histories, start checks and environments, as JSON.

    `version` is 1 and grows when a field changes its meaning or goes. Numbers that were not measured or are not
    finite are null.
    """
    outcomes = classify(results)
    content = {
        "version": VERSION,
        "study": results.study.model_dump(mode="json"),
        "data": dataclasses.asdict(results.data),
        "runs": [_run(run, outcomes[run.condition, run.seed]) for run in results.runs],
        "start_checks": [dataclasses.asdict(check) for check in results.start_checks],
        "environments": [dataclasses.asdict(environment) for environment in results.environments],
    }
    return json.dumps(_plain(content), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _run(run: RunRecord, outcome: Outcome) -> dict[str, Any]:
    fields = {
        field.name: getattr(run, field.name)
        for field in dataclasses.fields(run)
        if field.name not in ("history", "probes")
    }
    curves = {field.name: getattr(run.history, field.name).tolist() for field in dataclasses.fields(run.history)}
    ends = {
        "final_train_accuracy_percent": run.final_train_accuracy_percent,
        "final_test_accuracy_percent": run.final_test_accuracy_percent,
        "best_test_accuracy_percent": run.best_test_accuracy_percent,
        "final_train_loss": run.final_train_loss,
        "chance_percent": run.chance_percent,
    }
    return {**fields, "outcome": outcome, **ends, "history": curves}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
