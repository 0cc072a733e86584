"""`initscope schema`: the JSON Schema of study files, or of what `initscope check --format json` writes."""

from __future__ import annotations

import json

import click

KINDS = ("study", "check")


@click.command("schema")
@click.argument("kind", metavar="|".join(KINDS), default="study")
def schema_command(kind: str) -> None:
    """Print a JSON Schema: of study files (the default), so that an editor completes and checks them; or of a check.

    `initscope schema check` is the schema of what `initscope check --format json` writes.
    """
    from initscope.base.errors import unknown_name

    if kind not in KINDS:
        raise unknown_name("schema", kind, KINDS)
    if kind == "check":
        from initscope.report.findings.json_format import check_schema

        schema = check_schema()
    else:
        from initscope.study.schema import study_schema

        schema = study_schema()
    click.echo(json.dumps(schema, indent=2, ensure_ascii=False))
