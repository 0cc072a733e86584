"""The lesson in notebooks/: executed as stored, made of the public interface alone, and true when it is run again."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import initscope

LESSON = Path(__file__).resolve().parents[2] / "notebooks" / "surprising-demo.ipynb"
MOST_BYTES = 1_500_000
LIBRARIES = {"initscope", "numpy"}
STATEMENTS = (
    "100 % of the 2048 numbers differ.",
    "start seed 0 from the same hidden1.weight, to the bit: True",
    "Are they the same units? True",
    "parameters that ever moved, in any seed: output.bias\n",
    "all-one, seed 0: different units after training: input 1 of 64, hidden1 1 of 32, hidden2 1 of 32",
    "that depends on the image, at step 0: 0.0 in every seed",
    "learned    0 of ",
    "noise        learned in 4 of 4 seeds",
    "he           learned in 4 of 4 seeds",
    "zero         learned in 0 of 4 seeds",
)


def read_lesson() -> Any:
    """The notebook as it is stored."""
    return nbformat.read(LESSON, as_version=4)


def code_of(lesson: Any) -> list[str]:
    """The sources of the code cells, magics taken out."""
    cells = [cell.source for cell in lesson.cells if cell.cell_type == "code"]
    return [re.sub(r"^%.*$", "", source, flags=re.MULTILINE) for source in cells]


def text_of(lesson: Any) -> str:
    """All that the cells printed, in order."""
    outputs = [output for cell in lesson.cells if cell.cell_type == "code" for output in cell.outputs]
    return "".join(output.get("text", "") for output in outputs)


def assert_tells_the_lesson(lesson: Any) -> None:
    """Fails where a statement of the lesson's text is not what its cells printed."""
    told = text_of(lesson)
    assert [statement for statement in STATEMENTS if statement not in told] == []
    assert_all_zero_scores_a_class_share(told)
    assert_rounding_shrinks_with_more_digits(told)
    assert_learning_is_a_lottery(told)


def assert_all_zero_scores_a_class_share(told: str) -> None:
    pairs = re.findall(r"test accuracy ([\d.]+) %, share of the digit \d ([\d.]+) %", told)
    assert len(pairs) == 5 and all(accuracy == share for accuracy, share in pairs)


def assert_rounding_shrinks_with_more_digits(told: str) -> None:
    single, double = (float(size) for size in re.findall(r"float(?:32|64) \(about \d+ digits\): +(\S+)", told))
    assert single < 1e-5 and double < single / 1e5


def assert_learning_is_a_lottery(told: str) -> None:
    learned, dead, chance = (
        int(number)
        for pattern in (r"(\d+) of 10 seeds learned", r"at chance +(\d+) of \d+ seeds end", r"at chance +\d+ of (\d+)")
        for number in re.findall(pattern, told)
    )
    assert 0 < learned < 10
    assert dead >= chance / 2 > 0


def test_the_lesson_is_stored_with_the_outputs_of_one_run_from_top_to_bottom() -> None:
    cells = [cell for cell in read_lesson().cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert [output for cell in cells for output in cell.outputs if output.output_type == "error"] == []
    assert_tells_the_lesson(read_lesson())


def test_the_lesson_is_small_enough_to_be_read_over_a_network() -> None:
    assert LESSON.stat().st_size < MOST_BYTES


def test_the_lesson_shows_its_figures_as_png_with_nothing_else_that_is_large() -> None:
    shown = [output.data for cell in read_lesson().cells for output in cell.get("outputs", []) if "data" in output]
    assert sum("image/png" in data for data in shown) >= 8
    assert {kind for data in shown for kind in data} <= {"image/png", "text/plain", "text/html"}


def test_the_lesson_imports_numpy_and_the_public_interface_alone() -> None:
    nodes = [node for source in code_of(read_lesson()) for node in ast.walk(ast.parse(source))]
    imports = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    assert set(imports) == LIBRARIES
    assert [node.module for node in nodes if isinstance(node, ast.ImportFrom)] == []
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "initscope"}
    assert used <= set(initscope.__all__)


def test_every_question_of_the_lesson_is_answered_from_results() -> None:
    cells = read_lesson().cells
    asked = [(at, cell.source) for at, cell in enumerate(cells) if "**Question" in cell.source]
    numbers = [int(number) for _, source in asked for number in re.findall(r"\*\*Question (\d)\.", source)]
    assert numbers == list(range(1, 7))
    for at, _ in asked:
        answer = next(place for place in range(at + 1, len(cells)) if "**Answer.**" in cells[place].source)
        assert any(cell.cell_type == "code" and cell.outputs for cell in cells[at + 1 : answer])


def test_a_statement_that_is_not_printed_is_found() -> None:
    lesson = read_lesson()
    for cell in lesson.cells:
        for output in cell.get("outputs", []):
            if "text" in output:
                output["text"] = output["text"].replace("same units? True", "same units? False")
    with pytest.raises(AssertionError):
        assert_tells_the_lesson(lesson)


@pytest.mark.slow
def test_the_lesson_runs_from_nothing_and_says_the_same(tmp_path: Path) -> None:
    lesson = read_lesson()
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(lesson, timeout=600, kernel_name="python3", resources=place).execute()
    assert_tells_the_lesson(lesson)
    assert (tmp_path / "runs" / "lesson" / "results.db").is_file()
