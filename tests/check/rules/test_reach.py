"""Parameters that no gradient reaches, that nothing reads, and random ones that are frozen."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initscope.checker.rules.frozen_random import FrozenRandom
from initscope.checker.rules.never_reached import NeverReached
from initscope.checker.rules.never_used import NeverUsed
from tests.check.rules.judging import alarms, assert_fix_ends, findings

INPUTS = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
WANTED = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))
IDS = torch.arange(32).remainder(10).reshape(8, 4)
Build = Callable[[], nn.Module]


class _Cut(nn.Module):
    """A body and a head with something between."""

    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.head, self.between = nn.Linear(8, 6), nn.Linear(6, 4), between

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.between(torch.tanh(self.body(x))))


class _NoGrad(_Cut):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            h = torch.tanh(self.body(x))
        return self.head(h)


class _Momentum(nn.Module):
    """A target network that starts as a copy and is never told to learn; its parameters are not frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.online = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))
        self.target = copy.deepcopy(self.online)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.target(x.flip(1))
        return (self.online(x) - wanted).square().mean()


class _Codes(nn.Module):
    """A straight-through code book."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.words, self.outer = nn.Linear(8, 3), nn.Embedding(6, 3), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.inner(x)
        q = self.words(torch.cdist(z, self.words.weight).argmin(-1))
        extra = functional.mse_loss(q, z.detach()) + functional.mse_loss(z, q.detach())
        return self.outer(z + (q - z).detach()), extra


class _Extra(nn.Module):
    """A second answer that the loss does not look at."""

    def __init__(self) -> None:
        super().__init__()
        self.main, self.extra = nn.Linear(8, 4), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"main": self.main(x), "extra": self.extra(x)}


@pytest.mark.parametrize(
    "build",
    [
        lambda: _Cut(torch.detach),
        lambda: _Cut(lambda h: h.data),
        lambda: _Cut(lambda h: functional.one_hot(h.argmax(-1), 6).float()),
        lambda: _Cut(lambda h: torch.tensor(h.tolist())),
        lambda: _NoGrad(torch.tanh),
    ],
    ids=["detach", "data", "argmax", "list", "no-grad"],
)
def test_a_cut_graph_is_an_error_at_the_parameters_before_it(build: Build) -> None:
    (found,) = alarms(NeverReached, build, INPUTS, WANTED, functional.mse_loss)
    assert (found.severity, found.where) == ("error", ("body.weight", "body.bias"))


class _Routed(nn.Module):
    """Each sample goes to the expert whose logit is the largest, chosen by Python or by a mask."""

    def __init__(self, *, by_mask: bool, soft: bool = False) -> None:
        super().__init__()
        self.router, self.experts = nn.Linear(8, 3), nn.ModuleList(nn.Linear(8, 4) for _ in range(3))
        self.by_mask, self.soft = by_mask, soft

    def forward(self, x: Tensor) -> Tensor:
        logits = self.router(x)
        chosen = logits.argmax(-1)
        if self.by_mask:
            h = x.new_zeros(len(x), 4)
            for number, expert in enumerate(self.experts):
                h[chosen == number] = expert(x[chosen == number])
        else:
            h = torch.stack([self.experts[int(one)](row) for one, row in zip(chosen, x, strict=True)])
        return h * logits.softmax(-1).amax(-1, keepdim=True) if self.soft else h


@pytest.mark.parametrize("by_mask", [True, False])
def test_a_router_by_argmax_alone_gets_no_gradient(*, by_mask: bool) -> None:
    (found,) = alarms(NeverReached, lambda: _Routed(by_mask=by_mask), INPUTS, WANTED, functional.mse_loss)
    assert (found.severity, found.where) == ("error", ("router.weight", "router.bias"))
    assert not alarms(NeverReached, lambda: _Routed(by_mask=by_mask, soft=True), INPUTS, WANTED, functional.mse_loss)


def _with_extra(output: Any, target: Tensor) -> Tensor:
    return functional.mse_loss(output[0], target) + output[1]


@pytest.mark.parametrize(
    ("build", "loss"),
    [
        (lambda: _Cut(torch.tanh), functional.mse_loss),
        (_Momentum, lambda output, _: output),
        (_Codes, _with_extra),
        (_Extra, lambda output, target: functional.mse_loss(output["main"], target)),
        (lambda: _Cut(lambda h: h + (h.round() - h).detach()), functional.mse_loss),
    ],
    ids=["whole", "momentum", "code-book", "answer-not-looked-at", "straight-through"],
)
def test_targets_and_other_paths_are_silent(build: Build, loss: Callable[[Any, Any], Tensor]) -> None:
    assert findings(NeverReached, build, INPUTS, WANTED, loss) == ()


def test_freezing_what_is_cut_off_on_purpose_ends_the_finding() -> None:
    assert_fix_ends(NeverReached, lambda: _Cut(torch.detach), INPUTS, WANTED, functional.mse_loss)


def test_the_message_says_what_cuts_and_where() -> None:
    (found,) = findings(NeverReached, lambda: _Cut(torch.detach), INPUTS, WANTED, functional.mse_loss)
    assert found.location is not None
    assert found.message == (
        "no gradient reaches body.weight, body.bias: detach() or .data takes it out of the graph "
        f"(line {found.location.line}), on the way from these parameters to the loss"
    )


class _Forgotten(nn.Module):
    """Layers of which `called` are called, in series or side by side."""

    def __init__(self, called: int, *, side_by_side: bool = False) -> None:
        super().__init__()
        self.layers, self.out = nn.ModuleList(nn.Linear(8, 8) for _ in range(3)), nn.Linear(8, 4)
        self.called, self.side_by_side = called, side_by_side

    def forward(self, x: Tensor) -> Tensor:
        if self.side_by_side:
            return self.out(sum(layer(x) for layer in self.layers[: self.called]))  # type: ignore[arg-type]
        for layer in self.layers[: self.called]:
            x = torch.relu(layer(x))
        return self.out(x)


class _Spare(nn.Module):
    """A layer, and a parameter of `shape`, that forward never reads."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.out, self.spare = nn.Linear(8, 4), nn.Parameter(torch.randn(*shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x)


@pytest.mark.parametrize(
    ("build", "where"),
    [
        (lambda: _Forgotten(0), ("layers",)),
        (lambda: _Forgotten(2), ("layers.2",)),
        (lambda: _Spare(1, 9, 8), ("spare",)),
    ],
    ids=["none-called", "last-of-a-stack", "table"],
)
def test_layers_that_nothing_reads_are_a_warning(build: Build, where: tuple[str, ...]) -> None:
    (found,) = alarms(NeverUsed, build, INPUTS, WANTED, functional.mse_loss)
    assert (found.severity, found.where) == ("warn", where)


@pytest.mark.parametrize(
    "build", [lambda: _Forgotten(2, side_by_side=True), lambda: _Spare(1, 1, 8)], ids=["alternative", "mask-token"]
)
def test_what_is_left_out_on_purpose_is_an_information(build: Build) -> None:
    (found,) = findings(NeverUsed, build, INPUTS, WANTED, functional.mse_loss)
    assert found.severity == "info"


def test_a_network_that_reads_everything_has_nothing_unused() -> None:
    assert findings(NeverUsed, lambda: _Forgotten(3), INPUTS, WANTED, functional.mse_loss) == ()


def test_the_message_says_how_much_is_unused() -> None:
    (found,) = findings(NeverUsed, lambda: _Forgotten(0), INPUTS, WANTED, functional.mse_loss)
    assert found.message == (
        "the forward pass never reads layers (6 parameters, 86 % of all entries): they look forgotten"
    )


def _frozen(layers: int, *, learning: int = 1, width: int = 8) -> nn.Module:
    sizes = [8, *[width] * (layers + learning - 1), 4]
    model = nn.Sequential()
    for number, (before, after) in enumerate(itertools.pairwise(sizes)):
        layer = nn.Linear(before, after)
        layer.requires_grad_(requires_grad=number >= layers)
        model.extend([layer, nn.Tanh()])
    return model[:-1]


class _Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.net = nn.Embedding(10, 3), nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4))
        self.table.requires_grad_(requires_grad=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.net(self.table(ids).flatten(1))


class _Beside(nn.Module):
    """Frozen layers, each with something beside it that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.ModuleList(nn.Linear(8, 8).requires_grad_(requires_grad=False) for _ in range(3))
        self.beside, self.out = nn.ModuleList(nn.Linear(8, 8) for _ in range(3)), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        for frozen, beside in zip(self.frozen, self.beside, strict=True):
            x = torch.tanh(frozen(x) + beside(x))
        return self.out(x)


@pytest.mark.parametrize(
    ("build", "inputs"),
    [(lambda: _frozen(2), INPUTS), (lambda: _frozen(4, learning=2, width=5), INPUTS), (_Words, IDS)],
    ids=["probe", "narrow", "table"],
)
def test_a_random_backbone_that_is_frozen_is_a_warning(build: Build, inputs: Tensor) -> None:
    (found,) = alarms(FrozenRandom, build, inputs, WANTED[: len(inputs)], functional.mse_loss)
    assert found.severity == "warn"


@pytest.mark.parametrize("build", [lambda: _frozen(1), _Beside], ids=["random-features", "adapters"])
def test_random_features_and_adapters_are_an_information(build: Build) -> None:
    (found,) = findings(FrozenRandom, build, INPUTS, WANTED, functional.mse_loss)
    assert found.severity == "info"


def test_frozen_layers_with_loaded_weights_are_silent() -> None:
    def build() -> nn.Module:
        model = _frozen(2)
        with torch.no_grad():
            for parameter in model.parameters():
                if not parameter.requires_grad:
                    parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(7)))
        return model

    assert findings(FrozenRandom, build, INPUTS, WANTED, functional.mse_loss) == ()


def test_the_message_says_what_the_learning_part_sees() -> None:
    (found,) = findings(FrozenRandom, lambda: _frozen(2), INPUTS, WANTED, functional.mse_loss)
    assert found.message == (
        "0.weight, 2.weight are frozen and drawn at random (71 % of all entries): everything that learns "
        "comes after them, so "
        "it sees the input through a random projection"
    )
