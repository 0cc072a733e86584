"""The documents agree with the program: links resolve, and every key, figure, column, word and code is described."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from PIL import Image
from pydantic import BaseModel

from initscope.api.run import VETS
from initscope.base import errors
from initscope.datasets import catalogue as datasets
from initscope.figures.catalogue import STANDARD
from initscope.initializers.method import METHODS
from initscope.models.registry import MODELS
from initscope.records.run import Probes
from initscope.records.study import ACTIVATIONS, DataSpec, FigureSpec, ModelSpec, Study, TrainSpec
from initscope.report.tables import HISTORY_COLUMNS, RUN_COLUMNS
from initscope.stats.outcomes import OUTCOMES
from initscope.study.file import load_study
from initscope.train.optimisers import ELEMENTWISE
from tests.docs.pages import (
    REPOSITORY,
    anchors_of,
    blocks_of,
    broken_links,
    links_of,
    name_of,
    page_blocks,
    pages,
    write_files,
)
from tools import bootstrap, docs

STUDIES = (REPOSITORY / "docs" / "studies.md").read_text(encoding="utf-8")
READING = (REPOSITORY / "docs" / "reading-the-report.md").read_text(encoding="utf-8")
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
WITH_FILES = ("README.md", "docs/studies.md", "CONTRIBUTING.md")


def assert_named(names: list[str], text: str) -> None:
    """Fails where a name does not stand in `text` as a word marked as code."""
    code = " ".join(re.findall(r"`([^`\n]+)`", text))
    assert [name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", code)] == []


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_link_to_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# A heading, here\n")
    page = tmp_path / "a.md"
    page.write_text("[good](b.md#a-heading-here) [bad](c.md) ![bad](x.png) [bad](b.md#elsewhere) [far](https://e.org)")
    assert broken_links(page) == ["a.md: c.md", "a.md: x.png", "a.md: b.md#elsewhere"]


def test_every_page_is_reached_from_the_index_of_its_folder() -> None:
    docs_folder = REPOSITORY / "docs"
    reached = {"index.md"}
    for index in (docs_folder / name / "index.md" for name in ("", "initializers", "rules")):
        links = links_of(index.read_text(encoding="utf-8"))
        reached |= {(index.parent / link).resolve().relative_to(REPOSITORY).as_posix().removeprefix("docs/")
                    for link in links if link.endswith(".md")}  # fmt: skip
    found = {page.relative_to(docs_folder).as_posix() for page in docs_folder.rglob("*.md")}
    assert found - reached == set()


@pytest.mark.parametrize("model", [Study, DataSpec, ModelSpec, TrainSpec, FigureSpec])
def test_every_key_of_a_study_file_is_described(model: type[BaseModel]) -> None:
    tables = {"data", "model", "train", "conditions", "about", "figures"} if model is Study else set()
    assert_named([name for name in model.model_fields if name not in tables], STUDIES)
    headings = " ".join(re.findall(r"^## (.*)$", STUDIES, flags=re.MULTILINE))
    assert [table for table in tables if f"[{table}" not in headings] == []


def test_the_defaults_that_the_page_states_are_those_of_the_program() -> None:
    stated = dict(re.findall(r"^\| `(\w+)` \| `?([^`|]+?)`? \|", STUDIES, flags=re.MULTILINE))
    fields = {
        name: field for model in (Study, DataSpec, ModelSpec, TrainSpec) for name, field in model.model_fields.items()
    }
    numbers = {name: text for name, text in stated.items() if name in fields and re.fullmatch(r'[\d.]+|".*"', text)}
    assert {name: tomllib.loads(f"x = {text}")["x"] for name, text in numbers.items()} == {
        name: fields[name].default if name != "name" else "mlp" for name in numbers
    }
    assert {"seeds", "test_fraction", "learning_rate", "batch_size", "epochs", "dtype", "baseline"} <= set(numbers)


def test_everything_a_study_can_name_is_described() -> None:
    assert_named([*METHODS], (REPOSITORY / "docs" / "initializers" / "index.md").read_text(encoding="utf-8"))
    assert_named([*ACTIVATIONS, *ELEMENTWISE, *MODELS, *datasets.names(), *STANDARD], STUDIES)


def test_every_figure_column_outcome_and_measure_is_explained() -> None:
    assert_named([*STANDARD, *RUN_COLUMNS, *HISTORY_COLUMNS], READING)
    assert [outcome for outcome in OUTCOMES if f"| {outcome} |" not in READING] == []
    words = {"gradient_norm": "gradient norm", "gradient_zero": "exactly zero", "distinct_units": "distinct units",
             "similar_groups": "similar groups", "dead_units": "dead units", "signal_rms": "signal",
             "input_share": "share that depends on the input", "unmoved_share": "unmoved share"}  # fmt: skip
    measured = set(Probes.__dataclass_fields__) - {"steps", "parameters", "layers", "units", "tolerance"}
    assert set(words) == measured
    assert [word for word in words.values() if word not in READING] == []


def test_the_exit_codes_of_the_readme_are_those_of_the_errors() -> None:
    stated = {int(code) for code in re.findall(r"^\| (\d+) \|", README, flags=re.MULTILINE)}
    kinds = (errors.UsageError, errors.RunsFailedError, errors.EnvironmentFault)
    assert stated == {0, 130} | {kind.exit_code for kind in kinds}


def test_the_readme_installs_from_the_index_that_make_asks_and_with_extras_that_exist() -> None:
    lines = [line for block in page_blocks("README.md", "sh") for line in block.text.splitlines() if "pip" in line]
    assert [bootstrap.CPU_INDEX in line for line in lines] == [True, False]
    extras = re.findall(r"pip install \"\.\[(\w+)\]\"", README)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert extras and set(extras) <= set(project["optional-dependencies"])


def test_every_make_command_of_the_readme_is_run_by_the_continuous_integration() -> None:
    named = {words[1] for line in docs.shell_lines(README) if (words := docs.command_words(line))[:1] == ["make"]}
    run = set(re.findall(r"\bmake ([a-z-]+)", (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")))
    assert named and named <= run


def test_the_picture_of_the_readme_is_small_and_wide_enough_to_read() -> None:
    path = REPOSITORY / "docs" / "images" / "outcomes.png"
    with Image.open(path) as picture:
        assert picture.format == "PNG" and picture.width >= 1000
    assert path.stat().st_size <= 150_000


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_command_on_a_page_parses(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shell = "\n".join(f"```sh\n{block.text}```" for block in blocks_of(text) if block.language == "sh")
    assert docs.readme_faults(shell, docs.command_line(), docs.make_targets(REPOSITORY / "Makefile")) == []


@pytest.mark.parametrize("page", WITH_FILES)
def test_every_study_on_a_page_loads(page: str, tmp_path: Path) -> None:
    studies = [path for path in write_files(page, tmp_path) if path.suffix == ".toml"]
    assert [load_study(str(path), vets=VETS).name for path in studies] == [path.stem for path in studies]
    assert len(studies) == len(page_blocks(page, "toml")) > 0


def test_the_study_of_the_readme_has_about_twenty_lines() -> None:
    (block,) = page_blocks("README.md", "toml")
    assert 15 <= len([line for line in block.text.splitlines() if line.strip()]) <= 25


def test_anchors_are_made_as_the_hosts_make_them() -> None:
    text = "## Changing one value: `--set`\n```sh\n# no heading\n```\n"
    assert anchors_of(text) == {"changing-one-value---set"}
