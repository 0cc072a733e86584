"""`initscope`: the command group. Each command's module is imported when the command is called."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from typing import Any, NoReturn

import click

from initscope.base.errors import EnvironmentFault, InitscopeError, UsageError, nearest, unknown_name

COMMANDS = {
    "run": "Train a study and write its figures, tables and report.",
    "report": "Redraw figures and report from what is stored.",
    "export": "Write a study's numbers as csv or json.",
    "check": "Tell whether a network's start is sound, and how to mend it.",
    "plan": "Show what a scheme would do to a model, parameter by parameter.",
    "list": "List studies, datasets, initializers, models or rules.",
    "explain": "Explain a condition, a dataset, an initializer, a model, a rule or a study.",
    "data": "Fetch, find or verify downloaded datasets.",
    "schema": "Print the JSON Schema of study files or of a check.",
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
            raise unknown_name("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **kwargs: Any) -> Any:  # the signature of click's own
        """Runs the program; errors become a message on stderr and an exit code."""
        if not kwargs.pop("standalone_mode", True):
            return super().main(*args, standalone_mode=False, **kwargs)  # type: ignore[call-overload]  # click's literals
        try:
            result = super().main(*args, standalone_mode=False, **kwargs)  # type: ignore[call-overload]  # as above
        except click.exceptions.Abort:
            click.echo("interrupted", err=True)
            sys.exit(130)
        except click.UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError":  # no command at all; older click prints the help itself
                error.show()
                sys.exit(error.exit_code)
            refuse(in_our_form(error))
        except click.ClickException as error:
            refuse(UsageError(error.format_message()))
        except InitscopeError as error:
            refuse(error)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            refuse(EnvironmentFault("the output cannot be written", value=error.strerror, do="make room on that disk"))
        sys.exit(result if isinstance(result, int) else 0)


def refuse(error: InitscopeError) -> NoReturn:
    """Shows an error on stderr, in colour on a terminal unless NO_COLOR is set, and ends with its exit code."""
    head = "error" if os.environ.get("NO_COLOR") else click.style("error", fg="red", bold=True)
    click.echo(f"{head}: {error}", err=True)
    sys.exit(error.exit_code)


def in_our_form(error: click.UsageError) -> UsageError:
    """Returns click's complaint about a command line as an error like all others."""
    command = error.ctx.command_path if error.ctx is not None else "initscope"
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        options = error.ctx.command.get_params(error.ctx)
        legal = sorted(name for option in options for name in option.opts if name.startswith("--"))
        unknown = unknown_name("option", error.option_name, legal, where=command)
        near = nearest(error.option_name, legal)
        return UsageError(unknown.what, where=command, legal=unknown.legal, do=unknown.do if near else _ask(command))
    text = error.format_message().rstrip(".")
    return UsageError(text[:1].lower() + text[1:], where=command, do=_ask(command))


def _ask(command: str) -> str:
    return f"{command} --help shows what it takes"


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="initscope", message="initscope %(version)s")
def main() -> None:
    """See what your initialisation does, with enough seeds to believe it."""


if __name__ == "__main__":
    main()
