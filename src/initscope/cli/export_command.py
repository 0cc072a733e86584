"""`initscope export`: the numbers of a study for other programs."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("export")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "json"]),
    default="csv",
    show_default=True,
    help="csv: one row a run; json: everything.",
)
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="File to write; standard output by default.",
)
def export_command(folder: Path, form: str, target: Path | None) -> None:
    """Write the runs of the output folder DIR as csv or json.

    csv has the columns of runs.csv; json also the study, the histories and the provenance.
    """
    from initscope.api.run import open_results
    from initscope.base.errors import EnvironmentFault
    from initscope.report.atomic import write_atomically
    from initscope.report.export import export_json
    from initscope.report.tables import RUN_COLUMNS, csv_text, runs_rows

    records = open_results(folder).records
    text = export_json(records) if form == "json" else csv_text(RUN_COLUMNS, runs_rows(records))
    if target is None:
        click.echo(text, nl=not text.endswith("\n"))
        return
    if target.is_dir() or not target.parent.exists():
        raise EnvironmentFault(
            "cannot write there", where=str(target), do="give the path of a file in a folder that exists"
        )
    write_atomically(target, text.encode())
