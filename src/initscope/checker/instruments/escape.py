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
from initscope.modules.generators import seeded_generators

STEP = 0.01
LEAST, MOST = 3, 6
FEW = 4096
"""Entries of a gradient that are looked at first: most are not zero there, and the rest need not be read."""


class EscapeProbe:
    """The probe in two parts: `begin` uses up the gradients of the start, `end` takes the further steps.

    Between them no gradient is held: what else must be measured then has their memory.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._start: Mapping[str, Mapping[int, UnitGroups]] = {}
        self._copies: tuple[tuple[str, ...], ...] = ()
        self._zero_at: dict[str, list[bool]] = {}

    def begin(self) -> None:
        """Takes the first step; the model stands at its start with gradients in `.grad`, and is left moved."""
        self._start = unit_groups(self.subject.model)
        self._copies = equal_at_start(self.subject.model)
        self._zero_at = {path: [state] for path, state in _zeros(self.subject).items()}
        self._step()

    def end(self) -> Escape:
        """Takes the other steps and measures again; the model is left moved and without gradients."""
        subject, taken, finite = self.subject, 1, self._gradients(1)
        while finite and (taken < LEAST or (taken < MOST and _changing(self._zero_at))):
            self._step()
            taken += 1
            finite = self._gradients(taken)
        groups, apart = unit_groups(subject.model, since=self._start), distances(subject.model, self._copies)
        subject.forget_gradients()
        recording = self._recorded(backward=finite and any(states[-1] for states in self._zero_at.values()))
        return Escape(
            steps=taken,
            zero_at={path: tuple(states) for path, states in self._zero_at.items()},
            start=self._start,
            end=groups,
            finite=finite,
            after=recording.trace() if finite else Absent(reason="a probe step led to NaN or infinity"),
            loss=recording.loss_value,
            apart=apart,
        )

    def _step(self) -> None:
        with torch.no_grad():
            for parameter in self.subject.model.parameters():
                _move(parameter, grad_state(parameter))
        self.subject.forget_gradients()

    def _gradients(self, taken: int) -> bool:
        """Measures the gradients after the last step; returns whether they and the loss are finite."""
        with seeded_generators(self.subject.seed), ExpectedDropout():  # type: ignore[no-untyped-call]  # torch ships it without types
            loss = self.subject.gradients()
        for path, state in _zeros(self.subject).items():
            self._zero_at.setdefault(path, [True] * taken).append(state)
        return bool(torch.isfinite(loss)) and _finite_gradients(self.subject)

    def _recorded(self, *, backward: bool) -> Recording:
        subject, recording = self.subject, Recording.of(self.subject.model, batch=self.subject.batch)
        with seeded_generators(subject.seed):
            run_captured(subject.model, lambda: subject.call(recording), subject.loss_of, recording, backward=backward)
        return recording


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


def _move(parameter: Tensor, gradient: Tensor | None) -> None:
    """Moves one parameter through `.data`: its count of writes stays, and with it graphs that the user still holds."""
    if gradient is None or not parameter.requires_grad:
        return
    peak, _ = peak_and_rms(torch.view_as_real(gradient) if gradient.is_complex() else gradient)
    if peak > 0 and math.isfinite(peak):
        step = STEP * _scale(parameter) / peak
        if step < torch.finfo(parameter.dtype).max:
            parameter.data.add_(gradient.to(parameter.dtype), alpha=-step)
        else:  # a gradient so small that its inverse leaves the numbers
            parameter.data.sub_(gradient.to(parameter.dtype) / peak, alpha=STEP * _scale(parameter))


def _scale(parameter: Tensor) -> float:
    _, size = peak_and_rms(torch.view_as_real(parameter.detach()) if parameter.is_complex() else parameter.detach())
    if size > 0:
        return min(size, 1.0)
    fan_in = parameter.numel() / parameter.shape[0] if parameter.ndim > 1 else 1.0
    return 1 / math.sqrt(max(fan_in, 1.0))
