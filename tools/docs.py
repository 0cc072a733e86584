"""Writes docs/cli.md from the help of every command; `--check` compares it and reads the README's commands instead.

A command in the README is any line of a fenced block that starts with `initscope` or `make`. It must parse: known
command, known options, legal values, nothing missing. Whether a file it names exists is not asked.
"""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 100
HEAD = "# Command line\n\nWritten by `make docs` from the program's own help; do not edit.\n"
ENVIRONMENT = re.compile(r"[A-Za-z_]\w*=.*")


def main(arguments: list[str] | None = None) -> int:
    """Writes the page, or with --check reports every difference; returns the exit status."""
    parser = argparse.ArgumentParser(description="Write docs/cli.md from the help of every command.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where something is stale or wrong")
    options = parser.parse_args(arguments)
    group, page = command_line(), ROOT / "docs" / "cli.md"
    if not options.check:
        page.write_text(cli_page(group), encoding="utf-8")
        print(f"wrote {page.relative_to(ROOT)}")
        return 0
    faults = readme_faults((ROOT / "README.md").read_text(encoding="utf-8"), group, make_targets(ROOT / "Makefile"))
    if not page.is_file() or page.read_text(encoding="utf-8") != cli_page(group):
        faults.append("docs/cli.md is stale; run: make docs")
    print("\n".join(faults) or "docs/cli.md is fresh and every README command parses")
    return 1 if faults else 0


def command_line() -> click.Group:
    """Returns the program's click group."""
    group = importlib.import_module("initscope.cli.main").main
    if not isinstance(group, click.Group):
        raise TypeError(f"initscope.cli.main:main is a {type(group).__name__}, not a click group")
    return group


def cli_page(group: click.Group, *, name: str = "initscope") -> str:
    """Returns the Markdown page with the help of `group` and of every command below it, depth first."""
    return "\n".join([HEAD, *(_section(context) for context in contexts(group, name))])


def _section(context: click.Context) -> str:
    return f"## `{context.command_path}`\n\n```text\n{context.command.get_help(context).rstrip()}\n```\n"


def context_of(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    """Returns the context click itself would make: a command keeps the help option of the first context it meets."""
    settings = {key: value for key, value in command.context_settings.items() if key != "max_content_width"}
    return click.Context(
        command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH, **settings
    )


def contexts(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[click.Context]:
    """Yields a context for `command` and for every visible command below it."""
    context = context_of(command, name, parent)
    yield context
    if isinstance(command, click.Group):
        for child_name in command.list_commands(context):
            child = command.get_command(context, child_name)
            if child is not None and not child.hidden:
                yield from contexts(child, child_name, context)


def make_targets(makefile: Path) -> set[str]:
    """Returns the targets that a Makefile documents with `## `."""
    return set(re.findall(r"^([a-z-]+):.*## ", makefile.read_text(encoding="utf-8"), flags=re.MULTILINE))


def readme_faults(text: str, group: click.Group, targets: set[str]) -> list[str]:
    """Returns one line for every command in the fenced blocks of `text` that does not parse."""
    faults = []
    for line in shell_lines(text):
        words = command_words(line)
        if not words:
            continue
        program = Path(words[0]).name
        if program == "make":
            names = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
            faults += [f"README: {line}: no make target {name!r}" for name in names if name not in targets]
        elif program == "initscope":
            fault = parse_fault(group, words[1:])
            faults += [f"README: {line}: {fault}"] if fault else []
    return faults


def shell_lines(text: str) -> list[str]:
    """Returns the lines of the fenced blocks in `text`, prompts removed and continued lines joined."""
    blocks = re.findall(r"^[ ]*```[^\n]*\n(.*?)^[ ]*```", text, flags=re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [" ".join(line.strip().removeprefix("$ ").split()) for line in lines if line.strip()]


def command_words(line: str) -> list[str]:
    """Returns the words of a shell line without comments, variables set in front, and what follows a pipe or `&&`."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return []
    while words and ENVIRONMENT.fullmatch(words[0]):
        words.pop(0)
    stop = next((at for at, word in enumerate(words) if word in {"|", "&&", "||", ";", ">", ">>", "&"}), len(words))
    return words[:stop]


def parse_fault(command: click.Command, words: list[str], *, name: str = "initscope") -> str | None:
    """Returns why `words` are no legal arguments of `command`, or None. Nothing is run."""
    parent: click.Context | None = None
    try:
        while isinstance(command, click.Group):
            context = context_of(command, name, parent)
            rest = command.make_parser(context).parse_args(list(words))[1]
            if not rest:
                break
            found_name, found, words = command.resolve_command(context, rest)
            if found is None or found_name is None:
                return f"no command {rest[0]!r}"
            name, command, parent = found_name, found, context
        command.make_context(name, list(words), parent=parent)
    except (click.exceptions.Exit, click.exceptions.NoArgsIsHelpError):
        return None
    except click.UsageError as error:
        return None if "does not exist" in error.format_message() else error.format_message()
    return None


if __name__ == "__main__":
    sys.exit(main())
