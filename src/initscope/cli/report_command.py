"""`initscope report`: figures and report again, from what is stored."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command("report")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def report_command(folder: Path, quiet: bool) -> None:
    """Redraw figures, tables and report of the output folder DIR from what is stored in it."""
    from rich.console import Console

    from initscope.api.run import open_results, write_outputs
    from initscope.cli.progress import make_progress
    from initscope.report.terminal import print_summary

    records = open_results(folder).records
    if not records.runs:
        from initscope.base.errors import UsageError

        raise UsageError("no run is stored here yet", where=str(folder), do="run the study again into this folder")
    with make_progress(quiet=quiet, epochs=records.study.train.epochs) as progress:
        progress.say("drawing figures and the report")
        page = write_outputs(records, folder, drawn=progress.drawn)
    if not quiet:
        print_summary(records, Console(highlight=False, file=sys.stdout), report_path=str(page), next_command=None)
