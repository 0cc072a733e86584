"""`initscope`: the command group. Each command's module is imported when the command is called."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from initscope.base.errors import InitscopeError

COMMANDS = {
    "run": "Train a study and write its figures, tables and report.",
    "report": "Redraw figures and report from what is stored.",
    "export": "Write a study's numbers as csv or json.",
    "list": "List studies, datasets, initializers or models.",
    "explain": "Explain a condition, a dataset, an initializer, a model or a study.",
    "data": "Fetch, find or verify downloaded datasets.",
    "schema": "Print the JSON Schema of study files, for editors.",
    "doctor": "Show what initscope finds on this machine.",
}
"""Name -> one line of help; the command `x` is the function `x_command` of `initscope.cli.x_command`."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and loads a command only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Returns the command called `cmd_name`, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"initscope.cli.{cmd_name}_command")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Returns the command that `args` begin with; an unknown one is a usage error with the nearest name."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from initscope.base.errors import unknown_name

            raise unknown_name("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **kwargs: Any) -> Any:  # the signature of click's own
        """Runs the program; errors become a message on stderr and an exit code."""
        if not kwargs.pop("standalone_mode", True):
            return super().main(*args, standalone_mode=False, **kwargs)
        try:
            result = super().main(*args, standalone_mode=False, **kwargs)
        except click.exceptions.Abort:
            sys.exit(130)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except InitscopeError as error:
            click.echo(f"{click.style('error', fg='red', bold=True)}: {error}", err=True)
            sys.exit(error.exit_code)
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(1)
        sys.exit(result if isinstance(result, int) else 0)


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="initscope", message="initscope %(version)s")
def main() -> None:
    """See what your initialisation does, with enough seeds to believe it."""


if __name__ == "__main__":
    main()
