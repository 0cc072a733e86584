"""The report is one safe, complete, light file, whatever the runs did."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from initscope.figures.catalogue import draw, names
from initscope.figures.drawing import Drawing
from initscope.records.results import Results
from initscope.report.embedding import embeddable
from initscope.report.figure_files import write_figures
from initscope.report.page import report_html, write_report
from initscope.report.sections import placement
from tests.support.synthetic import make_results

VOID = {"meta", "link", "img", "br", "hr", "input", "source", "wbr", "col"}
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> {{ 7*7 }} \" ' &"


class Page(HTMLParser):
    """What a browser would see: tags with attributes, ids, text, and whether every tag was closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    @property
    def ids(self) -> list[str]:
        return [found for _, attributes in self.tags if (found := attributes.get("id")) is not None]


def plain_drawing(name: str, *, points: int = 5, condition: str | None = None) -> Drawing:
    figure = Figure(figsize=(3, 2))
    axes = figure.add_subplot()
    axes.plot(np.linspace(0, 1, points), np.random.default_rng(0).random(points), marker="o")
    columns: dict[str, list[str | int | float]] = {"seed": list(range(points)), "accuracy (%)": [1.5] * points}
    if condition:
        columns["condition"] = [condition] * points
    return Drawing(
        name=name, figure=figure, title="T", caption="A caption.", alt=f'alt of "{name}" <b>', columns=columns
    )


def every_drawing(results: Results) -> list[Drawing]:
    return [draw(results, name) for name in names(results)]


@pytest.fixture(scope="module")
def drawn() -> tuple[Results, list[Drawing]]:
    results = make_results(seeds=3)
    return results, every_drawing(results)


@pytest.fixture(scope="module")
def founding(drawn: tuple[Results, list[Drawing]]) -> tuple[Results, str]:
    results, drawings = drawn
    return results, report_html(results, figures=drawings)


def test_every_section_is_there_in_the_order_of_a_good_lecture(founding: tuple[Results, str]) -> None:
    results, html = founding
    sections = ("glance", "conditions", "remaining", "limits", "method", "provenance")
    order = ['class="question"', 'class="answer"', *(f'<section id="{name}">' for name in sections)]
    assert [html.count(part) for part in order] == [1] * len(order)
    assert [html.index(part) for part in order] == sorted(html.index(part) for part in order)
    shown = [found for found in Page(html).ids if found.startswith("condition-")]
    assert shown == [f"condition-{key}" for key in results.conditions]


def test_each_condition_says_what_was_done_what_happened_and_why(founding: tuple[Results, str]) -> None:
    results, html = founding
    for key in results.conditions:
        part = html[html.index(f'<article id="condition-{key}">') :]
        part = part[: part.index("</article>")]
        assert [part.count(f"<dt>{word}</dt>") for word in ("Done", "Happened", "Why")] == [1, 1, 1]
        assert "<figure" in part or key == "weights-zero-biases-default"


def test_no_id_occurs_twice_and_every_reference_inside_the_page_leads_somewhere(founding: tuple[Results, str]) -> None:
    page = Page(founding[1])
    assert len(page.ids) == len(set(page.ids))
    linked = [
        value[1:]
        for _, attributes in page.tags
        for key, value in attributes.items()
        if key in ("href", "xlink:href") and value and not value.startswith("data:")
    ]
    clipped = re.findall(r"url\(#([^)]+)\)", founding[1])
    assert linked and set(linked + clipped) <= set(page.ids)


def test_nothing_is_fetched_and_nothing_is_run(founding: tuple[Results, str]) -> None:
    page = Page(founding[1])
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "object", "embed", "base")]
    resources = [
        value
        for _, attributes in page.tags
        for key, value in attributes.items()
        if key in ("src", "href", "xlink:href", "srcset")
    ]
    assert all(value is not None and value.startswith(("#", "data:image/png;base64,")) for value in resources)
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    assert "@import" not in founding[1] and not re.search(r"url\((?!#)", founding[1])


def test_every_figure_has_a_text_alternative_a_caption_and_its_numbers(
    founding: tuple[Results, str], drawn: tuple[Results, list[Drawing]]
) -> None:
    page, drawings = Page(founding[1]), drawn[1]
    labels = [attributes.get("aria-label") for tag, attributes in page.tags if tag == "svg"]
    assert all(drawing.alt in labels for drawing in drawings)
    assert sum(found.startswith("figure-") for found in page.ids) == len(drawings)
    assert page.text.count("Numbers of this figure") == len([drawing for drawing in drawings if drawing.columns])


def test_the_numbers_of_a_figure_stand_in_its_table() -> None:
    html = report_html(make_results(seeds=1), figures=[plain_drawing("one")])
    assert '<th scope="col" class="number">accuracy (%)</th>' in html
    assert html.count('<td class="number">1.5</td>') == 5


@pytest.mark.parametrize("field", ["title", "question"])
def test_hostile_text_of_a_study_is_shown_and_never_obeyed(field: str) -> None:
    results = make_results(seeds=1, **{field: HOSTILE, "about": {"default": HOSTILE}})
    html = report_html(results, figures=[plain_drawing("one")])
    assert "<script" not in html and "<img" not in html and "{{ 7*7 }}" in html
    assert "alert(1)" in Page(html).text


def test_hostile_text_from_data_and_machines_is_escaped_too() -> None:
    results = make_results(seeds=1)
    results = replace(
        results,
        data=replace(results.data, name=HOSTILE, source=HOSTILE, licence=HOSTILE),
        environments=(replace(results.environments[0], command=HOSTILE, processor=HOSTILE),),
        runs=tuple(replace(run, status="failed", error=HOSTILE, class_shares=()) for run in results.runs),
    )
    html = report_html(results, figures=[draw(results, "figure1_weight_init_demo"), draw(results, "outcomes")])
    assert "<script" not in html and "<img" not in html and "onerror" in Page(html).text


def test_figures_stand_with_the_last_condition_they_show_and_the_others_point_to_them() -> None:
    results = make_results(seeds=1)
    drawings = [plain_drawing(name) for name in results.study.figures]
    drawings += [plain_drawing("outcomes"), plain_drawing("layer_deaths", condition="all-one")]
    placed = placement(results, drawings)
    assert placed["figure1_weight_init_demo"] == "default"
    assert placed["figure2_weight_init_demo"] == "hidden1-weight-zero"
    assert placed["figure13_weight_init_demo_extra3"] == "biases-zero"
    assert placed["layer_deaths"] == "all-one" and "outcomes" not in placed
    assert '<a href="#figure-figure13_weight_init_demo_extra3">' in report_html(results, figures=drawings)


@pytest.mark.slow
def test_sixty_four_seeds_stay_under_five_megabytes(tmp_path: Path) -> None:
    results = make_results(seeds=64)
    path = write_report(results, tmp_path, figures=every_drawing(results))
    assert path.name == "report.html" and path.stat().st_size < 5_000_000
    assert Page(path.read_text()).text.count("Numbers of this figure") >= 13


def test_a_page_that_grows_too_heavy_keeps_its_figures_as_pictures_and_cuts_its_tables() -> None:
    results = make_results(seeds=1, conditions=("default",))
    drawings = [plain_drawing("light"), plain_drawing("heavy", points=4000)]
    free = report_html(results, figures=drawings)
    tight = report_html(results, figures=drawings, largest_bytes=len(free.encode()) - 1)
    assert "<img" not in free and tight.count("<img") == 1 and 'id="light-svg"' in tight
    assert len(tight.encode()) < len(free.encode())
    least = report_html(results, figures=drawings, largest_bytes=1)
    assert "3,980 further rows are left out here" in least


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("status", ["finished", "diverged", "failed"])
def test_few_seeds_one_condition_and_broken_runs_make_a_whole_page(seeds: int, status: str) -> None:
    results = make_results(seeds=seeds, epochs=1, conditions=("biases-zero",))
    nothing = np.array([], dtype=np.float64)
    runs = results.runs
    if status != "finished":
        runs = tuple(replace(run, status=status, diverged_step=3, probes=None) for run in runs)
    if status == "failed":
        runs = tuple(
            replace(run, class_shares=(), history=replace(run.history, **dict.fromkeys(vars(run.history), nothing)))
            for run in runs
        )
    results = replace(results, runs=runs)
    text = Page(report_html(results, figures=every_drawing(results))).text
    assert "What cannot be concluded" in text and " nan" not in text.lower()


def test_results_without_a_single_run_make_a_page_that_says_so() -> None:
    results = replace(make_results(seeds=1), runs=(), environments=())
    assert "No run has been stored yet" in Page(report_html(results, figures=[])).text


def test_mixed_environments_are_warned_of_and_equal_ones_are_not() -> None:
    results = make_results(seeds=1)
    one = results.environments[0]
    assert "Mixed environments" not in report_html(results, figures=[])
    two = replace(results, environments=(one, replace(one, processor="another")))
    assert "with different processor (another, made up)" in Page(report_html(two, figures=[])).text


def test_two_figures_of_a_page_do_not_take_each_others_parts() -> None:
    svg = '<?xml version="1.0"?><!DOCTYPE svg><svg width="3pt" viewBox="0 0 1 1"><metadata>x</metadata><style type="text/css">*{a:b}</style><g id="p"/><use xlink:href="#p"/><path clip-path="url(#p)"/></svg>'  # noqa: E501
    assert embeddable(svg, name="a b", label='"<') == (
        '<svg viewBox="0 0 1 1" id="a-b-svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        'aria-label="&#34;&lt;">'
        '<style type="text/css">#a-b-svg * {a:b}</style><g id="a-b-p"/><use xlink:href="#a-b-p"/>'
        '<path clip-path="url(#a-b-p)"/></svg>'
    )


def test_figure_files_come_in_pairs(tmp_path: Path) -> None:
    written = write_figures([plain_drawing("one"), plain_drawing("two")], tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in written] == [
        "figures/one.png", "figures/one.svg", "figures/two.png", "figures/two.svg",
    ]  # fmt: skip
    assert sorted(tmp_path.rglob("*.*")) == sorted(written)
    assert written[0].read_bytes()[:4] == b"\x89PNG" and "<svg" in written[1].read_text()
