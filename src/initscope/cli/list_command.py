"""`initscope list`: what there is to choose from."""

from __future__ import annotations

import textwrap

import click

WIDTH = 100
KINDS = ("studies", "datasets", "initializers", "models", "rules")


@click.command("list")
@click.argument("kind", metavar="|".join(KINDS))
def list_command(kind: str) -> None:
    """List studies, datasets, initializers, models or rules, one a line with what it is."""
    from initscope.base.errors import unknown_name
    from initscope.cli import catalogues

    if kind not in KINDS:
        raise unknown_name("list", kind, KINDS)
    rows = {
        "studies": catalogues.studies,
        "datasets": catalogues.datasets,
        "initializers": catalogues.initializers,
        "models": catalogues.models,
        "rules": catalogues.rules,
    }[kind]()
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        click.echo(textwrap.fill(text, WIDTH, initial_indent=f"{name:<{width}}  ", subsequent_indent=" " * (width + 2)))
