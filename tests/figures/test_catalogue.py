"""Every figure of a study: names, contract, and what it survives."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from initscope.base.errors import UsageError
from initscope.figures.catalogue import draw, names
from initscope.figures.drawing import MOST_ROWS, Drawing
from initscope.figures.render import to_png, to_svg
from initscope.records.results import Results
from tests.figures.support import diverged, failed, with_runs
from tests.support.synthetic import founding_study, make_results, make_run

STANDARD = ("outcomes", "gradient_map", "effective_width", "layer_deaths")
KINDS = ("figure3", "figure4", "figure10", "figure13")
FOUNDING = (*founding_study().figures, *STANDARD)


def ten_conditions() -> Results:
    """A study of ten conditions, all in one accuracy figure."""
    keys = {f"condition-number-{place}-with-a-long-name": {} for place in range(9)}
    conditions = {"default": {}} | keys
    figure = {"all": {"kind": "accuracies", "conditions": tuple(conditions)}}
    study = founding_study(conditions=conditions, figures=figure, about={}, seeds=2)
    runs = tuple(make_run(key, seed) for key in conditions for seed in (0, 1))
    return replace(make_results(seeds=1), study=study, runs=runs)


@cache
def case(name: str) -> Results:
    """Results of the kinds a figure must survive."""
    made = {
        "one seed": lambda: make_results(seeds=1),
        "one epoch": lambda: make_results(seeds=2, epochs=1),
        "one condition": lambda: make_results(seeds=3, conditions=("all-one",)),
        "no baseline": lambda: make_results(seeds=3, conditions=("all-one", "biases-zero")),
        "ten conditions": ten_conditions,
        "all diverged": lambda: with_runs(make_results(seeds=2), diverged),
        "all failed": lambda: with_runs(make_results(seeds=2), failed),
        "some failed": lambda: with_runs(make_results(seeds=3), lambda run: failed(run) if run.seed == 1 else run),
        "nothing kept": lambda: replace(
            with_runs(make_results(seeds=2), lambda run: replace(run, probes=None)), weights=lambda *_: None
        ),
        "constant": lambda: with_runs(make_results(seeds=2), lambda run: make_run(run.condition, run.seed, end=11.7)),
        "no run": lambda: replace(make_results(seeds=1), runs=()),
    }
    return made[name]()


def assert_publishable(drawing: Drawing) -> None:
    """Asserts what holds of every drawing."""
    assert drawing.title and drawing.caption and drawing.alt
    assert drawing.title in drawing.alt
    assert "nan" not in (drawing.title + drawing.caption + drawing.alt).lower().split()
    assert drawing.columns and len({len(column) for column in drawing.columns.values()}) == 1
    assert len(next(iter(drawing.columns.values()))) <= MOST_ROWS
    width, height = drawing.figure.get_size_inches()
    assert (width, height) == (pytest.approx(6 * 1.618), pytest.approx(6.0))
    sizes = [text.get_fontsize() for text in drawing.figure.findobj(Text) if text.get_text().strip()]
    assert min(sizes) >= 9.0


def test_the_names_are_the_studys_figures_in_order_and_then_the_standard_ones() -> None:
    assert names(make_results(seeds=1)) == FOUNDING
    assert len(FOUNDING) == 17


def test_a_figure_none_of_whose_conditions_was_run_is_left_out() -> None:
    found = names(make_results(seeds=1, conditions=("biases-zero",)))
    assert found == ("figure12_weight_init_demo_extra3", "figure13_weight_init_demo_extra3", *STANDARD[:3])


def test_layer_deaths_are_left_out_where_no_condition_split_and_no_layer_died() -> None:
    quiet = make_results(seeds=2, conditions=("default", "biases-zero"))
    at_chance = replace(make_run("biases-zero", 1, end=11.7), probes=None)
    split = replace(quiet, runs=(*quiet.runs[:-1], at_chance))
    died = make_results(seeds=2, conditions=("default", "all-zero"))
    assert ["layer_deaths" in names(results) for results in (quiet, split, died)] == [False, True, True]
    with pytest.raises(UsageError):
        draw(quiet, "layer_deaths")


def test_an_unknown_figure_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError) as refused:
        draw(make_results(seeds=1, conditions=("all-zero",)), "outcome")
    assert str(refused.value) == (
        "unknown figure 'outcome'\n"
        "  legal: effective_width, figure4_weight_init_demo, figure5_weight_init_demo, figure6_weight_init_demo, "
        "gradient_map, layer_deaths, outcomes\n"
        "  do:    did you mean 'outcomes'?"
    )


@pytest.mark.parametrize("name", FOUNDING)
def test_every_figure_of_the_founding_study_is_publishable(name: str) -> None:
    drawing = draw(make_results(seeds=4), name)
    assert drawing.name == name
    assert_publishable(drawing)
    assert "seed" in drawing.caption


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "kind",
    ["one seed", "one epoch", "one condition", "no baseline", "ten conditions", "all diverged", "all failed",
     "some failed", "nothing kept", "constant", "no run"],
)  # fmt: skip
def test_every_figure_survives(kind: str) -> None:
    results = case(kind)
    for name in names(results):
        if name in STANDARD or name.split("_")[0] in KINDS or name not in FOUNDING:
            drawing = draw(results, name)
            assert_publishable(drawing)
            assert to_svg(drawing).startswith("<?xml")


def test_drawing_leaves_the_settings_of_matplotlib_alone() -> None:
    before = dict(matplotlib.rcParams)
    to_svg(draw(make_results(seeds=2), "outcomes"))
    assert dict(matplotlib.rcParams) == before


def test_svg_is_the_same_at_every_call_has_real_text_and_no_date() -> None:
    results = make_results(seeds=3)
    first, second = (to_svg(draw(results, "figure2_weight_init_demo")) for _ in range(2))
    assert first == second
    assert ">epoch</text>" in first and ">accuracy (%)</text>" in first
    assert "<dc:date>" not in first and "Matplotlib v" not in first


def test_svg_coordinates_have_at_most_two_decimals_in_paths() -> None:
    svg = to_svg(draw(make_results(seeds=2), "figure1_weight_init_demo"))
    paths = [part.split('"')[0] for part in svg.split(' d="')[1:]]
    decimals = [len(number.split(".")[1]) for path in paths for number in path.split() if "." in number]
    assert max(decimals) == 2


def test_png_is_the_same_at_every_call_and_200_dots_an_inch() -> None:
    results = make_results(seeds=2, conditions=("default",))
    first, second = (to_png(draw(results, "figure1_weight_init_demo")) for _ in range(2))
    assert first == second
    width, height = (int.from_bytes(first[at : at + 4], "big") for at in (16, 20))
    assert (width, height) == (1941, 1200)


def test_columns_of_unequal_length_are_refused() -> None:
    figure = draw(make_results(seeds=1), "outcomes").figure
    with pytest.raises(ValueError) as refused:
        Drawing(name="x", figure=figure, title="t", caption="c", alt="a", columns={"one": [1], "two": [1, 2]})
    assert str(refused.value) == "the columns of x differ in length: {'one': 1, 'two': 2}"


@pytest.mark.parametrize("kind", ["ten conditions", "some failed", "constant"])
def test_nothing_drawn_leaves_the_page(kind: str) -> None:
    results = case(kind)
    for name in names(results):
        figure = draw(results, name).figure
        box = figure.get_tightbbox(FigureCanvasAgg(figure).get_renderer())
        outside = max(-box.x0, -box.y0, box.x1 - 6 * 1.618, box.y1 - 6.0)
        assert outside <= 0.01, (name, box)
