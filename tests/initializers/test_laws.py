"""The laws themselves: torch's own numbers under one generator where the law is torch's, moments everywhere.

Moments are held to 5.2 standard errors: a right draw fails with probability 2e-7 at most (a normal's two tails).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from initscope.base.calls import parse_call
from initscope.initializers.initializer import build_initializer
from initscope.modules.slots import ParameterSlot, parameter_slots

ALMOST_SURE = 5.2
LINEAR, CONV = nn.Linear(70, 50), nn.Conv2d(6, 10, 3)
Fill = Callable[[Tensor, torch.Generator], object]


def generator(seed: int = 0) -> torch.Generator:
    """A generator of its own."""
    return torch.Generator().manual_seed(seed)


def weight_of(layer: nn.Module) -> ParameterSlot:
    """The slot of a layer's weight."""
    return next(slot for slot in parameter_slots(layer) if slot.path == "weight")


def drawn(call: str, slot: ParameterSlot, seed: int = 0) -> Tensor:
    """A draw of the method that a call text names."""
    return build_initializer(parse_call(call)).draw(slot, generator(seed))


init = nn.init
SAME: dict[str, Fill] = {
    "zeros": lambda w, g: init.zeros_(w),
    "ones": lambda w, g: init.ones_(w),
    "constant(0.3)": lambda w, g: init.constant_(w, 0.3),
    "normal(0.1, 2.0)": lambda w, g: init.normal_(w, 0.1, 2.0, generator=g),
    "uniform(-0.1, 0.3)": lambda w, g: init.uniform_(w, -0.1, 0.3, generator=g),
    "he_normal": lambda w, g: init.kaiming_normal_(w, nonlinearity="relu", generator=g),
    "he_normal(mode='fan_out')": lambda w, g: init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu", generator=g),
    "he_uniform": lambda w, g: init.kaiming_uniform_(w, nonlinearity="relu", generator=g),
    "lecun_normal": lambda w, g: init.kaiming_normal_(w, nonlinearity="linear", generator=g),
    "lecun_uniform": lambda w, g: init.kaiming_uniform_(w, nonlinearity="linear", generator=g),
    "glorot_normal": lambda w, g: init.xavier_normal_(w, generator=g),
    "glorot_uniform": lambda w, g: init.xavier_uniform_(w, generator=g),
    "glorot_uniform(gain=2.0)": lambda w, g: init.xavier_uniform_(w, gain=2.0, generator=g),
    "orthogonal": lambda w, g: init.orthogonal_(w, generator=g),
    "orthogonal(gain=1.5)": lambda w, g: init.orthogonal_(w, gain=1.5, generator=g),
    "torch_default": lambda w, g: init.kaiming_uniform_(w, a=math.sqrt(5), generator=g),
}


@pytest.mark.parametrize("layer", [LINEAR, CONV], ids=["linear", "conv"])
@pytest.mark.parametrize("call", SAME)
def test_where_the_law_is_torchs_the_numbers_are_torchs(call: str, layer: nn.Module) -> None:
    slot = weight_of(layer)
    expected = torch.empty(slot.shape)
    SAME[call](expected, generator())
    assert torch.equal(drawn(call, slot), expected)


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Linear(7, 5),
        lambda: nn.Conv2d(4, 6, 3, groups=2),
        lambda: nn.ConvTranspose2d(4, 6, 3),
        lambda: nn.Embedding(5, 3),
        lambda: nn.LayerNorm(4),
    ],
)
def test_torch_default_is_what_a_fresh_module_holds_when_drawn_in_its_order(build: Callable[[], nn.Module]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        fresh = build()
    shared = generator(3)
    for slot in parameter_slots(fresh):
        values = build_initializer(parse_call("torch_default")).draw(slot, shared)
        assert torch.equal(values, fresh.get_parameter(slot.path))


WIDE = nn.Linear(800, 500)
WIDE_CONV = nn.Conv2d(40, 60, 5, groups=4)
FANS = {"fan_in": lambda i, o: i, "fan_out": lambda i, o: o, "fan_avg": lambda i, o: (i + o) / 2}
METHODS = {"he": math.sqrt(2.0), "glorot": 1.0, "lecun": 1.0}


@pytest.mark.parametrize("layer", [WIDE, WIDE_CONV], ids=["linear", "grouped conv"])
@pytest.mark.parametrize("mode", FANS)
@pytest.mark.parametrize("distribution", ["normal", "uniform"])
@pytest.mark.parametrize("method", METHODS)
def test_fan_times_variance_is_gain_squared(method: str, distribution: str, mode: str, layer: nn.Module) -> None:
    slot = weight_of(layer)
    assert slot.fan_in is not None and slot.fan_out is not None
    values = drawn(f"{method}_{distribution}(mode={mode!r})", slot).double()
    ratio = float(values.var()) * FANS[mode](slot.fan_in, slot.fan_out) / METHODS[method] ** 2
    spread = {"normal": 2.0, "uniform": 0.8}[distribution]  # of x^2, relative to its mean squared
    assert abs(ratio - 1.0) < ALMOST_SURE * math.sqrt(spread / values.numel())
    assert abs(float(values.mean())) < ALMOST_SURE * float(values.std()) / math.sqrt(values.numel())


UNIFORM = ["he_uniform", "glorot_uniform", "lecun_uniform", "torch_default", "uniform(-2.0, 2.0)"]


@pytest.mark.parametrize("call", UNIFORM)
def test_a_uniform_law_stays_in_its_bound_and_comes_close_to_it(call: str) -> None:
    values = drawn(call, weight_of(WIDE)).double()
    bound = {
        "he_uniform": math.sqrt(6 / 800),
        "glorot_uniform": math.sqrt(6 / 1300),
        "lecun_uniform": math.sqrt(3 / 800),
        "torch_default": math.sqrt(1 / 800),
    }.get(call, 2.0)
    assert 0.999 * bound < float(values.abs().max()) <= bound * (1 + 1e-6)


def test_normal_laws_are_not_truncated() -> None:
    values = drawn("he_normal", weight_of(WIDE)).double()
    assert float((values.abs() > 3 * values.std()).double().mean()) > 0.002  # 0.0027 in theory, 400,000 draws


@pytest.mark.parametrize("sizes", [(30, 20), (20, 30), (25, 25)])
def test_orthogonal_weights_have_equal_singular_values(sizes: tuple[int, int]) -> None:
    values = drawn("orthogonal(gain=1.7)", weight_of(nn.Linear(*sizes))).double()
    expected = torch.full((min(sizes),), 1.7, dtype=torch.float64)
    torch.testing.assert_close(torch.linalg.svdvals(values), expected, rtol=1e-5, atol=0.0)


def test_orthogonal_weights_are_haar_distributed_in_their_first_entry_and_determinant() -> None:
    slot, count = weight_of(nn.Linear(4, 4)), 2000
    draws = torch.stack([drawn("orthogonal", slot, seed) for seed in range(count)]).double()
    first = draws[:, 0, 0]
    assert abs(float(first.mean())) < ALMOST_SURE * math.sqrt(0.25 / count)
    variance = 3 / (4 * 6) - 1 / 16  # of w^2, with E w^4 = 3 / (n (n + 2))
    assert abs(float((first**2).mean()) - 0.25) < ALMOST_SURE * math.sqrt(variance / count)
    positive = float((torch.linalg.det(draws) > 0).double().mean())
    assert abs(positive - 0.5) < ALMOST_SURE * math.sqrt(0.25 / count)


def test_he_weights_keep_the_second_moment_through_a_relu_layer() -> None:
    layer, samples = nn.Linear(2000, 2000, bias=False), 20
    inputs = torch.randn(samples, 2000, generator=generator(1)).double()
    outputs = inputs @ drawn("he_normal", weight_of(layer)).double().T
    ratio = float((outputs.relu() ** 2).mean() / (inputs**2).mean())
    assert abs(ratio - 1.0) < ALMOST_SURE * math.sqrt(5 / 2000)
