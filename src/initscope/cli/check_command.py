"""`initscope check`: whether a network's start is sound, and how to mend it where it is not."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from initscope.checker.settings import Settings
    from initscope.records.finding import CheckReport
    from initscope.report.findings.printing import Printing

FORMATS = ("text", "concise", "json", "sarif", "github", "junit", "html")
FAIL_ON = ("error", "warn", "never")
WIDEST = 100
ASCII = str.maketrans({"\N{MIDDLE DOT}": "-", "\N{MULTIPLICATION SIGN}": "x", "\N{MINUS SIGN}": "-"})


@dataclass(frozen=True, kw_only=True)
class Options:
    """The command line, as it was typed."""

    target: str
    inputs: tuple[str, ...]
    batch: str | None
    loss: str | None
    seed: int
    device: str | None
    select: str | None
    ignore: str | None
    fail_on: str | None
    baseline: str | None
    write_baseline: str | None
    format_: str
    output: str | None
    fix_plan: bool


@click.command("check")
@click.argument("target")
@click.option(
    "--input", "inputs", multiple=True, metavar="SHAPE[:dtype]", help="Shape of an input (8,3,64,64); repeat for more."
)
@click.option("--batch", metavar="pkg.mod:function", help="A function that returns inputs, or (inputs, targets).")
@click.option("--loss", metavar="NAME|pkg.mod:fn", help="The loss: a name such as cross_entropy, or a function.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Decides every draw.")
@click.option("--device", metavar="D", help="cpu, cuda or auto.  [default: where the factory puts the model]")
@click.option("--select", metavar="RULES", help="Only these rules: names, codes, beginnings of codes (INI3), or ALL.")
@click.option("--ignore", metavar="RULES", help="Not these rules, named likewise, separated by commas.")
@click.option("--fail-on", type=click.Choice(FAIL_ON), help="From where on the exit code is 1.  [default: error]")
@click.option("--baseline", metavar="FILE", help="Be silent about the findings that FILE knows.")
@click.option("--write-baseline", metavar="FILE", help="Accept what is found now: write it to FILE.")
@click.option("--format", "format_", default="text", show_default=True, type=click.Choice(FORMATS))
@click.option("--output", metavar="FILE", help="Write there instead of printing.")
@click.option("--fix-plan", is_flag=True, help="Print the cures of all findings as one piece of Python.")
@click.pass_context
def check_command(context: click.Context, /, **given: object) -> None:
    """Tell whether the start of TARGET's network is sound: what is wrong, where, and how to mend it.

    TARGET is PACKAGE.MODULE:FACTORY, PATH/FILE.py:FACTORY, timm:NAME or hf:NAME. A factory takes no argument and
    returns the model, or a tuple (model, inputs, targets, loss) of which the later may be left out.

    Exit codes: 0 sound, 1 findings at or above --fail-on or a rule that crashed, 2 the model cannot be built or run, or
    an option is not legal. [tool.initscope] of pyproject.toml holds a project's own select, ignore, fail-on and
    per-path-ignores; options on the command line replace them.
    """
    options, home = Options(**given), Path.cwd()  # type: ignore[arg-type]  # click has made each of its type
    _refuse_folders(options)
    settings = _settings(options)
    report = _checked(options, settings)
    content = _content(options, settings, report)
    if options.output is not None:
        _write(home, options.output, content)
    else:
        click.echo(content, nl=False, color=_coloured() if options.format_ == "text" else None)
    if options.write_baseline is not None:
        report = _accepted(home, options, report)
    context.exit(exit_code(report, settings.fail_on))


def _refuse_folders(options: Options) -> None:
    from initscope.base.errors import UsageError

    for name, given in (("--output", options.output), ("--write-baseline", options.write_baseline)):
        if given is not None and (not given.strip() or Path(given).is_dir()):
            raise UsageError(f"{name} names no file", value=repr(given), legal="a file that is there or can be made")


def exit_code(report: CheckReport, fail_on: str) -> int:
    """Returns 1 where a finding is at or above `fail_on`, or a rule crashed, else 0; with "never" always 0."""
    if fail_on == "never":
        return 0
    grave = ("error", "warn") if fail_on == "warn" else ("error",)
    return 1 if report.failed or any(finding.severity in grave for finding in report.findings) else 0


def _settings(options: Options) -> Settings:
    """The project's settings with what the command line says instead; everything is read before the model is built."""
    from initscope.base.errors import UsageError
    from initscope.checker.baseline import read_baseline
    from initscope.checker.rule_names import LEGAL, resolve_rules, split_rules
    from initscope.checker.settings import find_settings

    if options.fix_plan and options.format_ != "text":
        raise UsageError("--fix-plan is a format of its own", value=f"--format {options.format_}", do="leave one out")
    found = find_settings(Path.cwd())
    for name, text in (("select", options.select), ("ignore", options.ignore)):
        if text is None:
            continue
        parts = split_rules(text)
        if not parts:
            raise UsageError(f"--{name} names no rule", value=repr(text), legal=LEGAL)
        names = resolve_rules(parts, where=f"--{name}")
        found = replace(found, select=names) if name == "select" else replace(found, ignore=names)
    if options.fail_on is not None:
        found = replace(found, fail_on=options.fail_on)  # type: ignore[arg-type]  # click allows these three
    if options.baseline is not None:
        found = replace(found, baseline=read_baseline(Path(options.baseline)))
    return found


def _checked(options: Options, settings: Settings) -> CheckReport:
    """The one place where the check itself is called; what the user's own code prints goes to stderr."""
    from initscope.api.check import check_source

    with contextlib.redirect_stdout(sys.stderr), _progress() as progress:
        return check_source(
            options.target,
            inputs=options.inputs,
            batch=options.batch,
            loss=options.loss,
            seed=options.seed,
            device=options.device,
            settings=settings,
            progress=progress,
        )


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None] | None]:
    """Shows what is being done on one line of stderr that goes away; nothing where stderr is no terminal."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return

    def show(text: str) -> None:
        click.echo(f"\r\x1b[2K{text[: WIDEST - 1]}", nl=False, err=True)

    try:
        yield show
    finally:
        click.echo("\r\x1b[2K", nl=False, err=True)


def _content(options: Options, settings: Settings, report: CheckReport) -> str:
    from initscope.report.findings.fix_plan import fix_plan
    from initscope.report.findings.formats import FORMATS as WRITERS

    printing = _printing(options, settings, report)
    text = fix_plan(printing) if options.fix_plan else WRITERS[options.format_](printing)
    encoding = (sys.stdout.encoding or "utf-8").lower()
    return text if options.output is not None or encoding.startswith("utf") else _encodable(text, encoding)


def _encodable(text: str, encoding: str) -> str:
    return text.translate(ASCII).encode(encoding, "backslashreplace").decode(encoding)


def _printing(options: Options, settings: Settings, report: CheckReport) -> Printing:
    from initscope.cli.catalogues import rule_infos
    from initscope.report.findings.printing import Printing

    wanted = [one for one in rule_infos() if not settings.select or one.name in settings.select]
    return Printing(
        report=report,
        rules=tuple(one for one in wanted if one.name not in settings.ignore),
        fail_on=settings.fail_on,
        root=str(Path.cwd()),
        fallback=_file_of(options.target),
        again=_command(options),
        width=min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns) if sys.stdout.isatty() else WIDEST,
        colour=options.output is None and _coloured(),
    )


def _coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _file_of(target: str) -> str:
    """The file of the current folder that a target names; pyproject.toml where it names none."""
    named = target.rpartition(":")[0]
    for file in (named, f"{named.replace('.', '/')}.py", f"{named.replace('.', '/')}/__init__.py"):
        if file.endswith(".py") and Path(file).is_file():
            return Path(file).as_posix()
    return "pyproject.toml"


def _command(options: Options) -> str:
    """The command that makes this check again, without what is said of its output."""
    words = ["initscope", "check", options.target]
    for shape in options.inputs:
        words += ["--input", shape]
    said = {"batch": options.batch, "loss": options.loss, "device": options.device}
    said |= {"select": options.select, "ignore": options.ignore, "baseline": options.baseline}
    for name, value in said.items():
        words += [] if value is None else [f"--{name}", value]
    return shlex.join([*words, *(["--seed", str(options.seed)] if options.seed else [])])


def _write(home: Path, given: str, content: str) -> None:
    """Writes the file `given` of the folder the command began in: a factory may have left it."""
    from initscope.base.errors import EnvironmentFault
    from initscope.report.atomic import write_atomically

    try:
        write_atomically(home / given, content.encode(errors="backslashreplace"))
    except EnvironmentFault as fault:
        what, do = "cannot write the file", "free the place or choose another file"
        raise EnvironmentFault(what, where=given, value=fault.value, do=do) from fault


def _accepted(home: Path, options: Options, report: CheckReport) -> CheckReport:
    """Writes the baseline, what an earlier one silenced included; returns the report without what is accepted now."""
    from initscope.checker.baseline import baseline_text
    from initscope.checker.selection import IN_BASELINE

    known = [finding for finding, reason in report.silenced if reason == IN_BASELINE]
    text = baseline_text([*report.findings, *known], target=report.target)
    _write(home, str(options.write_baseline), text)
    click.echo(f"wrote {options.write_baseline}", err=True)
    return replace(report, findings=())
