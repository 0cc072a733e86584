"""INI403 saturated."""

from __future__ import annotations

from collections.abc import Iterable
from math import log10, prod

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.attention import Choice, choices
from initscope.checker.instruments.pre_activations import (
    Activated,
    activated,
    call_text,
    data_part,
    measured,
    start_entries,
)
from initscope.checker.instruments.trace import Op, Trace
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding

FLAT_FROM = {"sigmoid": 4.36, "tanh": 2.18}
"""Where the slope of these functions is 5 % of its maximum."""

WARN, ERROR = 0.5, 0.85
PEAK, ENTROPY, SCORES = 0.8, 0.2, 6.0


@register
class Saturated(Rule):
    """Finds sigmoids, tanhs and attention that start where their slope has gone.

    Why it is bad

    A sigmoid at 0 or 1, a tanh at -1 or 1 and a softmax that gives one key everything pass no gradient: the layers
    before them learn slowly or not at all, and what they chose was decided by chance.

    Criterion

    Sigmoid and tanh: the share of outputs at which the slope is below 5 % of its maximum, over all calls of one layer;
    a warning from 50 %, an error from 85 %, and only where weights and data put them there: without the biases, the
    root mean square of what goes in must still lie on the flat part. Sound networks of the calibration have 28 % at
    most, broken ones 70 to 100 %. Softmax inside the network over four keys and more: a mean largest share above 0.8,
    an entropy below a fifth of ln(keys), and scores (before masks, biases and noise) of deviation above 6; never an
    error. Sound ones have scores of deviation 4.3 at most (and a share of 0.76), broken ones 8 and more.

    When it is fine

    Gates with a deliberate bias, class priors, hard masks and padding, relative positions, Gumbel noise, cosine
    attention with a learned temperature, what the model returns.

    Example

        weights = torch.softmax(q @ k.transpose(-2, -1), dim=-1)

    Corrected

        weights = torch.softmax(q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5, dim=-1)

    Fix

    Scaled inputs, weights of gain one, scores divided by sqrt(d).

    References

    Glorot and Bengio, AISTATS 2010; Vaswani et al., 2017. Reports: makeyourownneuralnetwork 2015, SO 13632976,
    tiny-transformers #71, mlc-llm #3426, cntkx #10, maxtext #1370.
    """

    code = "INI403"
    name = "saturated"
    gravest = "error"
    needs = ("capture",)
    basis = "ratio"
    requires = ("non-finite", "uninitialised", "residual-unscaled", "signal-grows")
    data_dependent = True

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for all functions with two flat ends, and one for all softmaxes, that are saturated."""
        trace = evidence.trace
        assert isinstance(trace, Trace)
        flat = [
            group
            for group in activated(trace, FLAT_FROM)
            if _share(trace, group) >= WARN and data_part(evidence, group) >= FLAT_FROM[group.name]
        ]
        if flat:
            yield self._flat(evidence, trace, flat)
        peaked = [choice for choice in choices(trace) if _one_sided(choice)]
        if peaked:
            yield self._peaked(evidence, trace, peaked)

    def _flat(self, evidence: Evidence, trace: Trace, groups: list[Activated]) -> Finding:
        first = groups[0]
        share, size, read = _share(trace, first), data_part(evidence, first), _input_size(trace, first)
        highest = max(_share(trace, group) for group in groups)
        more = f"; so are {len(groups) - 1} more" if len(groups) > 1 else ""
        entries: dict[str, str] = {}
        for group in groups:
            entries |= start_entries(
                evidence, group, weights="lecun_normal" if group.name == "tanh" else "xavier_normal"
            )
        fix = call_text(entries)
        if read > 5:
            fix += f"  # and bring what {first.where[0]} reads (root mean square {read:.3g}) to about 1"
        return self.finding(
            f"{share:.0%} of the {first.name} outputs behind {first.where[0]} have a slope below 5 % of the maximum: "
            f"what goes in has a root mean square of {size:.3g} without its bias, where about 1 is wanted{more}",
            where=dict.fromkeys(path for group in groups for path in group.where),
            evidence={
                "share": round(share, 4),
                "highest_share": round(highest, 4),
                "pre_activation_rms": size,
                "input_rms": read,
                "flat_from": FLAT_FROM[first.name],
                "layers": len(groups),
                "margin_log10": round(log10(highest / WARN), 4),
            },
            fix=fix,
            severity="error" if highest >= ERROR else "warn",
            confidence=f"{highest:.0%} saturated, sound networks 28 % at most",
            location=evidence.locate(first.fed.weights[0]),
        )

    def _peaked(self, evidence: Evidence, trace: Trace, found: list[Choice]) -> Finding:
        first = found[0]
        activity, product = first.op.activity, first.product
        assert activity is not None
        width = _summed(trace, product)
        fix = f"divide the scores in front of the softmax by {first.std:.3g}"
        if product.kind == "matmul":
            fix = f"scores = q @ k.transpose(-2, -1) / {width} ** 0.5, queries and keys of deviation 1 each"
        where = tuple(dict.fromkeys(path for choice in found for path in _places(trace, choice)))
        more = f"; so do {len(found) - 1} more" if len(found) > 1 else ""
        return self.finding(
            f"the softmax at {where[0]} gives one of {activity.keys} keys {activity.peak:.0%} on average (entropy "
            f"{activity.entropy:.2g} of its maximum): its scores have a deviation of {first.std:.3g}, "
            f"where 1 is wanted{more}",
            where=where,
            evidence={
                "peak": activity.peak,
                "entropy": activity.entropy,
                "keys": activity.keys,
                "score_std": first.std,
                "width": width,
                "softmaxes": len(found),
                "margin_log10": round(log10(first.std / SCORES), 4),
            },
            fix=fix,
            severity="warn",
            confidence=f"scores of deviation {first.std:.3g}, sound ones 4.3 at most",
            location=first.op.place or evidence.locate(where[0]),
        )

    def silenced_by(self, finding: Finding, cause: Finding) -> bool:
        """An error on the way of the signal explains a saturation in its wake."""
        return cause.severity == "error"


def _share(trace: Trace, group: Activated) -> float:
    sizes = [
        (prod(trace.values[op.result].shape), op.activity.saturated) for op in group.ops if op.activity is not None
    ]
    return sum(size * share for size, share in sizes) / max(sum(size for size, _ in sizes), 1)


def _input_size(trace: Trace, group: Activated) -> float:
    """The largest root mean square of what the group's layers read."""
    layers = [op for op in trace.forward_ops("linear") if op.weight in group.fed.weights]
    found = (measured(trace, index) for op in layers for index in trace.data_operands(op))
    return max((moments.rms for moments in found if moments is not None), default=float("nan"))


def _one_sided(choice: Choice) -> bool:
    activity = choice.op.activity
    assert activity is not None
    return activity.peak >= PEAK and activity.entropy <= ENTROPY and choice.std >= SCORES and not choice.learned


def _places(trace: Trace, choice: Choice) -> tuple[str, ...]:
    if choice.product.weight:
        return (choice.product.weight.rpartition(".")[0] or choice.product.weight,)
    behind = [_nearest_weight(trace, index) for index in choice.product.operands]
    paths = [path.rpartition(".")[0] or path for path in behind if path]
    return tuple(dict.fromkeys([*([choice.op.module] if choice.op.module else []), *paths])) or ("(softmax)",)


def _nearest_weight(trace: Trace, value: int) -> str:
    op: Op | None = trace.producer(value)
    while op is not None and op.kind != "linear" and trace.data_operands(op):
        op = trace.producer(trace.data_operands(op)[0])
    return op.weight if op is not None else ""


def _summed(trace: Trace, product: Op) -> int:
    """The number of terms in each score: the last axis of the first factor."""
    data = trace.data_operands(product)
    shape = trace.values[data[0]].shape if data else ()
    return shape[-1] if shape else 1
