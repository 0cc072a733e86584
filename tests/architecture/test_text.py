"""What stands in files: no place of one machine, no command that does not exist, documents of the promised size."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import initscope
from tests.architecture.sources import PACKAGE, REPOSITORY, repository_files
from tests.architecture.test_floors import FLOORS
from tools import docs

MACHINE_PLACE = re.compile(r"(?<![\w.>$)}~-])/(?:work|opt|root|home|mnt)/|\.\./shared\b")
no_command_line_yet = pytest.mark.skipif(
    importlib.util.find_spec("initscope.cli.main") is None, reason="the command line is not written yet"
)


def machine_places(path: Path, name: str) -> list[str]:
    """Returns one line for every place in a text file that exists on one machine only."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return []
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for number, line in enumerate(text.splitlines(), start=1)
        if MACHINE_PLACE.search(line)
    ]


def assert_portable(paths: list[Path], *, above: Path) -> None:
    """Fails where a file names a place that exists on one machine only."""
    assert [fault for path in paths for fault in machine_places(path, path.relative_to(above).as_posix())] == []


def test_no_file_outside_the_tests_names_a_place_of_one_machine() -> None:
    tests = REPOSITORY / "tests"
    assert_portable([path for path in repository_files() if tests not in path.parents], above=REPOSITORY)


@pytest.mark.parametrize(
    "line", ["path = '/opt/data/a.csv'", "initscope run x --data ../shared/data/a.csv", "see /home/me/notes"]
)
def test_a_place_of_one_machine_is_found(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.md"
    path.write_text(f"fine\n{line}\n")
    assert machine_places(path, "a.md") == [f"a.md:2: {line}"]
    with pytest.raises(AssertionError):
        assert_portable([path], above=tmp_path)


@pytest.mark.parametrize("line", ["https://example.org/home/page", "src/work/a.py", "~/opt/data", "runs/root/x"])
def test_addresses_and_relative_paths_are_no_place_of_one_machine(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.md"
    path.write_text(line)
    assert_portable([path], above=tmp_path)


def test_the_architecture_page_has_at_most_150_lines() -> None:
    assert len((REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_floors_of_the_architecture_page_are_those_that_are_enforced() -> None:
    text = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = {name: int(floor) for floor, name in re.findall(r"^\| (\d) \| `(\w+)` \|", text, flags=re.MULTILINE)}
    present = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} | set(table)
    assert table == {name: floor for name, floor in FLOORS.items() if name in present}


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_the_files_and_folders_that_a_page_names_exist(page: str) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w./-]+(?:/|/[\w-]+\.\w+))`", text))
    assert named
    assert {name for name in named if not (REPOSITORY / name).exists() and not (PACKAGE / name).exists()} == set()


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_python_in_a_page_runs(page: str, tmp_path: Path) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL))
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_the_citation_names_the_version_of_the_package() -> None:
    text = (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", text, flags=re.MULTILINE) == [initscope.__version__]


def test_the_decision_records_are_numbered_without_gaps_and_fit_on_a_page() -> None:
    records = sorted((REPOSITORY / "docs" / "adr").glob("*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    assert [path.name for path in records if len(path.read_text(encoding="utf-8").splitlines()) > 60] == []


def test_every_release_in_the_changelog_says_whether_results_may_change() -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert releases
    assert [release.splitlines()[0] for release in releases if "\n### Results may change\n" not in release] == []


@no_command_line_yet
def test_every_command_in_the_readme_exists() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    targets = docs.make_targets(REPOSITORY / "Makefile")
    assert docs.readme_faults(text, docs.command_line(), targets) == []


@no_command_line_yet
def test_the_page_of_the_command_line_is_fresh() -> None:
    page = (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == docs.cli_page(docs.command_line()), "run: make docs"
