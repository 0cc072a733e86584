"""`initscope data`: downloaded datasets."""

from __future__ import annotations

import click


@click.group("data")
def data_command() -> None:
    """Fetch, find or verify downloaded datasets."""


@data_command.command("fetch")
@click.argument("name")
def fetch_command(name: str) -> None:
    """Download NAME (mnist, fashion-mnist) into the cache, check its hashes, and print where it lies."""
    from initscope.datasets.downloads import fetch

    for file in fetch(name):
        click.echo(f"{file.name:<28} {file.path}")


@data_command.command("path")
@click.argument("name")
def path_command(name: str) -> None:
    """Print the folder in which NAME is kept, whether it is there or not."""
    from initscope.datasets.downloads import path

    click.echo(path(name))


@data_command.command("verify")
@click.argument("name")
def verify_command(name: str) -> None:
    """Check the hashes of NAME's files in the cache, without the network."""
    from initscope.datasets.downloads import verify

    for file in verify(name):
        click.echo(f"{file.name:<28} good   {file.path}")
