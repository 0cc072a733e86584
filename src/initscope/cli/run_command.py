"""`initscope run`: train what is missing, then figures, tables, the report and the answer on the terminal."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from initscope.api.run import Prepared


@click.command("run")
@click.argument("study")
@click.option(
    "--data", metavar="SOURCE", help="digits, mnist, fashion-mnist, a .csv, .csv.gz or .npz, a folder of IDX files."
)
@click.option("--seeds", type=int, metavar="N", help="Number of seeds; the study's own by default.")
@click.option("--epochs", type=int, metavar="N", help="Passes over the training set.")
@click.option(
    "--condition", "conditions", multiple=True, metavar="KEY", help="Run only this condition; may be repeated."
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY.PATH=VALUE",
    help="Change one value of the study; may be repeated.",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Output folder; runs/NAME by default.")
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda", help="Where to train.")
@click.option("--workers", type=int, metavar="N", help="Worker processes; one a core by default.")
@click.option("--dry-run", is_flag=True, help="List every run with its key, and train nothing.")
@click.option("--no-report", is_flag=True, help="Write the tables, not the figures and the report.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def run_command(
    *,
    study: str,
    data: str | None,
    seeds: int | None,
    epochs: int | None,
    conditions: tuple[str, ...],
    overrides: tuple[str, ...],
    out: Path | None,
    device: str,
    workers: int | None,
    dry_run: bool,
    no_report: bool,
    quiet: bool,
) -> None:
    """Train STUDY, a built-in name or the path of a TOML file, and write figures, tables and a report.

    The same command again trains only what is missing: after Ctrl-C, with more seeds, or with one more condition.
    """
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        from initscope.api.arguments import as_option
        from initscope.api.run import prepare

        prepared = prepare(
            study,
            data=data,
            seeds=seeds,
            epochs=epochs,
            conditions=conditions,
            out=out,
            device=device,
            workers=workers,
            overrides=overrides,
            style=as_option,
        )
        if dry_run:
            _list_runs(prepared)
        else:
            _run(prepared, workers=workers, no_report=no_report, quiet=quiet)
    except KeyboardInterrupt:
        _interrupted()
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(prepared: Prepared, *, workers: int | None, no_report: bool, quiet: bool) -> None:
    from initscope.api.run import raise_failed, train, write_outputs, write_tables
    from initscope.cli.conclusion import conclude
    from initscope.cli.progress import make_progress
    from initscope.store.folder import open_folder

    progress = make_progress(quiet=quiet, epochs=prepared.plan.study.train.epochs)
    with progress, open_folder(prepared.folder, create=True) as store:
        records = train(prepared, store, workers=workers, command=command_line(), watcher=progress.watcher)
        page = None
        if no_report:
            write_tables(records, prepared.folder)
        else:
            progress.say("drawing figures and the report")
            page = write_outputs(records, prepared.folder, drawn=progress.drawn)
    if not quiet:
        conclude(records, page, next_command=more_seeds(sys.argv[1:], seeds=2 * max(1, len(records.seeds))))
    raise_failed(records)


def command_line() -> list[str]:
    """Returns the command as the user gave it, program name first."""
    return ["initscope", *sys.argv[1:]]


def _list_runs(prepared: Prepared) -> None:
    from initscope.base.quantities import counted

    runs, folder = prepared.plan.runs, prepared.folder
    width = max(len(run.condition) for run in runs)
    stored = stored_keys(folder)
    for run in runs:
        state = "stored" if stored.get((run.condition, run.seed)) == run.key else "to do"
        click.echo(f"{run.condition:<{width}}  seed {run.seed:<4} {run.key}  {state}")
    missing = sum(stored.get((run.condition, run.seed)) != run.key for run in runs)
    click.echo(f"{counted(len(runs), 'run')}, {missing} to do, into {folder}")


def stored_keys(folder: Path) -> dict[tuple[str, int], str]:
    """Returns the keys of the runs that `folder` holds already; none where it holds no results."""
    from initscope.base.errors import UsageError
    from initscope.store.folder import read_folder

    try:
        with read_folder(folder) as reader:
            return {run: key for run, (key, status) in reader.keys().items() if status != "failed"}
    except UsageError:
        return {}


def more_seeds(arguments: list[str], *, seeds: int) -> str:
    """Returns the command with other seeds, ready to be copied.

    Example:
        >>> more_seeds(["run", "surprising-demo", "--seeds", "10", "--quiet"], seeds=20)
        'initscope run surprising-demo --quiet --seeds 20'
    """
    rest, skip = [], False
    for argument in arguments:
        if not skip and argument != "--seeds" and not argument.startswith("--seeds="):
            rest.append(argument)
        skip = argument == "--seeds" and not skip
    return shlex.join(["initscope", *rest, "--seeds", str(seeds)])


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _interrupted() -> NoReturn:
    click.echo("\ninterrupted: what has finished is stored. To go on:", err=True)
    click.echo(f"  {shlex.join(command_line())}", err=True)
    sys.exit(130)
