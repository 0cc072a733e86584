"""How docs/cli.md is written and how the README's commands are read."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from tools import docs


@click.group()
@click.version_option("1.0")
def program() -> None:
    """See things."""


@program.command()
@click.argument("study")
@click.option("--seeds", type=int, help="number of seeds")
@click.option("--data", type=click.Path(exists=True))
@click.option("--format", "kind", type=click.Choice(["csv", "json"]))
def run(study: str, seeds: int, data: str, kind: str) -> None:
    """Run a study."""
    raise AssertionError("parsing must run nothing")


@program.group()
def data() -> None:
    """Handle data."""


@data.command()
def fetch() -> None:
    """Fetch data."""


@program.command(hidden=True)
def worker() -> None:
    """Not for people."""


def test_the_page_has_the_help_of_every_visible_command() -> None:
    page = docs.cli_page(program)
    headings = [line for line in page.splitlines() if line.startswith("## ")]
    assert headings == [
        "## `initscope`", "## `initscope data`", "## `initscope data fetch`", "## `initscope run`"
    ]  # fmt: skip
    assert "Usage: initscope run [OPTIONS] STUDY" in page
    assert "number of seeds" in page


def test_the_page_does_not_depend_on_the_width_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    narrow = docs.cli_page(program)
    monkeypatch.setenv("COLUMNS", "300")
    assert docs.cli_page(program) == narrow


@pytest.mark.parametrize(
    "words",
    [
        "", "--help", "--version", "run --help", "run x", "run x --seeds 3", "run x --data absent.csv",
        "run x --format json", "data fetch",
    ],
)  # fmt: skip
def test_a_command_that_exists_parses(words: str) -> None:
    assert docs.parse_fault(program, words.split()) is None


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("rnu x", "No such command 'rnu'"),
        ("run", "Missing argument 'STUDY'"),
        ("run x --seed", "No such option '--seed'"),
        ("run x --seeds many", "'many' is not a valid integer"),
        ("run x --format xml", "'xml' is not one of 'csv', 'json'"),
        ("data drop", "No such command 'drop'"),
        ("data fetch more", "unexpected extra argument"),
        ("--colour run x", "No such option '--colour'"),
    ],
)
def test_a_command_that_does_not_exist_is_found(words: str, fault: str) -> None:
    assert fault in str(docs.parse_fault(program, words.split()))


def test_only_commands_in_fenced_blocks_are_read() -> None:
    text = (
        "initscope nothing\n\n```sh\n$ initscope run x   # say it\nmake demo && echo done\ninitscope run x \\\n"
        "    --seeds 2\n```\n\n  ```\n  INITSCOPE_DATA_DIR=here .venv/bin/initscope rnu | head\n  make dmeo ARGS=x\n"
        "  echo initscope rnu\n  it's prose\n  ```\n"
    )
    assert docs.shell_lines(text)[:3] == [
        "initscope run x # say it", "make demo && echo done", "initscope run x --seeds 2"
    ]  # fmt: skip
    faults = docs.readme_faults(text, program, {"demo", "test"})
    assert [fault.split(": ")[1] for fault in faults] == [
        "INITSCOPE_DATA_DIR=here .venv/bin/initscope rnu | head",
        "make dmeo ARGS=x",
    ]
    assert faults[1] == "README: make dmeo ARGS=x: no make target 'dmeo'"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up repository whose page is fresh and whose README is right."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("```sh\nmake demo\ninitscope run x\n```\n")
    (tmp_path / "Makefile").write_text("demo: ## show\n\ttrue\n")
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    monkeypatch.setattr(docs, "command_line", lambda: program)
    assert docs.main([]) == 0
    return tmp_path


def test_a_fresh_page_passes_the_check(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert docs.main(["--check"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "docs/cli.md is fresh and every README command parses"


def test_a_stale_page_and_a_wrong_command_fail_the_check_together(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "docs" / "cli.md").write_text("old\n")
    (repository / "README.md").write_text("```sh\nmake dmeo\n```\n")
    capsys.readouterr()
    assert docs.main(["--check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "README: make dmeo: no make target 'dmeo'",
        "docs/cli.md is stale; run: make docs",
    ]


def test_a_page_that_is_missing_fails_the_check(repository: Path) -> None:
    (repository / "docs" / "cli.md").unlink()
    assert docs.main(["--check"]) == 1
