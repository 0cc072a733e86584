"""`initscope report`: figures and report again, from what is stored."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def report_command(*, folder: Path, quiet: bool) -> None:
    """Redraw figures, tables and report of the output folder DIR from what is stored in it."""
    from initscope.api.run import write_outputs
    from initscope.base.errors import UsageError
    from initscope.cli.conclusion import conclude
    from initscope.cli.progress import make_progress
    from initscope.store.folder import open_folder
    from initscope.study.session import read_results

    with open_folder(folder, create=False) as store:
        records = read_results(store)
        if not records.runs:
            raise UsageError("no run is stored here yet", where=str(folder), do="run the study again into this folder")
        with make_progress(quiet=quiet, epochs=records.study.train.epochs) as progress:
            progress.say("drawing figures and the report")
            page = write_outputs(records, folder, drawn=progress.drawn)
    if not quiet:
        conclude(records, page, next_command=None)
