"""Short trainings that prove the labels: a broken network gets clearly less far than its repaired twin."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import SUPPORTED_NODES, tree_map_only

from calibration.case import Case, Training
from initscope.modules.generators import seeded_generators

FIRST_SEED = 1000
"""Run i of a case is built and trained under the global seed FIRST_SEED + i."""

PROGRESS = 0.8
"""A broken network is clearly worse where its median run gets at most this share of the twin's way."""

LEARNT = 0.1
"""A twin proves something only where it takes at least this share of the chance loss away."""

DIVERGED = 100.0
"""A run diverged where its loss at the end is not finite or above this multiple of chance (and of the first loss)."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one training came to.

    seed        of the run
    first_loss  before the first update
    final_loss  mean over the last tenth of the steps; infinite where the run diverged
    accuracy    share of right answers over those steps; NaN where the targets are not classes
    chance      loss of the best constant output on the first batch; NaN where no constant could be fitted
    diverged    the loss became NaN, infinite or absurd

    Of a training that is judged by accuracy the losses are shares of wrong answers and chance is none right.
    """

    seed: int
    first_loss: float
    final_loss: float
    accuracy: float
    chance: float
    diverged: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a label is proven; false in a condition where it is not.

    worse      the broken network is clearly worse than its twin
    broken, twin   progress of each run, the worst first: 0 at chance, 1 at the twin's median final loss
    reason     one sentence: the numbers, and what was missing
    """

    worse: bool
    broken: tuple[float, ...]
    twin: tuple[float, ...]
    reason: str

    def __bool__(self) -> bool:
        return self.worse


def train(case: Case, *, seeds: int = 3) -> list[Outcome]:
    """Trains a case once per seed in a plain loop and returns what each run came to.

    Raises:
        ValueError: the case says that it cannot be trained.
    """
    if case.training is None:
        raise ValueError(f"case {case.name!r} is not trained: {case.why_no_training or 'no reason given'}")
    return [_run(case, case.training, FIRST_SEED + index) for index in range(seeds)]


def clearly_worse(broken: Sequence[Outcome], twin: Sequence[Outcome]) -> Verdict:
    """Returns whether the broken network got clearly less of the way from chance to the twin's final loss.

    The progress of a run is (chance - final loss) / (chance - B). B is the median final loss of the twin's runs, chance
    the median over the twin's seeds (of their first losses where no constant output could be fitted). A network that
    learns nothing has progress 0, the twin's median run has 1, a run that diverged has minus infinity. The label is
    proven where all three hold:

    1. the twin learns: chance - B is at least LEARNT of |chance|, else both stand at chance and nothing is compared;
    2. the effect is large: the broken network's median progress is at most PROGRESS;
    3. it is no luck of a seed: the best broken run is worse than the worst twin run. Were the two networks equal, three
       runs each would fall apart like this once in 20 pairs; with the second condition on top it is far rarer, as twins
       that differ by chance alone differ by a few per cent of the way.

    Loss differences from chance are used, not ratios of losses: a ratio calls 1e-4 against 1e-3 a failure, and is moved
    by any constant in the loss. Chance, not the first loss, is the start of the way, as a network that starts at an
    absurd loss and merely comes down to chance has learnt nothing.
    """
    chance = _start(twin)
    best = statistics.median(outcome.final_loss for outcome in twin)
    way = chance - best
    if not (math.isfinite(way) and way >= LEARNT * abs(chance) and way > 0):
        return Verdict(
            worse=False, broken=(), twin=(), reason=f"the twin does not learn: chance {chance:.4g}, final {best:.4g}"
        )
    progress = [sorted((chance - outcome.final_loss) / way for outcome in side) for side in (broken, twin)]
    median = statistics.median(progress[0])
    apart = progress[0][-1] < progress[1][0]
    numbers = f"the broken one gets {median:.2f} of the way ({_listed(progress[0])}), the twin {_listed(progress[1])}"
    if median > PROGRESS:
        numbers += f"; more than {PROGRESS}"
    elif not apart:
        numbers += "; the runs overlap"
    return Verdict(
        worse=median <= PROGRESS and apart, broken=tuple(progress[0]), twin=tuple(progress[1]), reason=numbers
    )


def _start(twin: Sequence[Outcome]) -> float:
    chances = [outcome.chance for outcome in twin]
    return statistics.median(chances if all(map(math.isfinite, chances)) else [outcome.first_loss for outcome in twin])


def chance_loss(output: Any, targets: Any, loss_fn: Callable[[Any, Any], Tensor]) -> float:
    """Returns the loss of the best constant output on a batch, or NaN where none can be fitted.

    One value per unit of the output's unit axis, broadcast over samples and positions, fitted by L-BFGS from zero. The
    unit axis is the last one; of cross-entropy's (batch, class, position ...) and of images it is axis 1.
    """
    leaves: list[Tensor] = []

    def constant(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor.detach()
        shape = [1] * tensor.dim()
        if tensor.dim() > 1:
            axis = _unit_axis(tensor, targets)
            shape[axis] = tensor.shape[axis]
        leaves.append(torch.zeros(shape, requires_grad=True))
        return leaves[-1].expand(tensor.shape)

    best = tree_map_only(Tensor, constant, _plain(output))

    def closure() -> Tensor:
        for leaf in leaves:
            leaf.grad = None
        loss = loss_fn(best, targets)
        torch.autograd.backward(loss)
        return loss

    try:
        optimizer = torch.optim.LBFGS(leaves, lr=0.5, max_iter=100, line_search_fn="strong_wolfe")
        optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch ships it without types
        return float(loss_fn(best, targets).detach())
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError):
        return math.nan


def _run(case: Case, plan: Training, seed: int) -> Outcome:
    with seeded_generators(seed):
        model, inputs, targets, loss_fn = case.build()
        model.train()
        optimizer = _optimizer(model, plan)
        losses: list[float] = []
        accuracies: list[float] = []
        chance = math.nan
        for step in range(plan.steps):
            if plan.batches is not None:
                inputs, targets = plan.batches(step)
            output = call(model, inputs)
            if step == 0:
                chance = chance_loss(output, targets, loss_fn)
            loss = loss_fn(output, targets)
            losses.append(float(loss.detach()))
            accuracies.append(_accuracy(output, targets))
            if not math.isfinite(losses[-1]):
                break
            optimizer.zero_grad()
            if loss.requires_grad:
                loss.backward()
            optimizer.step()
    if plan.judged_by == "accuracy":
        losses, chance = [1 - share for share in accuracies], 1.0
    return _outcome(seed, losses, accuracies, chance, tail=max(1, plan.steps // 10))


def _outcome(seed: int, losses: list[float], accuracies: list[float], chance: float, *, tail: int) -> Outcome:
    final = statistics.fmean(losses[-tail:])
    absurd = DIVERGED * max(abs(chance), abs(losses[0])) if math.isfinite(losses[0] + chance) else math.inf
    diverged = not math.isfinite(losses[-1]) or final > absurd
    return Outcome(
        seed=seed,
        first_loss=losses[0],
        final_loss=math.inf if diverged else final,
        accuracy=statistics.fmean(accuracies[-tail:]),
        chance=chance,
        diverged=diverged,
    )


def call(model: nn.Module, inputs: Any) -> Any:
    """Calls a model: a tuple gives its positional arguments, a mapping its keywords, anything else is its one input."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def _optimizer(model: nn.Module, plan: Training) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if plan.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=plan.learning_rate)
    if plan.optimizer == "momentum":
        return torch.optim.SGD(parameters, lr=plan.learning_rate, momentum=0.9)
    kind = torch.optim.Adam if plan.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, lr=plan.learning_rate)


def _plain(output: Any) -> Any:
    """A mapping of a class that torch's tree functions do not know becomes a plain one, which they do."""
    return dict(output) if isinstance(output, Mapping) and type(output) not in SUPPORTED_NODES else output


def _unit_axis(output: Tensor, targets: Any) -> int:
    if _is_classes(targets) and output.dim() == targets.dim() + 1 and output.shape[:-1] != targets.shape:
        return 1
    return 1 if output.dim() == 4 else output.dim() - 1


def _is_classes(targets: Any) -> bool:
    return isinstance(targets, Tensor) and not targets.is_floating_point() and targets.dtype != torch.bool


def _accuracy(output: Any, targets: Any) -> float:
    """Share of targets at the largest output; of a structure, its first tensor that fits; NaN without classes."""
    if not _is_classes(targets):
        return math.nan
    found: list[Tensor] = []
    tree_map_only(Tensor, found.append, _plain(output))
    for tensor in found:
        if tensor.is_floating_point() and tensor.dim() == targets.dim() + 1:
            guess = tensor.detach().argmax(_unit_axis(tensor, targets))
            if guess.shape == targets.shape:
                valid = targets >= 0
                return float((guess == targets)[valid].float().mean())
    return math.nan


def _listed(progress: Sequence[float]) -> str:
    return ", ".join(f"{one:.2f}" for one in progress)
