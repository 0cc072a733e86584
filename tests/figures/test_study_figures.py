"""Histograms and starting values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from initscope.figures.histogram import BINS, bin_centres, draw_histogram, histogram_shares
from initscope.figures.starting_values import draw_starting_values
from initscope.figures.values import described
from tests.figures.support import lines_of, seed_curves, texts_of
from tests.support.synthetic import make_results

PARAMETERS = ("hidden1.weight", "hidden2.weight", "hidden1.bias")


def constants(condition: str, seed: int, parameter: str, moment: str) -> np.ndarray:
    """Weights 0 or 1 by condition, biases random."""
    if parameter.endswith("bias"):
        return np.random.default_rng(seed).uniform(-0.1, 0.1, 32)
    return np.full((32, 32), 1.0 if "one" in condition else 0.0)


def test_the_bins_are_thirty_between_minus_and_plus_one_and_a_half() -> None:
    centres = bin_centres()
    assert len(centres) == BINS == 30
    assert (centres[0], centres[-1]) == (pytest.approx(-1.45), pytest.approx(1.45))
    assert np.diff(centres) == pytest.approx(np.full(29, 0.1))


def test_shares_are_percent_of_all_entries_and_leave_out_what_lies_outside() -> None:
    shares = histogram_shares(np.array([0.05, 0.05, -0.72, 9.0]))
    assert shares.sum() == pytest.approx(75.0)
    assert shares[np.argmax(shares)] == pytest.approx(50.0)
    assert bin_centres()[np.argmax(shares)] == pytest.approx(0.05)


def test_a_histogram_draws_every_seed_faint_and_a_mean_a_condition() -> None:
    axes = draw_histogram(make_results(seeds=5), "f", ("default", "all-one"), "hidden1.weight").figure.axes[0]
    assert seed_curves(axes) == 10
    assert [len(line.get_xdata()) for line in lines_of(axes, "_mean")] == [30, 30]  # type: ignore[arg-type]
    assert axes.get_xlim() == (-1.5, 1.5)
    assert axes.get_ylabel() == "share of its 2,048 entries (%)"
    assert "default, n = 5" in texts_of(axes.figure)  # type: ignore[arg-type]


@pytest.mark.parametrize("outside", [0.0, 0.01, 0.02, 1.0])
def test_a_condition_with_more_than_one_percent_beyond_the_axis_says_so(outside: float) -> None:
    told = outside > 0.01
    values = np.full(1000, 0.05)
    values[: round(outside * 1000)] = 2.0
    wide = replace(
        make_results(seeds=2), weights=lambda condition, *_: values if condition == "all-one" else np.full(1000, 0.05)
    )
    drawing = draw_histogram(wide, "f", ("default", "all-one"), "hidden1.weight")
    legend = drawing.figure.axes[0].get_legend()
    assert legend is not None
    entries = [text.get_text() for text in legend.get_texts()]
    words = f"{100 * outside:.1f} % beyond ±1.5"
    assert [entry.endswith(f"\n{words}") for entry in entries] == [False, told]
    assert (words in drawing.alt) is told
    assert drawing.figure.axes[0].get_xlim() == (-1.5, 1.5)
    assert ("-1.45" in drawing.alt) is False  # no bin is the highest where all are empty


def test_a_parameter_that_never_left_zero_is_named_so() -> None:
    results = replace(make_results(seeds=2), weights=constants)
    drawing = draw_histogram(results, "f", ("all-zero", "all-one"), "hidden1.weight")
    assert "every entry is exactly 0" in texts_of(drawing.figure)
    assert drawing.title == (
        "After training, hidden1.weight is still exactly zero everywhere in all-zero "
        "and has a standard deviation of 0 in all-one"
    )


def test_values_that_were_not_kept_give_a_figure_that_says_so() -> None:
    results = replace(make_results(seeds=2), weights=lambda *_: None)
    drawn = (
        draw_histogram(results, "f", ("default",), "hidden1.weight"),
        draw_starting_values(results, "f", ("default",), PARAMETERS, (0.0, 1.0, 2.0)),
    )
    for drawing in drawn:
        assert "not kept" in drawing.title
        assert "not kept" in texts_of(drawing.figure)


def test_starting_values_are_crosses_at_value_plus_shift() -> None:
    results = make_results(seeds=2)
    axes = draw_starting_values(results, "f", ("biases-zero",), PARAMETERS, (1.0, 2.0, 0.0)).figure.axes[0]
    for parameter, shift in zip(PARAMETERS, (1.0, 2.0, 0.0), strict=True):
        (line,) = lines_of(axes, f"_{parameter}")
        values = results.weights("biases-zero", 0, parameter, "initial")
        assert values is not None
        assert np.asarray(line.get_ydata()) == pytest.approx(values.ravel().astype(float) + shift)
        assert line.get_marker() in ("x", "+") and line.get_linestyle() == "None"


def test_shifts_of_whole_units_give_the_limits_of_the_original() -> None:
    for shifts in ((0.0, 1.0, 2.0), (1.0, 2.0, 0.0)):
        axes = draw_starting_values(make_results(seeds=1), "f", ("all-zero",), PARAMETERS, shifts).figure.axes[0]
        assert axes.get_ylim() == (-1.0, 3.0)


def test_small_shifts_give_limits_that_hold_every_value() -> None:
    results = replace(make_results(seeds=1), weights=constants)
    keys = ("weights-zero-biases-default", "weights-one-biases-default")
    drawing = draw_starting_values(results, "f", keys, PARAMETERS, (0.1, -0.1, 0.0))
    assert len(drawing.figure.axes) == 2
    for axes in drawing.figure.axes:
        low, high = axes.get_ylim()
        drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines])
        assert low < drawn.min() and drawn.max() < high
    assert drawing.title == (
        "weights-zero-biases-default starts with hidden1.weight and hidden2.weight at 0, "
        "weights-one-biases-default with them at 1; what is not named is random"
    )


def test_values_are_described_as_constant_random_or_lopsided() -> None:
    assert described(np.array([-0.0, -0.0])) == "at 0"
    assert described(np.array([-0.12, 0.125])) == "random within ±0.125"
    assert described(np.array([0.5, 3.0])) == "spread from 0.5 to 3"
    assert described(np.array([np.nan])) == "not finite"
