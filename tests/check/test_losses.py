"""Losses: by name, guessed, the model's own, the stand-in, and which one a trace shows."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initscope.base.errors import UsageError
from initscope.checker.evidence import Absent, LossKind
from initscope.checker.instruments.capture import run_captured
from initscope.checker.instruments.loss_kinds import recognised
from initscope.checker.instruments.loss_outputs import floating_outputs, loss_output, with_replaced
from initscope.checker.instruments.losses import NAMES, StandIn, evaluated_loss, guessed_loss, named_loss, own_loss
from initscope.checker.instruments.recording import Recording

Pair = namedtuple("Pair", ["first", "second"])
CLASSES = torch.tensor([0, 3, 1, 4, 2, 2, 0, 1])
WORDS = torch.arange(48).reshape(8, 6) % 5
REAL = torch.linspace(-1, 1, 40).reshape(8, 5)
BITS = (REAL > 0).float()


@dataclass(frozen=True)
class Held:
    logits: Tensor
    hidden: Any = None


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["cross_entropy", "cross-entropy", "Cross-Entropy", "CrossEntropyLoss", "ce"])
def test_a_loss_has_its_name_in_every_spelling(name: str) -> None:
    assert named_loss(name) is NAMES["cross_entropy"]


def test_an_unknown_loss_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        named_loss("cros_entropie")
    assert str(caught.value) == (
        "unknown loss 'cros_entropie'\n"
        "  legal: bce, bce_with_logits, cross_entropy, huber, l1, mse, nll, poisson_nll, smooth_l1, soft_margin\n"
        "  do:    did you mean 'cross_entropy'?"
    )


def test_cross_entropy_takes_classifiers_segmenters_language_models_and_soft_targets() -> None:
    loss, images, words = named_loss("ce"), noise(2, 5, 3, 3), noise(8, 6, 5)
    assert torch.equal(loss(REAL, CLASSES.int()), functional.cross_entropy(REAL, CLASSES))
    assert torch.equal(loss(REAL, CLASSES[:, None]), functional.cross_entropy(REAL, CLASSES))
    pixels = torch.zeros(2, 3, 3, dtype=torch.int64)
    assert torch.equal(loss(images, pixels), functional.cross_entropy(images, pixels))
    ignored = WORDS.masked_fill(WORDS == 2, -100)
    flat = functional.cross_entropy(words.reshape(-1, 5), ignored.reshape(-1))
    torch.testing.assert_close(loss(words, ignored), flat)
    torch.testing.assert_close(loss({"logits": words.reshape(-1, 5)}, ignored), flat)
    shares = words.softmax(-1)
    expected = functional.cross_entropy(words.reshape(-1, 5), shares.reshape(-1, 5))
    torch.testing.assert_close(loss(words, shares), expected)


def test_targets_with_as_many_entries_take_the_shape_of_the_output() -> None:
    column, row = noise(8, 1), noise(8, seed=1)
    assert torch.equal(named_loss("mse")(column, row), functional.mse_loss(column[:, 0], row))
    bits = row > 0
    expected = functional.binary_cross_entropy_with_logits(column[:, 0], bits.float())
    assert torch.equal(named_loss("bce_with_logits")(column, bits), expected)


def test_a_named_loss_without_targets_says_what_to_do() -> None:
    with pytest.raises(UsageError) as caught:
        named_loss("mse")(REAL, None)
    assert str(caught.value) == (
        "the loss mse needs targets\n"
        "  do:    give targets: the factory or the batch function returns them behind the inputs"
    )


@pytest.mark.parametrize(
    ("output", "targets", "name"),
    [
        (REAL, CLASSES, "cross_entropy"),
        (noise(8, 6, 5), WORDS, "cross_entropy"),
        (noise(8, 5), REAL, "mse"),
        (noise(8, 1), REAL[:, 0], "mse"),
        (noise(8, 5), BITS, "bce_with_logits"),
        (noise(8, 5).sigmoid(), BITS, "mse"),
        (Held(logits=REAL), {"labels": CLASSES}, "cross_entropy"),
    ],
)
def test_a_loss_is_guessed_from_shapes_and_values(output: Any, targets: Any, name: str) -> None:
    assert guessed_loss(output, targets) is NAMES[name]


@pytest.mark.parametrize(
    ("output", "targets", "reason"),
    [
        (REAL, REAL[:4], "no loss is known for an output of shape (8, 5) and float32 targets of shape (4, 5)"),
        (REAL, CLASSES + 9, "no loss is known for an output of shape (8, 5) and int64 targets of shape (8,)"),
        (CLASSES, REAL, "no loss is known for an output without a tensor"),
        (REAL, "cat", "no loss is known for targets without a tensor"),
    ],
)
def test_where_no_loss_fits_the_reason_is_said(output: Any, targets: Any, reason: str) -> None:
    found = guessed_loss(output, targets)
    assert isinstance(found, Absent)
    assert found.reason == reason


def test_the_main_output_is_called_logits_or_comes_first() -> None:
    first, second = noise(2, 3), noise(2, 4)
    assert loss_output((WORDS, first, second)) is first
    assert loss_output(Pair(first, second)) is first
    assert loss_output({"loss": first.sum(), "hidden": first, "logits": second}) is second
    assert loss_output(Held(logits=second, hidden=[first])) is second
    assert loss_output({"deep": [{"x": (first,)}]}) is first
    assert loss_output(WORDS) is None


@pytest.mark.parametrize(
    "wrap",
    [
        lambda one: one,
        lambda one: (WORDS, one),
        lambda one: Pair(WORDS, one),
        lambda one: [one],
        lambda one: {"a": {"logits": one}},
        lambda one: Held(logits=one),
        lambda one: torch.distributions.Normal(one, torch.ones(())),
    ],
)
def test_a_tensor_is_replaced_in_any_structure_and_the_old_one_stays(wrap: Callable[[Tensor], Any]) -> None:
    old, new = noise(2, 3), noise(2, 3, seed=1)
    output = wrap(old)
    leaf = next(leaf for leaf in floating_outputs(output) if torch.equal(leaf.tensor, old))
    made = with_replaced(output, {leaf.steps: new})
    assert type(made) is type(output)
    assert new in [one.tensor for one in floating_outputs(made) if one.tensor is new]
    assert any(one.tensor is leaf.tensor for one in floating_outputs(output))


def test_the_own_loss_of_a_model_is_found_in_attributes_and_keys() -> None:
    loss = torch.ones(())
    assert own_loss({"loss": loss, "logits": REAL}) is loss
    assert own_loss(torch.distributions.Normal(0.0, 1.0)) is None
    assert own_loss({"loss": None}) is None
    assert own_loss({"loss": REAL}) is None


def test_the_stand_in_is_the_same_at_every_call_and_another_under_another_seed() -> None:
    output = (noise(4, 3).requires_grad_(), {"z": (noise(5) * 1j).requires_grad_()})
    first, second, other = StandIn(seed=1)(output), StandIn(seed=1)(output), StandIn(seed=2)(output)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    gradients = torch.autograd.grad(first, [output[0], output[1]["z"]])
    assert all(bool((one != 0).all()) for one in gradients)


def test_the_stand_in_of_zeros_is_the_mean_square_of_its_targets_in_half_precision_too() -> None:
    value = StandIn(seed=0)(torch.zeros(40_000, dtype=torch.float16))
    assert value.dtype == torch.float32
    assert abs(float(value) - 1) < 0.05  # seven standard errors of sqrt(2 / 40000)


def test_the_stand_in_refuses_an_output_without_a_tensor() -> None:
    with pytest.raises(UsageError) as caught:
        StandIn(seed=0)("text")
    assert str(caught.value) == (
        "the model returned no floating-point tensor, so no loss can be made of its output\n"
        "  got:   str\n  do:    give a loss that takes (output, target)"
    )


OUTPUT = noise(8, 5).requires_grad_()


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            lambda output, target: output.sum().item(),
            "the loss returned float, not a tensor\n  got:   {value}\n"
            "  legal: a scalar tensor computed from the model's output\n"
            "  do:    return the tensor itself, without .item() or float()",
        ),
        (
            lambda output, target: output.square(),
            "the loss is not a scalar\n  got:   a float32 tensor of shape (8, 5)\n"
            "  legal: a floating-point tensor with one entry\n  do:    reduce it: .mean(), or reduction='mean'",
        ),
        (
            lambda output, target: output.detach().mean(),
            "the loss does not depend on the model's output: no gradient can flow\n"
            "  got:   a float32 tensor of shape () without grad_fn\n"
            "  do:    compute it from the output itself, without detach(), .data, .item(), argmax or torch.no_grad()",
        ),
    ],
)
def test_what_is_no_loss_is_refused(loss: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        evaluated_loss(loss, OUTPUT, None)
    assert str(caught.value) == message.format(value=repr(OUTPUT.sum().item()))


def test_a_loss_that_raises_shows_the_users_line_and_that_targets_are_missing() -> None:
    with pytest.raises(UsageError) as caught:
        evaluated_loss(lambda output, target: output - target, OUTPUT, None)
    assert caught.value.what == "the loss raised TypeError: no targets were given"
    assert caught.value.do == "give targets: the factory or the batch function returns them behind the inputs"
    assert 'losses.py"' not in str(caught.value.value).replace("test_losses.py", "")
    assert "evaluated_loss(lambda output, target: output - target" in str(caught.value.value)


def test_an_output_outside_the_graph_is_not_the_fault_of_the_loss() -> None:
    assert not evaluated_loss(lambda output, target: output.mean(), REAL, None).requires_grad


LINEAR = nn.Linear(4, 5)
LOG, SHARES, BOUNDED = (nn.Sequential(LINEAR, last) for last in (nn.LogSoftmax(1), nn.Softmax(1), nn.Sigmoid()))
ROWS = torch.arange(8)


class Own(nn.Module):
    """Computes its loss itself, as models of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        logits = self.inner(x)
        return {"loss": functional.cross_entropy(logits.float().view(-1, 5), CLASSES), "logits": logits}


class Twice(nn.Module):
    """Has two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.inner(x), 2 * self.inner(x)


def kind_of(loss: Callable[[Any], Tensor], model: nn.Module, inputs: Tensor) -> LossKind:
    recording = Recording.of(model, batch=8)
    recording.input(inputs, "0")
    run_captured(model, lambda: model(inputs), loss, recording, backward=False)
    return recognised(recording.trace())


def focal(output: Tensor) -> Tensor:
    each = functional.cross_entropy(output, CLASSES, reduction="none")
    return ((1 - (-each).exp()) ** 2 * each).mean()


@pytest.mark.parametrize(
    ("kind", "model", "loss"),
    [
        ("cross_entropy", LINEAR, lambda o: nn.CrossEntropyLoss(label_smoothing=0.1)(o, CLASSES)),
        ("cross_entropy", LINEAR, lambda o: functional.cross_entropy(o.double(), REAL.double().softmax(1))),
        ("cross_entropy", LINEAR, lambda o: -o.log_softmax(1)[ROWS, CLASSES].mean()),
        ("cross_entropy", LINEAR, lambda o: (o.logsumexp(1) - o.gather(1, CLASSES[:, None])[:, 0]).mean()),
        ("cross_entropy", LINEAR, lambda o: -(o.softmax(1) + 1e-9).log()[ROWS, CLASSES].mean()),
        ("cross_entropy", LINEAR, lambda o: functional.nll_loss(o.softmax(1).log(), CLASSES)),
        ("cross_entropy", SHARES, lambda o: functional.cross_entropy(o, CLASSES)),
        ("cross_entropy", LOG, lambda o: functional.cross_entropy(o, CLASSES)),
        ("cross_entropy", Own(), lambda o: o["loss"]),
        ("cross_entropy", Twice(), lambda o: sum(functional.cross_entropy(one, CLASSES) for one in o)),
        ("nll", LOG, lambda o: functional.nll_loss(o, CLASSES)),
        ("nll", LOG, lambda o: -o[ROWS, CLASSES].mean()),
        ("other", SHARES, lambda o: -o.log()[ROWS, CLASSES].mean()),
        ("bce_logits", LINEAR, lambda o: nn.BCEWithLogitsLoss(pos_weight=torch.ones(5))(o, BITS)),
        ("bce_logits", LINEAR, lambda o: functional.binary_cross_entropy(o.sigmoid(), BITS)),
        ("bce_logits", LINEAR, lambda o: (functional.softplus(o) - o * BITS).mean()),
        ("bce_logits", LINEAR, lambda o: (o.clamp(min=0) - o * BITS + (-o.abs()).exp().log1p()).mean()),
        ("bce", BOUNDED, lambda o: functional.binary_cross_entropy(o, BITS)),
        ("bce", BOUNDED, lambda o: -(BITS * o.log() + (1 - BITS) * (1 - o).log()).mean()),
        ("mse", LINEAR, lambda o: ((o - REAL) ** 2).mean()),
        ("mse", LINEAR, lambda o: 0.5 * (REAL.view(-1) - o.view(-1)).square().sum()),
        ("l1", LINEAR, lambda o: functional.l1_loss(o, REAL)),
        ("l1", LINEAR, lambda o: functional.huber_loss(o, REAL)),
        ("other", LINEAR, focal),
        ("other", LINEAR, lambda o: -functional.logsigmoid(o[:, 0] - o[:, 1]).mean()),
        ("other", LINEAR, lambda o: functional.cross_entropy(o, CLASSES) + functional.mse_loss(o, REAL)),
        ("other", LINEAR, lambda o: (o - REAL).norm()),
        ("other", Twice(), lambda o: functional.mse_loss(o[0], o[1])),
    ],
)
def test_a_loss_is_recognised_from_its_operators(kind: LossKind, model: nn.Module, loss: Any) -> None:
    assert kind_of(loss, model, noise(8, 4)) == kind


def test_a_loss_is_recognised_behind_shifts_masks_and_penalties_on_weights() -> None:
    def shifted(output: Tensor) -> Tensor:
        return functional.cross_entropy(output[:, :-1].contiguous().view(-1, 5), WORDS[:, 1:].reshape(-1))

    def masked(output: Tensor) -> Tensor:
        each = functional.cross_entropy(output.transpose(1, 2), WORDS, reduction="none")
        return (each * (WORDS > 1)).sum() / (WORDS > 1).sum() + 1e-3 * LINEAR.weight.square().sum()

    assert [kind_of(one, LINEAR, noise(8, 6, 4)) for one in (shifted, masked)] == ["cross_entropy"] * 2
