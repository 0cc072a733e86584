"""The escape probe: does what is zero, equal or dead at the start stay so once training begins?

A few steps p <- p - 0.01 s g / max|g| for every tensor alone, on the same batch, dropout at its mean; s is the tensor's
own root mean square, or 1/sqrt(fan-in) where it is all zero. The size of the gradient does not matter, only its
direction, so a sound zero (a zero head, a gate) leaves zero at once, and a blocked one never does. Nested zeros need
one step each: the probe goes on, up to `most` steps, while the set of zero gradients still changes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from initscope.checker.evidence import Absent, Escape, UnitGroups
from initscope.checker.instruments.capture import run_captured
from initscope.checker.instruments.copies import distances, equal_at_start
from initscope.checker.instruments.expected_dropout import ExpectedDropout
from initscope.checker.instruments.facts import peak_and_rms
from initscope.checker.instruments.recording import Recording, grad_state
from initscope.checker.instruments.subject import Subject
from initscope.checker.instruments.symmetry import unit_groups
from initscope.modules.arguments import leaves
from initscope.modules.generators import seeded_generators

STEP = 0.01
LEAST, MOST = 3, 6
FEW = 4096
"""Entries of a gradient that are looked at first: most are not zero there, and the rest need not be read."""


def probe_escape(subject: Subject, start: Mapping[str, Mapping[int, UnitGroups]], outputs: list[Tensor]) -> Escape:
    """Takes the steps and measures again; the model stands at its start with gradients in `.grad`, and is left moved.

    `start` are the groups at the start; `outputs` the floating tensors the model returned there.
    """
    copies = equal_at_start(subject.model)
    zero_at: dict[str, list[bool]] = {path: [state] for path, state in _zeros(subject).items()}
    finite, taken = True, 0
    while taken < LEAST or (taken < MOST and _changing(zero_at)):
        _step(subject)
        taken += 1
        with seeded_generators(subject.seed), ExpectedDropout():  # type: ignore[no-untyped-call]  # torch ships it without types
            loss, _ = subject.gradients()
        for path, state in _zeros(subject).items():
            zero_at.setdefault(path, [True] * taken).append(state)
        finite = bool(torch.isfinite(loss)) and _finite_gradients(subject)
        if not finite:
            break
    end, apart = unit_groups(subject.model, since=start), distances(subject.model, copies)
    blocked = finite and any(states[-1] for states in zero_at.values())
    recording = Recording.of(subject.model, batch=subject.batch)
    with seeded_generators(subject.seed):
        output = run_captured(
            subject.model, lambda: subject.call(recording), subject.loss_of, recording, backward=blocked
        )
    return Escape(
        steps=taken,
        zero_at={path: tuple(states) for path, states in zero_at.items()},
        start=start,
        end=end,
        moved_output=_moved(outputs, output),
        finite=finite,
        after=recording.trace() if finite else Absent(reason="a probe step led to NaN or infinity"),
        loss=recording.loss_value,
        apart=apart,
    )


def _changing(zero_at: Mapping[str, list[bool]]) -> bool:
    """Whether some gradient is zero still, and the last step changed which ones are."""
    return any(states[-1] for states in zero_at.values()) and any(
        len(states) > 1 and states[-1] != states[-2] for states in zero_at.values()
    )


def _zeros(subject: Subject) -> dict[str, bool]:
    found = {}
    for path, parameter in subject.model.named_parameters():
        gradient = grad_state(parameter)
        if gradient is not None:
            found[path] = not (bool(gradient.reshape(-1)[:FEW].any()) or bool(gradient.any()))
    return found


def _finite_gradients(subject: Subject) -> bool:
    gradients = (grad_state(parameter) for parameter in subject.model.parameters())
    return all(
        bool(torch.isfinite(one.sum())) or bool(torch.isfinite(one).all()) for one in gradients if one is not None
    )


def _step(subject: Subject) -> None:
    with torch.no_grad():
        for parameter in subject.model.parameters():
            gradient = grad_state(parameter)
            if gradient is None or not parameter.requires_grad:
                continue
            peak, _ = peak_and_rms(torch.view_as_real(gradient) if gradient.is_complex() else gradient)
            if peak > 0 and math.isfinite(peak):
                step = STEP * _scale(parameter) / peak
                if math.isfinite(step):
                    parameter.add_(gradient.to(parameter.dtype), alpha=-step)
                else:  # a gradient so small that its inverse leaves the numbers
                    parameter.sub_(gradient.to(parameter.dtype) / peak, alpha=STEP * _scale(parameter))


def _scale(parameter: Tensor) -> float:
    _, size = peak_and_rms(torch.view_as_real(parameter.detach()) if parameter.is_complex() else parameter.detach())
    if size > 0:
        return min(size, 1.0)
    fan_in = parameter.numel() / parameter.shape[0] if parameter.ndim > 1 else 1.0
    return 1 / math.sqrt(max(fan_in, 1.0))


def _moved(before: list[Tensor], output: object) -> float:
    """Root mean square change of the outputs over their first root mean square."""
    after = [one for one in leaves(output) if isinstance(one, Tensor) and one.is_floating_point()]
    if len(after) != len(before) or any(one.shape != two.shape for one, two in zip(before, after, strict=True)):
        return float("nan")
    change = sum(
        float((two.detach().double() - one.double()).square().sum()) for one, two in zip(before, after, strict=True)
    )
    size = sum(float(one.double().square().sum()) for one in before)
    return math.sqrt(change / size) if size > 0 else float("inf") if change > 0 else 0.0
