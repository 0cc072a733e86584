"""`initscope schema`: the JSON Schema of study files."""

from __future__ import annotations

import json

import click


@click.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of study files: an editor that knows it completes and checks them."""
    from initscope.study.schema import study_schema

    click.echo(json.dumps(study_schema(), indent=2, ensure_ascii=False))
