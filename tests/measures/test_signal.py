"""Signal and dead units against numpy, whole and in chunks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from initscope.measures.signal import SignalSums, alive_units, units_last


def sums_of(output: torch.Tensor, *, chunk: int) -> SignalSums:
    """The sums over a layer's outputs, taken in by chunks of samples."""
    sums = SignalSums()
    for start in range(0, output.shape[1], chunk):
        sums.add(output[:, start : start + chunk])
    return sums


@pytest.mark.parametrize("chunk", [1, 3, 50])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_rms_and_input_share_are_numpys_whatever_the_chunks(chunk: int, offset: float) -> None:
    output = offset + torch.randn(3, 50, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sums, values = sums_of(output, chunk=chunk), output.numpy()
    rms = np.sqrt((values**2).mean(axis=(1, 2)))
    np.testing.assert_allclose(sums.rms(), rms, rtol=1e-12)
    np.testing.assert_allclose(sums.input_share(), np.sqrt(values.var(axis=1).mean(axis=1)) / rms, rtol=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, -3e30])
def test_a_layer_that_says_the_same_of_every_input_has_an_input_share_of_exactly_zero(value: float) -> None:
    output = (value * torch.linspace(0.5, 1.5, 5, dtype=torch.float64)).expand(2, 33, 5)
    assert sums_of(output, chunk=10).input_share().tolist() == [0.0, 0.0]


def test_outputs_that_are_not_finite_give_no_number() -> None:
    output = torch.ones(2, 4, 3)
    output[1, 2, 0] = torch.nan
    sums = sums_of(output, chunk=2)
    assert sums.rms().isnan().tolist() == [False, True]
    assert sums.input_share().isnan().tolist() == [False, True]


def test_a_unit_is_alive_if_one_sample_makes_it_differ_from_zero() -> None:
    activation = torch.zeros(1, 5, 3)
    activation[0, 4, 1] = -1e-30
    activation[0, :, 2] = -0.0
    assert alive_units(activation).tolist() == [[False, True, False]]


@pytest.mark.parametrize(
    ("shape", "axis", "units"), [((2, 5, 3), -1, 3), ((2, 5, 4, 3), -1, 3), ((2, 5, 3, 4, 6), 1, 3)]
)
def test_units_are_brought_to_the_last_axis_with_samples_and_positions_before(
    shape: tuple[int, ...], axis: int, units: int
) -> None:
    output = torch.arange(float(np.prod(shape))).reshape(shape)
    moved = units_last(output, axis)
    assert moved.shape == (2, np.prod(shape) // 2 // units, units)
    one = output[:, :, 1] if axis == 1 else output[..., 1]
    assert torch.equal(moved[..., 1].flatten().sort().values, one.flatten().sort().values)
