"""INI602 non-finite."""

from __future__ import annotations

import math
from collections.abc import Iterable

from initscope.checker.evidence import Absent, Evidence, ParameterFacts
from initscope.checker.instruments.naming import counted
from initscope.checker.instruments.nonfinite import Origin, backward_origin, bad_parameters, forward_origin, has_nan
from initscope.checker.instruments.start_cures import starting_cure
from initscope.checker.instruments.trace import Op, Trace
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding

CURES = {
    "log": "clamp the argument first: torch.log(x.clamp_min(1e-8))",
    "sqrt": "add a small number under the root: torch.sqrt(x + 1e-8); its slope at 0 is infinite",
    "rsqrt": "add a small number under the root: torch.rsqrt(x + 1e-6)",
    "div": "keep the divisor away from zero: x / y.clamp_min(1e-6)",
    "reciprocal": "keep the divisor away from zero: 1 / y.clamp_min(1e-6)",
    "exp": "subtract the maximum first (torch.softmax, torch.logsumexp), bound the argument, or start the layer before "
    "it smaller",
    "pow": "keep the base away from zero, or the exponent small",
    "_softmax": "let every row see at least one key: a row of -inf alone has no softmax",
    "_safe_softmax": "let every row see at least one key",
    "_log_softmax": "let every row keep at least one finite score",
    "linalg_vector_norm": "add a small number: torch.sqrt(x.square().sum(-1) + 1e-8); a norm has no slope at 0",
    "norm": "add a small number: torch.sqrt(x.square().sum(-1) + 1e-8); a norm has no slope at 0",
}


@register
class NonFinite(Rule):
    """Finds NaN and infinity: in parameters, in the loss, in outputs or in gradients, and names what made them.

    Why it is bad

    One NaN in the loss makes every weight NaN in the first step, and nothing brings them back.

    Criterion

    Exact. A parameter that holds NaN or infinity; a loss that is not finite; NaN in an output where no loss was
    given; a parameter's gradient that is not finite. Of a loss or an output the operators are followed back to the
    first that made such a number out of finite ones, with the range of what it was given.

    When it is fine

    Infinity that never reaches the loss: masks of -inf before a softmax, log of masked zeros that are not selected,
    -inf in buffers and frozen parameters, -inf among the outputs. On made-up inputs what the forward pass shows is a
    warning. A trainable -inf whose loss and gradients are
    finite is a warning.

    Example

        A_log = torch.log(torch.arange(n))          # log(0)

    Corrected

        A_log = torch.log(torch.arange(1, n + 1))

    Fix

    At the operator named: bound its argument, add an epsilon, unmask one entry of each row.

    References

    STALE issue 16, transformers issue 12225, DeepSpeed issue 697.
    """

    code = "INI602"
    name = "non-finite"
    gravest = "error"
    basis = "exact"
    requires = ("uninitialised", "dtype-headroom")

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields the first that applies: parameters, the loss or an output, gradients."""
        trace = evidence.trace
        bad = bad_parameters(dict(evidence.parameters))
        if bad:
            yield self._parameters(evidence, bad)
            return
        if not isinstance(trace, Trace):
            return
        target = self._target(evidence, trace)
        if target is not None:
            yield self._forward(evidence, trace, target)
            return
        wrong = [
            one
            for one in evidence.parameters.values()
            if one.grad == "some" and not (math.isfinite(one.grad_max) and math.isfinite(one.grad_rms))
        ]
        if wrong and evidence.user_loss:
            yield self._gradients(evidence, trace, wrong)

    def silenced_by(self, finding: Finding, cause: Finding) -> bool:
        """Too little headroom explains what is not finite where a number left the range."""
        return cause.name != "dtype-headroom" or cause.evidence.get("overflow") is True

    @staticmethod
    def _target(evidence: Evidence, trace: Trace) -> int | None:
        """The value that should be finite and is not: the loss, or an output with NaN where there is none."""
        if evidence.user_loss:
            loss = evidence.loss
            return None if isinstance(loss, Absent) or math.isfinite(loss) else trace.loss
        return next((index for index in trace.outputs if has_nan(trace.values[index].forward)), None)

    def _parameters(self, evidence: Evidence, bad: list[ParameterFacts]) -> Finding:
        first = bad[0]
        loss = evidence.loss
        sound = (
            isinstance(loss, float)
            and math.isfinite(loss)
            and all(math.isfinite(one.grad_max) for one in bad if one.grad == "some")
        )
        mild = sound and all(one.high < math.inf and not math.isnan(one.low) for one in bad)
        held = "NaN" if math.isnan(first.low) else "-inf" if first.high < math.inf else "inf"
        more = f", as do {len(bad) - 1} more parameters" if len(bad) > 1 else ""
        return self.finding(
            f"{first.path} starts with {held} among its {list(first.shape)} entries{more}: "
            + ("no gradient step changes an infinite entry" if mild else "whatever it touches is no number any more"),
            where=[one.path for one in bad],
            evidence={"tensors": len(bad), "value": held, "loss": None if isinstance(loss, Absent) else loss},
            fix=starting_cure(bad[:8]),
            severity="warn" if mild else "error",
            location=evidence.locate(first.path),
        )

    def _forward(self, evidence: Evidence, trace: Trace, target: int) -> Finding:
        origin = forward_origin(trace, target)
        what = f"the loss is {evidence.loss}" if evidence.user_loss else "an output holds NaN"
        if origin is None:
            return self.finding(
                f"{what}, and no recorded operator made it out of finite numbers: look at the inputs and the constants",
                where=[f"({type(evidence.model).__name__})"],
                evidence={"loss": _number(evidence)},
                fix="check the inputs and masks for NaN",
            )
        return self.finding(
            f"{what}: the first operator that makes {'NaN' if origin.nan else 'infinity'}, {origin.op.name} in "
            f"{_place(evidence, origin.op)}, "
            f"is given {_range(origin)} ({origin.dtype})",
            where=_where(evidence, origin.op),
            evidence={
                "loss": _number(evidence),
                "operator": origin.op.name,
                "given_low": origin.low,
                "given_high": origin.high,
                "dtype": origin.dtype,
                "nan": origin.nan,
            },
            fix=CURES.get(
                origin.op.name,
                "bound what this operator is given: smaller weights before it, a normalisation, or float32",
            ),
            severity="warn" if evidence.synthetic else "error",
            location=origin.op.place or evidence.locate(_where(evidence, origin.op)[0]),
        )

    def _gradients(self, evidence: Evidence, trace: Trace, wrong: list[ParameterFacts]) -> Finding:
        op = backward_origin(trace)
        where = [*([] if op is None else _where(evidence, op)), *(one.path for one in wrong)]
        made = (
            "" if op is None else f"; the first slope that is not finite is that of {op.name} in {_place(evidence, op)}"
        )
        return self.finding(
            f"the loss is finite, but the gradients of {counted([one.path for one in wrong])} are not{made}: the first "
            "step makes "
            "these weights NaN",
            where=list(dict.fromkeys(where))[:9],
            evidence={"tensors": len(wrong), "loss": _number(evidence), "operator": "" if op is None else op.name},
            fix=CURES.get(
                "" if op is None else op.name,
                "keep the argument away from where the slope is infinite: add a small number",
            ),
            severity="warn" if evidence.synthetic else "error",
            location=(op.place if op is not None else None) or evidence.locate(wrong[0].path),
        )


def _where(evidence: Evidence, op: Op) -> list[str]:
    named = [one for one in (op.module, op.weight) if one]
    return named or [f"({type(evidence.model).__name__})"]


def _place(evidence: Evidence, op: Op) -> str:
    if op.in_loss and not op.module:
        return "the loss"
    return op.module or type(evidence.model).__name__


def _range(origin: Origin) -> str:
    if origin.given_infinite or math.isnan(origin.low):
        return "rows of -inf alone" if origin.op.name.endswith("softmax") else "infinite values"
    return f"values from {origin.low + 0.0:.3g} to {origin.high + 0.0:.3g}"


def _number(evidence: Evidence) -> float | None:
    return None if isinstance(evidence.loss, Absent) else float(evidence.loss)
