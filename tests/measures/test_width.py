"""Distinct and similar units against naive counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from initscope.measures.width import distinct_units, similar_groups

FEW_VALUES = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-45, 0.1, float(np.nextafter(np.float32(0.1), 1))])


def naive_groups(rows: np.ndarray, tolerance: float) -> int:
    """Rows that no earlier row lies close to, one by one."""
    scale = max(np.linalg.norm(rows, axis=1).max(), np.finfo(float).tiny)
    founders = 0
    for index, row in enumerate(rows):
        founders += not any(np.linalg.norm(row - other) / scale <= tolerance for other in rows[:index])
    return founders


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, array_shapes(min_dims=3, max_dims=3, max_side=6), elements=FEW_VALUES))
def test_distinct_units_are_numpys_unique_rows_with_both_zeros_equal(rows: np.ndarray) -> None:
    expected = [len(np.unique(run + 0.0, axis=0)) for run in rows]
    assert distinct_units(torch.from_numpy(rows)).tolist() == expected


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float64, array_shapes(min_dims=3, max_dims=3, max_side=6), elements=st.integers(-3, 3).map(float)),
    st.sampled_from([0.05, 0.21, 0.4]),
)
def test_similar_groups_are_counted_as_one_by_one(rows: np.ndarray, tolerance: float) -> None:
    expected = [naive_groups(run, tolerance) for run in rows]
    assert similar_groups(torch.from_numpy(rows), tolerance=tolerance).tolist() == expected


def test_rows_that_differ_in_one_bit_are_distinct_and_similar() -> None:
    rows = torch.ones(1, 4, 50)
    rows[0, 2, 17] = float(np.nextafter(np.float32(1), np.float32(2)))
    assert distinct_units(rows).tolist() == [2.0]
    assert similar_groups(rows, tolerance=1e-3).tolist() == [1.0]


def test_permuted_rows_are_distinct() -> None:
    row = torch.arange(1.0, 9.0)
    assert distinct_units(torch.stack([row, row.flip(0), row])[None]).tolist() == [2.0]


def test_many_random_rows_are_all_distinct() -> None:
    rows = torch.randn(1, 20_000, 3, generator=torch.Generator().manual_seed(0))
    assert distinct_units(rows).tolist() == [20_000.0]


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_the_number_of_similar_groups_does_not_depend_on_scale(scale: float) -> None:
    rows = torch.randn(2, 12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows[:, 6:] = rows[:, :6] * (1 + 1e-5)
    assert similar_groups(rows * scale, tolerance=1e-3).tolist() == [6.0, 6.0]


def test_a_layer_of_zeros_is_one_group_and_one_distinct_unit() -> None:
    rows = torch.zeros(1, 7, 3)
    assert similar_groups(rows, tolerance=1e-3).tolist() == distinct_units(rows).tolist() == [1.0]
