"""Running a study from start to report: what `initscope.run` and `initscope run` both do."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from initscope.api.arguments import Style, as_argument, path_text, texts, whole_number
from initscope.api.here import importable_here
from initscope.api.results import StudyResults
from initscope.base.calls import parse_call
from initscope.base.errors import RunsFailedError
from initscope.base.quantities import counted
from initscope.datasets.source import load
from initscope.figures import catalogue
from initscope.figures.drawing import Drawing
from initscope.initializers.building import build_method
from initscope.models.registry import MODELS
from initscope.records.dataset import Dataset
from initscope.records.results import Results
from initscope.records.study import ModelSpec, Study, TrainSpec
from initscope.records.study_toml import toml_value
from initscope.report.figure_files import write_figures
from initscope.report.page import write_report
from initscope.report.tables import write_history_csv, write_runs_csv
from initscope.store.folder import StudyFolder, open_folder, read_folder
from initscope.study.device import check_workers, choose_device
from initscope.study.file import Change, StudySource, Vets, read_source, source_of_study
from initscope.study.plan import Plan, make_plan, template
from initscope.study.problems import StudyFileError
from initscope.study.session import Watcher, read_results, train_missing
from initscope.study.starts import pattern_mistakes
from initscope.train.optimisers import check_optimiser

VETS: Vets = {
    ("conditions", "*", "*"): lambda text: build_method(parse_call(text)),
    ("model", "name"): lambda name: MODELS.get(name),
    ("train", "optimizer"): lambda name: check_optimiser(TrainSpec(optimizer=name)),
}
"""What only the floors below know of a study file's names."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A study ready to run: its plan, its data, its folder and device."""

    plan: Plan
    data: Dataset
    folder: Path
    device: str


def run(
    study: str | os.PathLike[str] | Study = "surprising-demo",
    *,
    data: str | os.PathLike[str] | None = None,
    seeds: int | None = None,
    epochs: int | None = None,
    conditions: Sequence[str] = (),
    out: str | os.PathLike[str] | None = None,
    device: str = "auto",
    workers: int | None = None,
    report: bool = False,
    set: Sequence[str] = (),  # noqa: A002  # the name of the option
) -> StudyResults:
    """Runs a study (what of it is not yet in its folder) and returns its results.

    Your generators and torch's number of threads stay as they were; runs are trained in processes of their own, so a
    script needs no `if __name__ == "__main__"`.

    Arguments: `study` is a built-in name, the path of a TOML file, or a `Study`; `data` a source (digits, mnist,
    fashion-mnist, a .csv, .csv.gz or .npz file, a folder of IDX files); `seeds` and `epochs` at least 1; `conditions`
    the keys to run (all by default); `out` the output folder (runs/NAME by default); `device` auto, cpu or cuda;
    `workers` the number of processes (one a core by default); `report` also writes figures, tables and the page; `set`
    holds "key.path=value" texts.

    Raises: UsageError and EnvironmentFault with what is wrong; RunsFailedError where runs failed (the others are
    stored).

    Example:
        >>> import initscope
        >>> results = initscope.run("surprising-demo", seeds=2, epochs=1, out=folder)  # doctest: +SKIP
    """
    prepared = prepare(
        study,
        data=data,
        seeds=seeds,
        epochs=epochs,
        conditions=conditions,
        out=out,
        device=device,
        workers=workers,
        overrides=set,
        style=as_argument,
    )
    with open_folder(prepared.folder, create=True) as store:
        command = ["initscope.run", prepared.plan.study.name]
        records = train(prepared, store, workers=workers, command=command, watcher=Watcher())
        if report:
            write_outputs(records, prepared.folder)
        raise_failed(records)
    return open_results(prepared.folder)


def open_results(folder: str | os.PathLike[str]) -> StudyResults:
    """Returns the results stored in an output folder; raises UsageError where there are none."""
    reader = read_folder(folder)
    try:
        return StudyResults(read_results(reader), Path(folder), reader=reader)
    except BaseException:
        reader.close()
        raise


def prepare(
    study: str | os.PathLike[str] | Study,
    *,
    data: str | os.PathLike[str] | None,
    seeds: int | None,
    epochs: int | None,
    conditions: Sequence[str],
    out: str | os.PathLike[str] | None,
    device: str,
    workers: int | None,
    overrides: Sequence[str],
    style: Style,
) -> Prepared:
    """Returns a study ready to run, everything checked that can be checked before training.

    Arguments are those of `run`; `style` is how the user wrote them, for messages.
    """
    chosen = choose_device(device)
    check_workers(whole_number(workers, name="workers"))
    changes = [*texts(overrides, name="set"), *_changes(style, data=data, seeds=seeds, epochs=epochs)]
    made, source = _study(study, changes)
    loaded = load(made.data.source)
    with importable_here(wanted=made.model.factory is not None):
        plan = make_plan(made, loaded, conditions=texts(conditions, name="conditions"), source=source)
    folder = Path("runs") / made.name if out is None else Path(path_text(out, name="out"))
    return Prepared(plan=plan, data=loaded, folder=folder, device=chosen)


def train(
    prepared: Prepared, store: StudyFolder, *, workers: int | None, command: Sequence[str], watcher: Watcher
) -> Results:
    """Trains what the open folder lacks, and returns all that is stored in it."""
    with importable_here(wanted=prepared.plan.study.model.factory is not None):
        train_missing(
            prepared.plan,
            prepared.data,
            store,
            device=prepared.device,
            workers=workers,
            command=command,
            watcher=watcher,
        )
    return read_results(store)


def write_outputs(results: Results, folder: Path, *, drawn: Callable[[str], None] = lambda name: None) -> Path:
    """Writes runs.csv, history.csv, figures/ and report.html, and returns the report's path."""
    write_tables(results, folder)
    drawings: list[Drawing] = []
    for name in catalogue.names(results):
        drawings.append(catalogue.draw(results, name))
        drawn(name)
    write_figures(drawings, folder)
    return write_report(results, folder, figures=drawings)


def write_tables(results: Results, folder: Path) -> None:
    """Writes runs.csv and history.csv."""
    write_runs_csv(results, folder / "runs.csv")
    write_history_csv(results, folder / "history.csv")


def raise_failed(results: Results) -> None:
    """Raises RunsFailedError where some runs failed."""
    failed = [run for run in results.runs if run.status == "failed"]
    if failed:
        raise RunsFailedError(
            f"{counted(len(failed), 'run')} of {len(results.runs)} failed; the others are stored",
            where=", ".join(f"{run.condition} seed {run.seed}" for run in failed[:5]),
            value=failed[0].error.strip().splitlines()[-1] if failed[0].error.strip() else None,
            do="give the same command again to try these runs again",
        )


def _study(study: str | os.PathLike[str] | Study, changes: Sequence[Change]) -> tuple[Study, StudySource | None]:
    if isinstance(study, Study):
        source = source_of_study(study, overrides=changes)
        return _checked(source), source if changes else None
    source = read_source(path_text(study, name="study"), overrides=changes)
    return _checked(source), source


def _checked(source: StudySource) -> Study:
    """Returns the study; where it has mistakes, the patterns that match nothing are shown with them."""
    try:
        return source.study(vets=VETS)
    except StudyFileError as error:
        found = [problem.mistake for problem in error.problems if problem not in source.misread]
        raise source.error([*found, *pattern_mistakes(source.tables, _registered)]) from error


def _registered(spec: ModelSpec) -> nn.Module:
    """A registered model of any size, for the names of its parameters."""
    return template(spec, 1, 2, root_seed=0)


def _changes(
    style: Style, *, data: str | os.PathLike[str] | None, seeds: int | None, epochs: int | None
) -> list[Change]:
    """The options as changes of the study, so that one reader checks them all."""
    changes: list[Change] = []
    for name, key, value in (("seeds", "seeds", seeds), ("epochs", "train.epochs", epochs)):
        number = whole_number(value, name=name)
        if number is not None:
            changes.append((f"{key}={number}", style(name, number)))
    if data is not None:
        text = path_text(data, name="data")
        changes.append((f"data.source={toml_value(text)}", style("data", text)))
    return changes
