"""What a notebook shows: the terminal's table, every seed as a mark, nothing unescaped."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from initscope.api.summary_html import HEADER, summary_html
from initscope.report.why import explain
from tests.support.synthetic import make_results


class Reader(HTMLParser):
    """Collects cells, marks and what was left open."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.open: list[str] = []
        self.marks = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in ("circle", "line"):
            self.marks += tag == "circle"
        elif tag != "br":
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("circle", "line", "br"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


def test_every_condition_has_its_numbers_and_its_reason() -> None:
    results = make_results()
    cells = read(summary_html(results, folder=Path("runs/x"))).cells
    assert tuple(cells[: len(HEADER)]) == HEADER
    for key in results.conditions:
        assert cells[cells.index(key) + 1] == str(len(results.of(key)))
        assert explain(results, key).headline in cells


def test_every_seed_has_a_mark() -> None:
    results = make_results()
    measured = [run for run in results.runs if run.final_test_accuracy_percent == run.final_test_accuracy_percent]
    assert read(summary_html(results, folder=Path("x"))).marks == len(measured)


def test_a_title_or_folder_cannot_become_markup() -> None:
    results = make_results()
    study = results.study.model_copy(update={"title": "<script>alert(1)</script>"})
    text = summary_html(replace(results, study=study), folder=Path("<b>&"))
    assert "<script" not in text and "&lt;b&gt;&amp;" in text
