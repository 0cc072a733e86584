"""Accuracy curves, read off the artists."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes

from initscope.figures.accuracies import draw_accuracies
from initscope.figures.curves import DOTTED, SOLID
from initscope.figures.smoothing import moving_average
from initscope.figures.style import looks
from tests.figures.support import diverged, heights, lines_of, seed_curves, texts_of, with_runs
from tests.support.synthetic import make_results

LOTTERY = "weights-zero-biases-default"


def axes_of(conditions: tuple[str, ...], **options: int) -> Axes:
    return draw_accuracies(make_results(**options), "figure", conditions).figure.axes[0]  # type: ignore[arg-type]


def test_every_seed_is_drawn_faint_in_training_and_in_test() -> None:
    assert seed_curves(axes_of(("default", "all-zero"), seeds=7)) == 2 * 2 * 7


def test_the_mean_is_solid_for_training_and_dotted_for_test_in_the_conditions_colour() -> None:
    results = make_results(seeds=4)
    axes = draw_accuracies(results, "figure", ("default", "all-zero")).figure.axes[0]
    means = lines_of(axes, "_mean")
    styles = looks(results.study)
    wanted = [styles[key].colour for key in ("default", "default", "all-zero", "all-zero")]
    assert [line.get_color() for line in means] == wanted
    patterns = [line._unscaled_dash_pattern[1] for line in means]  # type: ignore[attr-defined]
    assert [bool(pattern) for pattern in patterns] == [bool(SOLID[1]), bool(DOTTED[1])] * 2


def test_the_bold_line_is_the_mean_over_seeds_of_the_smoothed_curves() -> None:
    results = make_results(seeds=5)
    axes = draw_accuracies(results, "figure", ("default",)).figure.axes[0]
    table = np.stack([run.history.test_accuracy_percent for run in results.of("default")])
    drawn = np.asarray(lines_of(axes, "_mean")[1].get_ydata(), float)
    assert drawn == pytest.approx(moving_average(table).mean(axis=0))


def test_axes_are_named_with_units_run_from_0_to_100_and_tick_whole_epochs() -> None:
    axes = axes_of(("default",), seeds=2)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "accuracy (%)")
    assert axes.get_ylim() == (0.0, 100.0)
    assert list(axes.get_xticks()) == list(range(1, 11))
    assert not axes.spines["top"].get_visible() and not axes.spines["right"].get_visible()


def test_chance_is_a_labelled_line_at_the_mean_largest_class_share() -> None:
    figure = draw_accuracies(make_results(seeds=2), "figure", ("default",)).figure
    (line,) = lines_of(figure.axes[0], "_chance")
    assert np.asarray(line.get_ydata()) == pytest.approx([11.7, 11.7])
    assert "largest class share 11.7 %" in texts_of(figure)


def test_every_condition_is_labelled_with_its_n() -> None:
    text = texts_of(draw_accuracies(make_results(seeds=6), "figure", ("default", "biases-zero")).figure)
    assert "default n = 6:" in text
    assert "biases-zero n = 6:" in text


def test_no_mean_is_drawn_through_the_gap_between_learners_and_runs_at_chance() -> None:
    axes = axes_of((LOTTERY,), seeds=10)
    means = lines_of(axes, "_mean")
    assert len(means) == 4
    last = np.array([float(np.asarray(line.get_ydata())[-1]) for line in means])
    assert not np.any((last > 20) & (last < 80))
    assert {bool(end > 50) for end in last} == {True, False}


def test_groups_carry_their_share() -> None:
    text = texts_of(draw_accuracies(make_results(seeds=10), "figure", ("default", LOTTERY)).figure)
    assert "4 of 10 learned" in text
    assert "6 of 10 at chance" in text


def test_the_title_is_computed_from_the_runs() -> None:
    results = make_results(seeds=10)
    shown = (("default", "all-zero"), (LOTTERY,), ("default", LOTTERY, "all-zero"))
    assert [draw_accuracies(results, "f", keys).title for keys in shown] == [
        "all-zero stayed at chance in all 10 seeds (median 11.7 %); default reached 94.6 %",
        "weights-zero-biases-default learned in 4 of 10 seeds and stayed at chance in 6",
        "default learned in every seed, weights-zero-biases-default in 4 of 10 seeds, all-zero in none",
    ]


def test_a_diverged_run_enters_no_mean_and_is_counted_in_the_label() -> None:
    results = make_results(seeds=3, conditions=("default", "all-one"))
    changed = with_runs(results, lambda run: diverged(run) if run.seed == 1 else run)
    drawing = draw_accuracies(changed, "figure", ("default", "all-one"))
    assert "n = 2, 1 diverged" in texts_of(drawing.figure)
    kept = [run.history.test_accuracy_percent for run in results.of("default") if run.seed != 1]
    drawn = np.asarray(lines_of(drawing.figure.axes[0], "_mean")[1].get_ydata(), float)
    assert drawn == pytest.approx(moving_average(np.stack(kept)).mean(axis=0))


def test_below_three_seeds_there_is_no_band() -> None:
    found = [axes_of(("default",), seeds=n).collections for n in (1, 2, 3)]
    assert [sum(artist.get_label() == "_band" for artist in artists) for artists in found] == [0, 0, 2]


def test_the_columns_hold_unsmoothed_means_by_epoch_and_every_seeds_end() -> None:
    results = make_results(seeds=3)
    columns = draw_accuracies(results, "figure", ("default",)).columns
    means = [row for row, seed in enumerate(columns["seed"]) if seed == "mean"]
    table = np.stack([run.history.test_accuracy_percent for run in results.of("default")])
    assert [columns["test_accuracy_percent"][row] for row in means] == pytest.approx(table.mean(axis=0).tolist())
    ends = [columns["test_accuracy_percent"][row] for row, seed in enumerate(columns["seed"]) if seed != "mean"]
    assert ends == [run.final_test_accuracy_percent for run in results.of("default")]


def test_the_bold_curves_of_a_figure_lie_within_the_axis() -> None:
    values = heights(lines_of(axes_of(("default", "all-one"), seeds=8), "_mean"))
    assert values.min() >= 0 and values.max() <= 100


@pytest.mark.parametrize("epochs", [2, 3])
def test_below_four_epochs_curves_are_drawn_as_measured_and_the_words_say_so(epochs: int) -> None:
    results = make_results(seeds=3, epochs=epochs)
    drawing = draw_accuracies(results, "figure", ("default",))
    table = np.stack([run.history.test_accuracy_percent for run in results.of("default")])
    drawn = np.asarray(lines_of(drawing.figure.axes[0], "_mean")[1].get_ydata(), float)
    assert drawn == pytest.approx(table.mean(axis=0))
    for words in (drawing.caption, texts_of(drawing.figure)):
        assert "curves are not smoothed" in words and "averaged" not in words


@pytest.mark.parametrize("epochs", [4, 10])
def test_from_four_epochs_on_curves_are_smoothed_and_the_words_say_so(epochs: int) -> None:
    results = make_results(seeds=3, epochs=epochs)
    drawing = draw_accuracies(results, "figure", ("default",))
    table = np.stack([run.history.test_accuracy_percent for run in results.of("default")])
    drawn = np.asarray(lines_of(drawing.figure.axes[0], "_mean")[1].get_ydata(), float)
    assert drawn == pytest.approx(moving_average(table).mean(axis=0))
    for words in (drawing.caption, texts_of(drawing.figure)):
        assert "each curve is averaged with its neighbouring epochs" in words and "are not smoothed;" not in words
