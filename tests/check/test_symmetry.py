"""Equal slices of parameters are found, unequal ones are not."""

from __future__ import annotations

import torch
from torch import nn

from initscope.checker.instruments.symmetry import fingerprint, groups, unit_groups


def _draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


def test_equal_slices_share_a_number_along_either_axis() -> None:
    weight = _draw(50, 40, 3)
    weight[7], weight[:, 5] = weight[3], weight[:, 9]
    weight[7] = weight[3]
    rows, columns = groups(weight, 0), groups(weight, 1)
    assert rows[7] == rows[3] and len(set(rows)) == 49
    assert columns[5] == columns[9] and len(set(columns)) == 39


def test_ten_thousand_random_slices_all_differ() -> None:
    assert len(set(groups(_draw(10_000, 64), 0))) == 10_000


def test_slices_that_agree_in_most_entries_differ() -> None:
    weight = torch.ones(6, 1000)
    weight[2, 817] = 1.01
    numbers = groups(weight, 0)
    assert len(set(numbers)) == 2 and list(numbers).count(numbers[2]) == 1


def test_rounding_does_not_part_equal_slices() -> None:
    weight = _draw(1, 300).repeat(8, 1)
    assert len(set(groups(weight * (1 + 1e-8 * _draw(8, 1)), 0))) == 1


def test_nan_makes_every_slice_its_own_group() -> None:
    assert len(set(groups(torch.full((4, 3), float("nan")), 0))) == 4


def test_constant_layers_show_one_group_and_random_ones_as_many_as_units() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    nn.init.constant_(model[0].weight, 0.3)
    nn.init.zeros_(model[0].bias)
    nn.init.constant_(model[2].weight, 0.2)
    model(_draw(16, 6)).square().mean().backward()
    found = unit_groups(model)
    assert len(set(found["0.weight"][0].both)) == 1 and len(set(found["0.weight"][1].values)) == 1


def test_a_fingerprint_is_of_the_bits() -> None:
    weight = _draw(30, 20)
    assert fingerprint(weight) == fingerprint(weight.clone()) == fingerprint(weight.T.contiguous().T)
    changed = weight.clone()
    changed[3, 4] = torch.nextafter(changed[3, 4], torch.tensor(9.0))
    assert fingerprint(weight) != fingerprint(changed)
    assert fingerprint(weight) != fingerprint(weight.reshape(20, 30))
