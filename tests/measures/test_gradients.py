"""Norms, exact zeros and what has moved, run by run."""

from __future__ import annotations

import pytest
import torch

from initscope.measures.gradients import exactly_zero, gradient_norms, unmoved_share


def test_norms_are_euclidean_and_do_not_overflow_in_float32() -> None:
    gradient = torch.tensor([[[3.0, 4.0]], [[3e30, 4e30]], [[3e-30, 4e-30]]])
    torch.testing.assert_close(gradient_norms(gradient), torch.tensor([5.0, 5e30, 5e-30], dtype=torch.float64))


@pytest.mark.parametrize(
    ("values", "zero"),
    [([0.0, -0.0], 1.0), ([0.0, 1e-45], 0.0), ([0.0, float("nan")], 0.0), ([0.0, float("inf")], 0.0)],
)
def test_only_zeros_are_exactly_zero(values: list[float], zero: float) -> None:
    assert exactly_zero(torch.tensor([values])).tolist() == [zero]


def test_unmoved_share_is_the_share_of_equal_entries_and_a_nan_has_moved() -> None:
    start = torch.tensor([[0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0]])
    now = torch.tensor([[-0.0, 1.0, 2.5, 3.0], [float("nan"), 9.0, 9.0, 9.0]])
    assert unmoved_share(now, start).tolist() == [0.75, 0.0]


def test_a_parameter_without_entries_has_not_moved() -> None:
    assert unmoved_share(torch.empty(2, 0), torch.empty(2, 0)).tolist() == [1.0, 1.0]
