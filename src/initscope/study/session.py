"""A study trained into its folder: what is missing is computed, what is there is kept, and all is read back."""

from __future__ import annotations

import platform
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch

from initscope.base.errors import EnvironmentFault
from initscope.records.dataset import Dataset
from initscope.records.results import Environment, Results
from initscope.records.run import RunRecord
from initscope.records.study import Study
from initscope.store.folder import StudyFolder
from initscope.store.reading import ReadableFolder
from initscope.study.device import choose_workers, processor_name
from initscope.study.plan import Ensemble, Plan
from initscope.study.pool import Listener, WorkerSetup, train_all, write_shared
from initscope.study.start_checks import check_starts, runs_to_check
from initscope.study.stored import stored_study
from initscope.train.task import ENGINE_VERSION, EnsembleResult, RunIdentity

WORK = ".work"
"""Inside the output folder while runs are trained: the data, mapped by every worker. Removed at the end."""


@dataclass(frozen=True, kw_only=True)
class Watcher:
    """What a session tells whoever watches it; every part may be left as it is, which does nothing."""

    planned: Callable[[int, int, int], None] = lambda runs, stored, workers: None
    """(all runs, those stored already, worker processes), once before training."""
    epoch: Callable[[int, int], None] = lambda runs, epochs: None
    """(runs of an ensemble, epochs it has finished), at each of its epochs."""
    stored: Callable[[Sequence[RunRecord]], None] = lambda records: None
    """The records of an ensemble that has just been stored."""


def train_missing(
    plan: Plan,
    data: Dataset,
    store: StudyFolder,
    *,
    device: str,
    workers: int | None,
    command: Sequence[str],
    watcher: Watcher,
) -> None:
    """Checks the starts of `plan`, trains the runs that the folder `store` lacks, stores each ensemble when it ends.

    A folder that belongs to another study is refused before anything is trained. A KeyboardInterrupt stops the workers
    and passes through; what was stored stays.
    """
    _claim(plan, store)
    store.save_data_summary(data.summary())
    store.save_study_toml(_merged(plan, store).to_toml())
    missing = _missing(plan, store)
    ensembles = plan.ensembles(missing, device=device)
    count = choose_workers(workers, device=device, ensembles=max(1, len(ensembles)))
    watcher.planned(len(plan.runs), len(plan.runs) - len(missing), count)
    _check_starts(plan, data, store)
    if ensembles:
        store.save_environment(_environment(device, count, command))
        _train(plan, data, store, ensembles, device=device, workers=count, watcher=watcher)


def read_results(reader: ReadableFolder) -> Results:
    """Returns what is stored in an open folder; its weights are read through it, so it must stay open for them.

    Raises: EnvironmentFault where the folder was left before anything was stored in it, or is damaged.
    """
    study = stored_study(reader.study_toml(), database=reader.database)
    data = reader.data_summary()
    assert data is not None, "the data's summary is stored before the study"
    order = {key: place for place, key in enumerate(study.conditions)}
    runs = sorted(reader.runs(), key=lambda run: (order[run.condition], run.seed))
    return Results(
        study=study,
        data=data,
        runs=tuple(runs),
        weights=reader.weights,
        environments=reader.environments(),
        start_checks=tuple(check for check in reader.start_checks() if check.condition in order),
    )


def _claim(plan: Plan, store: StudyFolder) -> None:
    """Compares the plan with what the folder's runs were trained as, and remembers what is new.

    What no run with numbers stands for binds nobody: a model that was refused, or a study interrupted at its start,
    can be mended and run again. Conditions that are not run now but have runs are compared too, because the report
    shows them by the study of today.
    """
    kept = {condition for (condition, _), (_, status) in store.keys().items() if status != "failed"}
    if not kept:
        store.start_over()
    store.claim(plan.identity)
    for key, definition in plan.definitions.items():
        if key not in kept and store.conditions().get(key, definition) != definition:
            store.forget_condition(key)
        if key in plan.conditions or key in kept:
            store.claim_condition(key, definition)


def _check_starts(plan: Plan, data: Dataset, store: StudyFolder) -> None:
    """Checks the starts that were not checked yet; one whose check raised stays as it is."""
    done = {(check.condition, check.seed) for check in store.start_checks()}
    wanted = [run for run in runs_to_check(plan) if (run.condition, run.seed) not in done]
    check_starts(plan, data, wanted, stored=store.save_start_check)


def _missing(plan: Plan, store: StudyFolder) -> list[RunIdentity]:
    stored = store.keys()
    return [run for run in plan.runs if stored.get((run.condition, run.seed), ("", "failed"))[1] == "failed"]


def _merged(plan: Plan, store: StudyFolder) -> Study:
    """The study to remember: the one that is run, with the conditions and seeds that were run here before."""
    text = store.study_toml()
    if text is None:
        return plan.study
    before = stored_study(text, database=store.database)
    older = {key: table for key, table in before.conditions.items() if key not in plan.study.conditions}
    about = {key: text for key, text in before.about.items() if key in older}
    return plan.study.model_copy(
        update={
            "conditions": {**plan.study.conditions, **older},
            "about": {**plan.study.about, **about},
            "seeds": max(plan.study.seeds, before.seeds),
        }
    )


def _train(
    plan: Plan,
    data: Dataset,
    store: StudyFolder,
    ensembles: Sequence[Ensemble],
    *,
    device: str,
    workers: int,
    watcher: Watcher,
) -> None:
    def finished(result: EnsembleResult) -> None:
        _check_there(store)
        store.save_ensemble(result.records, result.weights)
        watcher.stored(result.records)

    listener = Listener(epoch=lambda ensemble, epochs: watcher.epoch(len(ensemble), epochs), finished=finished)
    work = store.path / WORK
    try:
        inputs, labels = write_shared(work, data.inputs, data.labels)
        setup = WorkerSetup(
            study=plan.study.model_dump_json(),
            inputs=str(inputs),
            labels=str(labels),
            n_classes=data.n_classes,
            device=device,
        )
        train_all(ensembles, setup, workers=workers, listener=listener)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _check_there(store: StudyFolder) -> None:
    """Raises EnvironmentFault where the folder was taken away: SQLite would go on writing into what nobody can find."""
    if not store.database.exists():
        raise EnvironmentFault(
            "the output folder was moved or deleted while runs were trained",
            where=str(store.path),
            do="put it back where it was and give the same command again, or choose another folder with --out",
        )


def _environment(device: str, workers: int, command: Sequence[str]) -> Environment:
    return Environment(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(command),
        initscope=_own_version(),
        engine=ENGINE_VERSION,
        python=platform.python_version(),
        torch=str(torch.__version__),
        numpy=str(np.__version__),
        platform=f"{platform.system()} {platform.machine()}",
        processor=processor_name(device),
        device=device,
        workers=workers,
    )


def _own_version() -> str:
    try:
        return version("initscope")
    except PackageNotFoundError:  # run from a zip or a checkout that is not installed
        return "not installed"
