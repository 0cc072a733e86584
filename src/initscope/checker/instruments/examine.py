"""Everything that can be measured of one network, in one visit that leaves no trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from initscope.base.errors import UsageError
from initscope.checker.evidence import Absent, Builds, Chance, Escape, Evidence, LossKind, ParameterFacts
from initscope.checker.instruments.capture import run_captured
from initscope.checker.instruments.chance import measure_chance
from initscope.checker.instruments.chance_inner import inner_chance
from initscope.checker.instruments.escape import EscapeProbe
from initscope.checker.instruments.facts import parameter_facts, with_gradients
from initscope.checker.instruments.loss_kinds import recognised
from initscope.checker.instruments.recording import Recording
from initscope.checker.instruments.refusals import refused
from initscope.checker.instruments.subject import Subject
from initscope.checker.instruments.trace import Trace
from initscope.checker.instruments.undisturbed import undisturbed
from initscope.modules.generators import seeded_generators
from initscope.records.finding import Location


def examine(
    subject: Subject,
    *,
    builds: Builds | Absent,
    locate: Callable[[str], Location | None],
    wanted: frozenset[str] = frozenset(),
) -> Evidence:
    """Returns all that the instruments measure of `subject`; the model is afterwards as it was, to the bit.

    `wanted` are the needs of the rules that will read it ("escape", "chance"); what no rule needs is not measured.

    Raises: UsageError where the model cannot be run on its inputs or the loss is none, with the user's own traceback.
    """
    visit = _Visit(subject, wanted or frozenset({"escape", "chance"}))
    with undisturbed(subject.model, seed=subject.seed):
        Subject.as_training(subject.model)
        visit.run()
    return visit.evidence(builds, locate)


class _Visit:
    """The measurements of one visit, filled in by `run`."""

    def __init__(self, subject: Subject, wanted: frozenset[str]) -> None:
        self.subject, self.wanted = subject, wanted
        nothing = Absent(reason="the model has no trainable parameter")
        self.facts: Mapping[str, ParameterFacts] = {}
        self.trace: Trace | Absent = Absent(reason="the forward pass was not run")
        self.loss: float | Absent = Absent(reason="there is no loss")
        self.kind: LossKind = "other"
        self.gradients: bool | Absent = nothing
        self.escape: Escape | Absent = Absent(reason="there are no gradients")
        self.chance: Chance | Absent = Absent(reason="there is no loss")

    def run(self) -> None:
        """Measures; the guard stands around it."""
        subject = self.subject
        self.facts = parameter_facts(subject.model)
        if any(parameter.is_meta for parameter in subject.model.parameters()):
            self.trace = Absent(reason="the model lies on the meta device: it has shapes but no values")
            self.gradients = self.escape = self.chance = self.loss = self.trace
            return
        recording = Recording.of(subject.model, batch=subject.batch)
        output = self._captured(recording)
        self.trace = recording.trace()
        self.facts = with_gradients(self.facts, subject.model, self.trace.used_parameters)
        if subject.loss_of is None or recording.stage == "loss":
            return
        self.loss = recording.loss_value
        self.kind = recognised(self.trace) if subject.user_loss else "stand-in"
        probe = self._probe_begun()
        if "chance" in self.wanted:
            self.chance = measure_chance(output, subject.loss_of, self.kind, subject.targets)
            if not self.chance and self.kind == "cross_entropy":
                self.chance = inner_chance(self.trace) or self.chance
        del recording, output  # as large as the gradients where there are many classes
        if probe is not None:
            self._probe_ended(probe)

    def _captured(self, recording: Recording) -> Any:
        """The recorded pass; a backward pass that fails leaves what the forward pass showed."""
        subject = self.subject
        trainable = any(parameter.requires_grad for parameter in subject.model.parameters())
        try:
            with seeded_generators(subject.seed):
                output = run_captured(
                    subject.model, lambda: subject.call(recording), subject.loss_of, recording, backward=trainable
                )
        except UsageError:
            raise
        except SystemExit as error:
            raise UsageError(
                "the model ended the program in its forward pass", value=f"SystemExit({error.code!r})"
            ) from error
        except Exception as error:
            if recording.stage != "backward":
                raise refused(error, recording.refused) from error
            if subject.user_loss:
                self._backward_alone()
            self.gradients = Absent(
                reason=f"the backward pass raised {type(error).__name__}: {str(error).splitlines()[0]}"
            )
            return recording.output
        if subject.loss_of is not None and trainable:
            self.gradients = True
        return output

    def _backward_alone(self) -> None:
        """Raises UsageError where the backward pass fails without any instrument, too: nobody could train this."""
        try:
            with seeded_generators(self.subject.seed):
                self.subject.gradients()
        except Exception as error:
            raise refused(error, None, what="the backward pass") from error

    def _probe_begun(self) -> EscapeProbe | None:
        if not self.gradients or "escape" not in self.wanted:
            self.escape = Absent(reason=getattr(self.gradients, "reason", "no rule needs it"))
            return None
        if not isinstance(self.loss, Absent) and not math.isfinite(self.loss):
            self.escape = Absent(reason="the loss is not finite")
            return None
        probe = EscapeProbe(self.subject)
        return probe if self._may_fail(probe.begin) else None

    def _probe_ended(self, probe: EscapeProbe) -> None:
        def end() -> None:
            self.escape = probe.end()

        self._may_fail(end)

    def _may_fail(self, part: Callable[[], None]) -> bool:
        """Runs a part of the probe; what it raises is the reason why there is no answer."""
        try:
            part()
        except (RuntimeError, ValueError, NotImplementedError, TypeError) as error:
            first = str(error).splitlines()[0] if str(error) else ""
            self.escape = Absent(reason=f"a probe step raised {type(error).__name__}: {first}")
            return False
        return True

    def evidence(self, builds: Builds | Absent, locate: Callable[[str], Location | None]) -> Evidence:
        """Returns what was measured."""
        subject = self.subject
        return Evidence(
            model=subject.model,
            parameters=self.facts,
            builds=builds,
            trace=self.trace,
            loss=self.loss,
            loss_kind=self.kind,
            user_loss=subject.user_loss,
            gradients=self.gradients,
            escape=self.escape,
            chance=self.chance,
            synthetic=subject.synthetic,
            batch=subject.batch,
            inputs=subject.inputs,
            targets=subject.targets,
            seed=subject.seed,
            locate=locate,
        )
