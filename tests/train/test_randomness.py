"""Randomness in a forward pass: dropout from named streams, everything else refused by name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional

from initscope.base.errors import UsageError
from initscope.train.randomness import KeyedDropout, keyed_uniform
from tests.support.problems import problem

ALMOST_SURE = 5.2
"""Standard errors: a normal variable is further out with probability 2e-7."""


def masked(values: Tensor, *, key: int = 1, step: int = 0, p: float = 0.3) -> Tensor:
    """Dropout of `values` in the stream of a run at a step."""
    with KeyedDropout(torch.tensor(key), torch.tensor(step)):
        return functional.dropout(values, p)


@pytest.mark.parametrize("drop", [0.1, 0.5, 0.9])
def test_the_share_of_kept_entries_is_one_minus_the_drop_rate(drop: float) -> None:
    count = 200_000
    kept = float((masked(torch.ones(count), p=drop) != 0).double().mean())
    assert abs(kept - (1 - drop)) < ALMOST_SURE * (drop * (1 - drop) / count) ** 0.5


def test_uniform_numbers_lie_in_zero_to_one_and_have_a_uniforms_moments() -> None:
    values = keyed_uniform(torch.tensor(7), (300, 1000)).double()
    assert float(values.min()) >= 0.0 and float(values.max()) < 1.0
    assert abs(float(values.mean()) - 0.5) < ALMOST_SURE * (1 / 12 / values.numel()) ** 0.5
    assert abs(float((values**2).mean()) - 1 / 3) < ALMOST_SURE * (4 / 45 / values.numel()) ** 0.5
    assert abs(float((values[:, 1:] * values[:, :-1]).mean()) - 0.25) < ALMOST_SURE * (0.1 / values.numel()) ** 0.5


@pytest.mark.parametrize("drop", [0.0, 0.25, 1.0])
def test_kept_entries_are_divided_by_their_probability_to_be_kept(drop: float) -> None:
    values = masked(torch.full((1000,), 3.0), p=drop).unique().tolist()
    assert values == {0.0: [3.0], 0.25: [0.0, 4.0], 1.0: [0.0]}[drop]


def test_masks_differ_by_run_by_step_and_by_call_and_by_nothing_else() -> None:
    ones = torch.ones(500)
    assert torch.equal(masked(ones), masked(ones))
    assert not torch.equal(masked(ones), masked(ones, key=2))
    assert not torch.equal(masked(ones), masked(ones, step=1))
    with KeyedDropout(torch.tensor(1), torch.tensor(0)):
        first, second = functional.dropout(ones, 0.3), functional.dropout(ones, 0.3)
    assert torch.equal(first, masked(ones)) and not torch.equal(first, second)


def test_a_stack_of_runs_has_the_masks_of_each_run_alone() -> None:
    keys, ones = torch.tensor([3, 5, 3]), torch.ones(3, 40)

    def one(key: Tensor, values: Tensor) -> Tensor:
        with KeyedDropout(key, torch.tensor(9)):
            return functional.dropout(values, 0.4)

    together = vmap(one)(keys, ones)
    for row, key in enumerate(keys.tolist()):
        assert torch.equal(together[row], masked(ones[0], key=key, step=9, p=0.4))


def test_the_global_generator_is_neither_read_nor_moved_by_dropout() -> None:
    before = torch.get_rng_state()
    first = masked(torch.ones(100))
    torch.rand(3)
    assert torch.equal(first, masked(torch.ones(100)))
    torch.set_rng_state(before)
    masked(torch.ones(100))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("layer", "shape", "group"),
    [
        (nn.Dropout1d(0.5), (4, 6, 5), 2),
        (nn.Dropout1d(0.5), (6, 5), 1),
        (nn.Dropout2d(0.5), (4, 6, 5, 5), 2),
        (nn.Dropout3d(0.5), (4, 6, 3, 3, 3), 2),
        (nn.Dropout3d(0.5), (6, 3, 3, 3), 1),
    ],
)
def test_channel_dropout_drops_whole_channels(layer: nn.Module, shape: tuple[int, ...], group: int) -> None:
    with KeyedDropout(torch.tensor(0), torch.tensor(0)):
        dropped = layer(torch.ones(shape)).flatten(group)
    assert bool((dropped == dropped[..., :1]).all())
    assert 0 < float((dropped == 0).double().mean()) < 1


def test_alpha_dropout_keeps_mean_and_variance_of_a_standard_normal() -> None:
    count = 400_000
    values = torch.randn(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with KeyedDropout(torch.tensor(0), torch.tensor(0)):
        dropped = functional.alpha_dropout(values, 0.3, training=True)
    assert abs(float(dropped.mean())) < ALMOST_SURE * count**-0.5
    assert abs(float(dropped.var()) - 1.0) < ALMOST_SURE * (3.0 / count) ** 0.5


@pytest.mark.parametrize("layer", [nn.Dropout(0.5, inplace=True), nn.Dropout2d(0.5, inplace=True)])
def test_dropout_in_place_changes_its_input_as_torchs_own_does(layer: nn.Module) -> None:
    values = torch.ones(2, 8, 3, 3)
    with KeyedDropout(torch.tensor(0), torch.tensor(0)):
        assert layer(values) is values
    assert set(values.unique().tolist()) == {0.0, 2.0}


def test_evaluation_mode_drops_nothing() -> None:
    with KeyedDropout(torch.tensor(0), torch.tensor(0)):
        assert torch.equal(nn.Dropout(0.5).eval()(torch.ones(50)), torch.ones(50))


@pytest.mark.parametrize("causal", [False, True])
def test_attention_written_out_for_dropout_is_torchs_attention(causal: bool) -> None:  # noqa: FBT001  # a case
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, 5, 4, generator=generator) for _ in range(3))
    expected = functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
    with KeyedDropout(torch.tensor(0), torch.tensor(0)):
        tiny = functional.scaled_dot_product_attention(query, key, value, is_causal=causal, dropout_p=1e-12)
        none = functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
    torch.testing.assert_close(tiny, expected)
    torch.testing.assert_close(none, expected)


class Noisy(nn.Module):
    """A linear layer with random numbers of a kind added to its input."""

    def __init__(self, in_features: int, out_features: int, kind: str) -> None:
        super().__init__()
        self.layer, self.kind = nn.Linear(in_features, out_features), kind

    def forward(self, inputs: Tensor) -> Tensor:
        draws = {
            "randn_like": lambda: torch.randn_like(inputs),
            "rand": lambda: torch.rand(inputs.shape),
            "bernoulli": lambda: torch.bernoulli(inputs),
            "normal_": lambda: torch.empty_like(inputs).normal_(),
            "rrelu": lambda: functional.rrelu(inputs, training=True),
            "feature_alpha_dropout": lambda: functional.feature_alpha_dropout(inputs, 0.5, training=True),
        }
        return self.layer(inputs + draws[self.kind]())


def noisy(*, in_features: int, out_features: int, kind: str) -> nn.Module:
    """A factory."""
    return Noisy(in_features, out_features, kind)


@pytest.mark.parametrize("kind", ["randn_like", "rand", "bernoulli", "normal_", "rrelu", "feature_alpha_dropout"])
def test_a_model_that_draws_other_random_numbers_is_refused_by_name_and_the_generator_is_left_alone(kind: str) -> None:
    model = {"factory": "tests.train.test_randomness:noisy", "options": {"kind": kind}}
    made = problem(model=model, conditions={"default": {}})
    before = torch.get_rng_state()
    with pytest.raises(UsageError) as caught:
        made.ensemble(made.identities(seeds=(0,)))
    assert str(caught.value) == (
        f"this model cannot be studied: its forward pass draws random numbers with {kind}\n"
        "  legal: dropout (of entries, of channels, alpha dropout, in attention) is the randomness a study can repeat "
        "run by run\n"
        "  do:    replace the call by one of torch.nn.functional's dropouts, or take it out"
    )
    assert torch.equal(torch.get_rng_state(), before)
