"""The moving average is the spec's formula."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initscope.figures.smoothing import moving_average


def written(values: list[float], k: int) -> list[float]:
    """The formula as it is written: at i the mean of max(0, i - k//2) .. min(n, i + k//2 + 1)."""
    n = len(values)
    windows = [values[max(0, i - k // 2) : min(n, i + k // 2 + 1)] for i in range(n)]
    return [sum(window) / len(window) for window in windows]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30), st.integers(0, 9))
def test_it_agrees_with_the_written_formula(values: list[float], k: int) -> None:
    assert moving_average(np.array(values), k) == pytest.approx(written(values, k))


def test_the_default_window_is_the_entry_and_its_neighbours_and_shrinks_at_the_edges() -> None:
    assert moving_average(np.array([0.0, 3.0, 6.0, 0.0])).tolist() == [1.5, 3.0, 3.0, 3.0]


def test_a_constant_series_is_left_as_it_is() -> None:
    assert moving_average(np.full(5, 11.7)) == pytest.approx(np.full(5, 11.7))


def test_runs_are_averaged_along_epochs_and_never_across_runs() -> None:
    table = np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
    assert moving_average(table)[1].tolist() == moving_average(table[1]).tolist()


def test_what_was_not_measured_spoils_only_its_neighbours() -> None:
    smoothed = moving_average(np.array([1.0, np.nan, 3.0, 4.0, 5.0]))
    assert np.isnan(smoothed).tolist() == [True, True, True, False, False]


def test_a_negative_window_is_refused() -> None:
    with pytest.raises(ValueError) as refused:
        moving_average(np.zeros(3), -1)
    assert str(refused.value) == "k must be at least 0, got -1"
