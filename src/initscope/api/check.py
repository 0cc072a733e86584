"""`initscope.check`: is this network's start sound?"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import torch
from torch import nn

from initscope.api.arguments import texts
from initscope.api.check_report import Report
from initscope.api.initialization import checked_seed
from initscope.base.errors import UsageError
from initscope.checker.allowances import allowances_in
from initscope.checker.evidence import Absent, Builds, Evidence
from initscope.checker.instruments.builds import examine_builds, first_build, model_of
from initscope.checker.instruments.examine import examine
from initscope.checker.instruments.inputs import synthetic_inputs
from initscope.checker.instruments.loss_choice import ChosenLoss
from initscope.checker.instruments.losses import named_loss
from initscope.checker.instruments.subject import Subject, device_of
from initscope.checker.instruments.writes import WriteLog
from initscope.checker.locating import locator
from initscope.checker.rule import RULES, Rule
from initscope.checker.rule_names import known_rules, resolve_rules
from initscope.checker.rules.unused_suppression import unused_findings
from initscope.checker.runner import Judgement, judge, needs_of
from initscope.checker.selection import chosen, silence
from initscope.checker.settings import Settings
from initscope.modules.arguments import call_of, leaves, replaced
from initscope.modules.generators import seeded_generators
from initscope.modules.wrappers import unwrapped
from initscope.records.finding import CheckReport, Number
from initscope.study.device import choose_device


@dataclass(frozen=True, kw_only=True, eq=False)
class Start:
    """What is to be checked, before anything is measured.

    `built` is the factory, None where a model was given. `shapes` are texts for made-up inputs where there are none.
    """

    model: nn.Module
    built: Callable[[], Any] | None = None
    log: WriteLog | None = None
    inputs: Any = None
    targets: Any = None
    loss: Callable[[Any, Any], Any] | None = None
    shapes: tuple[str, ...] = ()
    name: str = ""


def check(
    model_or_factory: nn.Module | Callable[[], Any],
    inputs: Any = None,
    targets: Any = None,
    loss_fn: Callable[[Any, Any], Any] | str | None = None,
    *,
    select: str | Iterable[str] = (),
    ignore: str | Iterable[str] = (),
    seed: int = 0,
) -> Report:
    """Returns a report of what is wrong with how a network starts. The model is left as it is, to the bit.

    Arguments:
        model_or_factory: a module; or a function without arguments that builds one, alone or in a tuple (model, inputs,
            targets, loss_fn) whose later parts may be left out. A factory shows more: it is called three times, which
            finds memory never written, initialisations that were overwritten, and the lines that did it.
        inputs: one batch: a tensor, a tuple (positional arguments) or a mapping (keyword arguments). Made up where
            there is none; findings that depend on data are then one severity lower.
        targets: what the loss compares with, any structure.
        loss_fn: called as loss_fn(output, target), a scalar; or a name ("cross_entropy", "mse"). Where it is not given,
            the model's own `.loss` or a loss that fits the targets is taken.
        select, ignore: names of rules, codes, or beginnings of codes; everything is checked unless selected.
        seed: decides builds, made-up inputs and whatever the model draws.

    Raises: UsageError for a factory or inputs that do not work (with the user's own traceback), a loss that is no
        scalar, unknown rules.

    Example:
        >>> import initscope, torch
        >>> report = initscope.check(torch.nn.Linear(4, 2), torch.randn(8, 4), torch.tensor([0, 1] * 4))
        >>> report.ok
        True
    """
    settings = Settings(
        select=resolve_rules(texts(select, name="select"), where="select"),
        ignore=resolve_rules(texts(ignore, name="ignore"), where="ignore"),
    )
    seed = checked_seed(seed)
    start = started(model_or_factory, seed=seed)
    loss = None if loss_fn is None else usable_loss(loss_fn, where="loss_fn")
    start = replace(
        start,
        inputs=start.inputs if inputs is None else inputs,
        targets=start.targets if targets is None else targets,
        loss=start.loss if loss is None else loss,
    )
    return Report(record=check_start(start, settings=settings, seed=seed))


def check_source(
    reference: str,
    *,
    inputs: Sequence[str] = (),
    batch: str | None = None,
    loss: str | None = None,
    seed: int = 0,
    device: str | None = None,
    settings: Settings,
    progress: Callable[[str], None] | None = None,
) -> CheckReport:
    """Returns the record of checking the model that TARGET names, as the command line asks for it.

    Arguments: `inputs` are shapes of made-up inputs ("8x3x64x64:float32"), in place of those the factory returned;
    `batch` and `loss` references; `progress` is told what is being done. Raises: UsageError as `check` and the loaders.
    """
    from initscope.api.targets import load_batch, load_loss, load_source

    tell = progress or (lambda text: None)
    tell(f"building {reference}")
    if inputs and batch is not None:
        raise UsageError("--input and --batch both say what the model is called with", do="leave one out")
    source = load_source(reference, seed=seed)
    chosen_loss = None if loss is None else load_loss(loss)
    start = started(source.factory, seed=seed, name=reference)
    if batch is not None:
        given = load_batch(batch, seed=seed)
        start = replace(start, inputs=given.inputs, targets=start.targets if given.targets is None else given.targets)
    elif inputs:
        start = replace(start, inputs=None, targets=None, shapes=tuple(inputs))
    if chosen_loss is not None:
        start = replace(start, loss=chosen_loss)
    tell(f"checking {reference}")
    return check_start(start, settings=settings, seed=seed, device=None if device is None else choose_device(device))


def started(model_or_factory: object, *, seed: int, name: str = "") -> Start:
    """Returns what a model or a factory gives to check; a factory is called once, every write of it watched.

    Raises: UsageError for something that is neither, or a factory that returns no model.
    """
    if isinstance(model_or_factory, nn.Module):
        return Start(model=model_or_factory, name=name or type(unwrapped(model_or_factory)).__name__)
    if not callable(model_or_factory):
        raise UsageError(
            "check wants a model or a function that builds one",
            where="model_or_factory",
            value=type(model_or_factory).__name__,
            legal="a torch.nn.Module, or a callable without arguments that returns one",
        )
    from initscope.api.targets import parts_of
    from initscope.api.user_code import called, without_arguments

    title = name or getattr(model_or_factory, "__qualname__", type(model_or_factory).__name__)
    without_arguments(model_or_factory, title, do="give a function that takes none: lambda: build(width=64)")
    factory = partial(called, model_or_factory, title)
    returned, log = first_build(factory, seed=seed)
    parts = parts_of(returned, title)
    return Start(
        model=parts.model,
        built=factory,
        log=log,
        inputs=parts.inputs,
        targets=parts.targets,
        loss=None if parts.loss is None else usable_loss(parts.loss, where=f"the fourth thing that {title} returned"),
        name=title,
    )


def usable_loss(loss: object, *, where: str) -> Callable[[Any, Any], Any]:
    """Returns a loss that can be called: a name is looked up, a class of losses called for an instance.

    Raises: UsageError for anything else that cannot be called.
    """
    if isinstance(loss, str):
        return named_loss(loss)
    made = loss() if isinstance(loss, type) and issubclass(loss, nn.Module) else loss
    if not callable(made):
        raise UsageError(
            "the loss cannot be called", where=where, value=type(made).__name__, legal="loss_fn(output, target)"
        )
    return made


def check_start(
    start: Start,
    *,
    settings: Settings,
    seed: int = 0,
    device: str | None = None,
    rules: Iterable[type[Rule]] | None = None,
) -> CheckReport:
    """Returns the record of one check: builds, measurements, judgement, what is silenced."""
    began = time.perf_counter()
    known = known_rules()
    wanted = [RULES.get(name) for name in chosen(settings, known)] if rules is None else list(rules)
    evidence, loss = measured(start, wanted, seed=seed, device=device)
    verdict = judge(evidence, wanted)
    mute = {one.rule for one in verdict.skipped} | {one.rule for one in verdict.failed}
    judged = {rule.name for rule in wanted} - mute
    kept, silenced, unused = silence(
        verdict.findings,
        settings=settings,
        allowances=allowances_in(start.model),
        baseline=settings.baseline,
        judged=judged,
    )
    left = unused_findings(unused) if "unused-suppression" in judged else ()
    return CheckReport(
        target=start.name,
        findings=(*kept, *left),
        skipped=verdict.skipped,
        failed=verdict.failed,
        silenced=(*silenced, *verdict.explained),
        facts=_facts(evidence, loss, wanted=len(wanted), verdict=verdict, seconds=time.perf_counter() - began),
    )


def measured(
    start: Start, rules: Iterable[type[Rule]], *, seed: int, device: str | None = None
) -> tuple[Evidence, ChosenLoss]:
    """Returns all that the instruments say for `rules`, and the loss that was used."""
    synthetic = start.inputs is None
    inputs = start.inputs
    if synthetic:
        inputs = synthetic_inputs(unwrapped(start.model), shapes=start.shapes, seed=seed)
    model = _materialised(start, inputs, device)
    place = device_of(model)
    inputs = _on(inputs, place)
    if next(model.parameters(), None) is None:
        raise UsageError(
            "the model has no parameters: there is no start to check",
            where=start.name,
            value=type(model).__name__,
            do="modules in a plain list or dict are not registered: hold them in nn.ModuleList or nn.ModuleDict",
        )
    _refuse_empty(inputs)
    targets = _on(start.targets, place)
    loss = ChosenLoss(start.loss, targets, seed=seed)
    subject = Subject(model=model, inputs=inputs, targets=targets, loss_of=loss, synthetic=synthetic, seed=seed)
    builds = (
        _builds(start, model, subject, seed=seed) if "builds" in needs_of(rules) else Absent(reason="no rule needs it")
    )
    return examine(subject, builds=builds, locate=locator(model, builds), wanted=needs_of(rules)), loss


def _builds(start: Start, model: nn.Module, subject: Subject, *, seed: int) -> Builds | Absent:
    if start.built is None or start.log is None:
        return Absent(reason="a model was given, not the function that builds it")

    def forward(other: nn.Module) -> Any:
        with torch.no_grad(), seeded_generators(seed):
            return replace(subject, model=other.to(device_of(model))).call()

    return examine_builds(start.built, start.model, start.log, seed=seed, forward=forward)


def _materialised(start: Start, inputs: Any, device: str | None) -> nn.Module:
    """The model itself; a copy where its lazy parameters get their shapes from the batch, or where it must move."""
    model = unwrapped(start.model)
    if device is not None and start.built is not None:
        model = model.to(device)
    lazy = any(nn.parameter.is_lazy(one) for one in (*model.parameters(), *model.buffers()))
    if not lazy:
        return model
    model = _another(start, model)
    with seeded_generators(0), torch.no_grad():
        Subject(model=model, inputs=_on(inputs, device_of(model))).call()
    return model


def _another(start: Start, model: nn.Module) -> nn.Module:
    """A model like the lazy one that was given, which may then be called: built again, or copied."""
    if start.built is not None:
        built = model_of(first_build(start.built, seed=0)[0])
        if built is not None and built is not start.model:
            return unwrapped(built)
    try:
        return copy.deepcopy(model)
    except (ValueError, RuntimeError, TypeError) as error:
        raise UsageError(
            "the model has lazy modules that cannot be copied", where=start.name, value=str(error),
            do="give a function that builds the model, or call the model on one batch first",
        ) from error  # fmt: skip


def _refuse_empty(inputs: Any) -> None:
    given = [one for one in leaves(call_of(inputs)) if isinstance(one, torch.Tensor)]
    if given and not any(one.numel() for one in given):
        raise UsageError(
            "the batch is empty: there is nothing to run the model on",
            where="inputs",
            value=", ".join(str(list(one.shape)) for one in given),
            do="give at least two samples",
        )


def _on(value: Any, device: torch.device) -> Any:
    return replaced(value, lambda tensor: tensor.to(device))


def _facts(
    evidence: Evidence, loss: ChosenLoss, *, wanted: int, verdict: Judgement, seconds: float
) -> dict[str, Number]:
    parameters = [one for one in evidence.parameters.values() if not one.buffer]
    sizes = [prod(one.shape) for one in parameters]
    chance = evidence.chance
    return {
        "parameters": sum(sizes),
        "trainable": sum(size for size, one in zip(sizes, parameters, strict=True) if one.trainable),
        "batch": evidence.batch,
        "synthetic_input": evidence.synthetic,
        "loss_function": loss.name if loss.name != "given" else evidence.loss_kind,
        "loss": evidence.loss if not isinstance(evidence.loss, Absent) else None,
        "chance": chance.best if not isinstance(chance, Absent) else None,
        "rules": wanted,
        "rules_run": wanted - len(verdict.skipped) - len(verdict.failed),
        "seconds": round(seconds, 2),
    }
