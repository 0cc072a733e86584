"""input-scale: raw bytes, prices, kelvin and moles."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initscope.checker.rules.input_scale import InputScale
from tests.check.rules.judging import findings

DRAWN = torch.Generator().manual_seed(0)
ROWS = torch.randn(32, 3, generator=DRAWN)
LABELS = torch.arange(32) % 3
BYTES = torch.randint(0, 256, (16, 3, 12, 12), generator=DRAWN, dtype=torch.uint8)


class Pictures(nn.Module):
    """A convolution over what `divide` leaves of bytes; `norm` behind it."""

    def __init__(self, divide: float = 1.0, *, norm: bool = False) -> None:
        super().__init__()
        self.divide = divide
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8) if norm else nn.Identity()
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.conv(x.float() / self.divide))
        return self.out(torch.relu(h).mean((2, 3)))


def _rows() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 3))


def test_bytes_without_a_normalisation_are_warned_of() -> None:
    (found,) = findings(InputScale, Pictures, BYTES, LABELS[:16], functional.cross_entropy)
    assert (found.severity, found.where) == ("warn", ("conv",))


def test_the_normaliser_has_the_numbers_of_the_batch_and_ends_the_finding() -> None:
    inputs = ROWS * torch.tensor([8.0, 0.5, 900.0]) + torch.tensor([290.0, 0.0, 4000.0])
    (found,) = findings(InputScale, _rows, inputs, LABELS, functional.cross_entropy)
    assert found.evidence["worst_feature"] == 2
    names = {"x": inputs, "torch": torch}
    exec(found.fix, names)
    assert torch.allclose(names["x"].std(0, correction=0), torch.ones(3), atol=1e-2)
    assert not findings(InputScale, _rows, names["x"], LABELS, functional.cross_entropy)


def test_the_message_names_the_worst_feature() -> None:
    inputs = torch.tensor([[100.0, 0.0, 1.0], [300.0, 1.0, 0.0]]).repeat(16, 1)
    (found,) = findings(InputScale, _rows, inputs, LABELS, functional.cross_entropy)
    assert found.message.startswith(
        "input 0 has a root mean square of 129 where 0 reads it (feature 0: mean 200, std 100): it puts "
    )
    assert found.fix == "x = (x - torch.tensor([200, 0.5, 0.5])) / torch.tensor([100, 0.5, 0.5])"


def test_values_in_the_millionths_are_lost_beside_biases() -> None:
    (found,) = findings(InputScale, _rows, 1e-6 * ROWS, LABELS, functional.cross_entropy)
    assert found.message.endswith("what it adds to 0 is lost beside the biases: all samples look alike")


def test_one_of_two_inputs_that_are_joined_is_named() -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 3))

        def forward(self, near: Tensor, income: Tensor) -> Tensor:
            return self.net(torch.cat([near, income], dim=1))

    inputs = {"near": ROWS, "income": 30000 + 5000 * ROWS[:, :2]}
    (found,) = findings(InputScale, Joined, inputs, LABELS, functional.cross_entropy)
    assert found.evidence["input"] == "income"


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (lambda: Pictures(255.0), BYTES),
        (lambda: Pictures(norm=True), BYTES),
        (_rows, ROWS),
        (lambda: nn.Sequential(nn.LayerNorm(3), _rows()), 500 * ROWS),
        (lambda: nn.Sequential(nn.Linear(3000, 8), nn.ReLU(), nn.Linear(8, 3)), torch.eye(3000)[:32]),
        (lambda: nn.Sequential(nn.Embedding(5000, 8), nn.Flatten(), nn.Linear(32, 3)), torch.randint(0, 5000, (32, 4))),
    ],
)
def test_inputs_near_one_normalised_ones_one_hot_and_ids_are_silent(model: type[nn.Module], inputs: Tensor) -> None:
    assert not findings(InputScale, model, inputs, LABELS[: len(inputs)], functional.cross_entropy)
