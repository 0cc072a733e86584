"""The last screen of a study."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from initscope.report.terminal import print_summary, summary_lines, summary_table
from tests.support.synthetic import make_results


def printed(*, width: int = 100, encoding: str = "utf-8", **console: object) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    out = Console(file=stream, width=width, **console)  # type: ignore[arg-type]
    print_summary(make_results(), out, "runs/surprising-demo/report.html", "initscope run surprising-demo --seeds 20")
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


def test_each_condition_has_a_line_of_numbers_and_a_line_of_why() -> None:
    results = make_results()
    lines = summary_lines(results)
    assert [line.kind for line in lines] == ["heading"] + ["numbers", "why"] * 8
    row = next(line.text for line in lines if line.text.startswith("all-zero"))
    assert row.split("  ")[0] == "all-zero"
    assert "0/10  0 % [0, 28]" in row and "11.7 (11.7 to 11.7)" in row and "[−" in row


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
@pytest.mark.parametrize("seeds", [1, 64])
def test_no_line_is_wider_than_the_screen_or_a_hundred_columns(width: int, seeds: int) -> None:
    lines = summary_lines(make_results(seeds=seeds), width=width)
    assert max(len(line.text) for line in lines) <= min(width, 100)


def test_numbers_of_a_column_end_at_one_place() -> None:
    lines = [line.text for line in summary_lines(make_results()) if line.kind != "why"]
    assert len({len(line) for line in lines}) == 1


def test_without_colour_there_are_no_control_codes() -> None:
    assert "\x1b" not in printed()
    coloured = printed(force_terminal=True, color_system="standard", no_color=False)
    assert "\x1b[1m" in coloured and "\x1b[2m" in coloured


def test_path_and_command_stand_whole_on_the_last_lines() -> None:
    assert printed(width=40).rstrip().splitlines()[-2:] == [
        "report  runs/surprising-demo/report.html",
        "next    initscope run surprising-demo --seeds 20",
    ]


def test_a_terminal_that_knows_only_ascii_gets_the_table_in_ascii() -> None:
    assert "[-" in printed(encoding="ascii")


def test_one_condition_and_runs_that_failed_are_shown_without_inventing_numbers() -> None:
    results = make_results(seeds=2, conditions=("biases-zero",))
    runs = tuple(replace(run, status="failed", class_shares=(), probes=None) for run in results.runs)
    text = summary_table(replace(results, runs=runs)).plain
    assert "not known" in text and "not measured" in text and "no pairs" in text and "nan" not in text
