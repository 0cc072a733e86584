"""Outcomes, gradient map, effective width and layer deaths."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from initscope.figures.gradient_map import compact, draw_gradient_map, gradient_cells
from initscope.figures.lottery import chosen, draw_layer_deaths, lives_of, seed_lives
from initscope.figures.outcomes import draw_outcomes, jitter
from initscope.figures.width import draw_width, middle_seed
from initscope.records.results import Results
from initscope.records.run import RunRecord
from tests.figures.support import diverged, lines_of, texts_of, with_runs
from tests.support.synthetic import LAYERS, UNITS, make_probes, make_results

LOTTERY = "weights-zero-biases-default"


def test_outcomes_draw_a_point_a_seed_and_chance_and_guessing_lines() -> None:
    results = make_results(seeds=9)
    axes = draw_outcomes(results).figure.axes[0]
    for key in results.conditions:
        (points,) = lines_of(axes, f"_{key}")
        ends = [run.final_test_accuracy_percent for run in results.of(key)]
        assert np.asarray(points.get_xdata()) == pytest.approx(ends)
    places = [float(np.asarray(line.get_xdata())[0]) for line in lines_of(axes, "_chance")]
    assert sorted(places) == pytest.approx([10.0, 11.7])
    assert axes.get_xlim() == (0.0, 100.0)
    assert axes.get_xlabel() == "test accuracy after the last epoch (%)"


def test_outcomes_write_shares_with_wilson_intervals() -> None:
    text = texts_of(draw_outcomes(make_results(seeds=10)).figure)
    assert "4 of 10 [17, 69] %" in text
    assert "10 of 10 [72, 100] %" in text
    assert all(head in text for head in ("learned", "partly", "at chance"))


def test_outcomes_say_what_at_chance_means_on_the_page_and_once_in_the_caption() -> None:
    drawing = draw_outcomes(make_results(seeds=10))
    meaning = "at chance: within four binomial standard errors of some class's share"
    assert meaning in texts_of(drawing.figure)
    assert drawing.caption.lower().count(meaning) == 1


def test_outcomes_draw_no_median_in_the_gap() -> None:
    axes = draw_outcomes(make_results(seeds=10, conditions=("default", LOTTERY))).figure.axes[0]
    medians = [float(np.asarray(line.get_xdata())[0]) for line in lines_of(axes, "_median")]
    assert len(medians) == 3
    assert not any(20 < median < 80 for median in medians)


def test_diverged_runs_are_named_beside_the_shares() -> None:
    results = with_runs(make_results(seeds=3), lambda run: diverged(run) if run.seed == 0 else run)
    assert "1 diverged" in texts_of(draw_outcomes(results).figure)


def test_jitter_stays_within_half_a_row_and_never_repeats() -> None:
    offsets = jitter(64)
    assert np.abs(offsets).max() <= 0.5
    assert len(set(offsets.round(6))) == 64
    assert (jitter(64) == offsets).all()


def test_above_four_hundred_runs_outcomes_keep_one_row_a_condition() -> None:
    columns = draw_outcomes(make_results(seeds=64)).columns
    assert len(columns["condition"]) == 8
    assert columns["n"] == [64] * 8


def test_the_gradient_map_marks_exact_zeros_and_names_them_in_the_key() -> None:
    results = make_results(seeds=3)
    figure = draw_gradient_map(results).figure
    zero = [patch for patch in figure.axes[0].patches if patch.get_label() == "_zero"]
    norm = [patch for patch in figure.axes[0].patches if patch.get_label() == "_norm"]
    assert (len(zero), len(norm)) == (7, 57)
    assert all(patch.get_hatch() for patch in zero) and not any(patch.get_hatch() for patch in norm)
    assert "exactly zero" in texts_of(figure)


def test_the_gradient_map_takes_the_median_over_seeds_and_counts_exact_zeros() -> None:
    results = make_results(seeds=3, conditions=("default",))

    def change(run: RunRecord) -> RunRecord:
        assert run.probes is not None
        norms, zeros = run.probes.gradient_norm.copy(), run.probes.gradient_zero.copy()
        norms[0, 0] = (0.0, 2.0, 5.0)[run.seed]
        zeros[0, 0] = float(run.seed == 0)
        return replace(run, probes=replace(run.probes, gradient_norm=norms, gradient_zero=zeros))

    cell = gradient_cells(with_runs(results, change))[0][0]
    assert (cell.norm, cell.n, cell.zero_runs, cell.zero) == (2.0, 3, 1, False)
    assert "0 in 1 of 3" in texts_of(draw_gradient_map(with_runs(results, change)).figure)


def test_the_title_of_the_gradient_map_names_what_alone_gets_a_gradient() -> None:
    assert draw_gradient_map(make_results(seeds=2)).title == (
        "At the start only output.bias receives a gradient in all-zero; 7 of 8 conditions reach every parameter"
    )
    assert draw_gradient_map(make_results(seeds=2, conditions=("default", "all-one"))).title == (
        "Every parameter receives a gradient at the start in all 2 conditions; norms run from 0.10 to 0.10"
    )


def test_norms_are_written_short() -> None:
    values = (0.31, 1310.0, 2.12e-05, 68_000.0, 9.96)
    assert [compact(value) for value in values] == ["0.31", "1300", "2.1e-5", "6.8e4", "10"]


def test_effective_width_has_a_panel_a_condition_and_one_for_each_group_of_a_split_one() -> None:
    figure = draw_width(make_results(seeds=10)).figure
    assert len(figure.axes) == 9
    assert all(len(lines_of(axes, "_middle")) == 2 * len(LAYERS) for axes in figure.axes)
    assert "4 of 10 learned" in texts_of(figure) and "6 of 10 at chance" in texts_of(figure)


def widths(distinct: float, *, dead: tuple[int, ...] = (), conditions: tuple[str, ...] = ("default", "all-one")) -> str:
    """The title where hidden1 ends with a share of distinct units, and is dead in the seeds named."""

    def change(run: RunRecord) -> RunRecord:
        assert run.probes is not None
        units, zeros = run.probes.distinct_units.copy(), run.probes.dead_units.copy()
        units[-1, 1] = distinct * UNITS[1]
        zeros[-1, 1] = UNITS[1] * (run.seed in dead)
        return replace(run, probes=replace(run.probes, distinct_units=units, dead_units=zeros))

    return draw_width(with_runs(make_results(seeds=3, conditions=conditions), change)).title


def test_the_title_of_effective_width_is_plain_where_nothing_is_dead_or_copied() -> None:
    assert widths(1.0) == "In every condition all units stay distinct and no whole layer dies"
    assert widths(31 / 32) == (
        "In every condition most units stay distinct (at least 96 % of each layer) and no whole layer dies"
    )
    assert widths(0.25, conditions=("default",)) == (
        "In default at least 25 % of a layer's units differ and no whole layer dies"
    )


def test_the_title_of_effective_width_counts_deaths_in_some_seeds_and_claims_nothing_unmeasured() -> None:
    assert widths(1.0, dead=(2,)) == "In every condition all units stay distinct; a whole layer dies in 2 of 6 runs"
    assert widths(np.nan) == "Not every layer's units were compared and no whole layer dies"


def test_the_middle_seed_is_always_a_value_some_seed_has() -> None:
    values = np.array([[0.0, np.nan], [100.0, np.nan], [100.0, 3.0], [0.0, np.nan]])
    assert middle_seed(values).tolist() == [0.0, 3.0]
    assert np.isnan(middle_seed(np.full((2, 1), np.nan))).all()


def test_a_layers_life_runs_from_its_first_gradient_to_the_probe_from_which_it_stays_dead() -> None:
    probes = make_probes(90.0, 2, zero=False)
    dead, zeros = probes.dead_units.copy(), probes.gradient_zero.copy()
    dead[2, 1] = UNITS[1]  # dead once and alive again: not a death
    dead[probes.steps >= 16, 1] = UNITS[1]
    zeros[:3, 2:4] = 1.0
    lives = lives_of(replace(probes, dead_units=dead, gradient_zero=zeros))
    found = [(life.layer, life.wakes, life.dies) for life in lives]
    assert found == [("input", 0, None), ("hidden1", 3, 16), ("hidden2", 0, None)]


def test_a_layer_that_never_gets_a_gradient_never_wakes() -> None:
    probes = make_probes(11.7, 2, zero=True)
    assert [life.wakes for life in lives_of(probes)] == [None, None, None]


def test_unmeasured_units_are_no_death() -> None:
    probes = make_probes(11.7, 2, zero=False)
    lives = lives_of(replace(probes, dead_units=np.full_like(probes.dead_units, np.nan)))
    assert all(life.dies is None for life in lives)


def test_layer_deaths_choose_the_condition_that_splits_most_evenly() -> None:
    end = chosen(make_results(seeds=10))
    assert end is not None
    assert (end.condition, end.learned, end.at_chance) == (LOTTERY, 4, 6)


def test_the_title_of_layer_deaths_counts_learners_and_deaths() -> None:
    assert draw_layer_deaths(make_results(seeds=10)).title == (
        "4 of 10 seeds learned; in the other 6 a whole layer was dead by step 32"
    )


def test_without_a_split_the_title_says_so_for_the_nearest_candidate() -> None:
    title = draw_layer_deaths(make_results(seeds=3, conditions=("default", "all-zero"))).title
    assert title == "No condition split: in all-zero 0 of 3 seeds learned; in all 3 a whole layer was dead by step 32"


def test_seeds_are_sorted_learners_first_then_by_accuracy() -> None:
    seeds = seed_lives(make_results(seeds=10), LOTTERY)
    assert [seed.outcome for seed in seeds] == ["learned"] * 4 + ["at chance"] * 6
    accuracies = [seed.accuracy_percent for seed in seeds]
    assert accuracies == sorted(accuracies, reverse=True)


@pytest.mark.parametrize("draw", [draw_gradient_map, draw_width, draw_layer_deaths])
def test_without_probes_a_figure_says_that_nothing_was_measured(draw: object) -> None:
    results: Results = with_runs(make_results(seeds=2), lambda run: replace(run, probes=None))
    drawing = draw(results)  # type: ignore[operator]
    assert "not measured" in drawing.title
    assert drawing.columns["note"]
