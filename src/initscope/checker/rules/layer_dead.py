"""INI401 layer-dead."""

from __future__ import annotations

from collections.abc import Iterable

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.activity import RECTIFIERS
from initscope.checker.instruments.graph import descendants
from initscope.checker.instruments.pre_activations import (
    Activated,
    activated,
    after_probe,
    call_text,
    measured,
    off_units,
    start_entries,
    vectors,
)
from initscope.checker.instruments.trace import Trace
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding, Severity

LEAST_ROWS = 8
NAN = float("nan")


@register
class LayerDead(Rule):
    """Finds rectified layers in which every unit is off for every sample of the batch.

    Why it is bad

    A rectifier that is off has slope zero: nothing reaches what follows, and no gradient reaches what stands before. A
    layer that is off as a whole stays so, however long the training; on the output it predicts one number for ever.

    Criterion

    Every unit of a ReLU, clamp, threshold, ReLU6 or hard function stands on a flat piece for all samples and positions
    of the batch, at the start and again after the steps of the escape probe: a fact. Calls of one layer are taken
    together (steps of a recurrence, shared layers). A warning for fewer than three units, and where no probe could be
    run. Sound networks have 60 % of a layer off at most, these 100 %.

    When it is fine

    Experts that saw fewer than eight rows, clamps in front of which no layer stands (free bits, numerical guards), cuts
    behind which no gradient flows. A single unit that is off is nothing; many of them: dead-units.

    Example

        nn.init.uniform_(net[0].weight, -0.2, 0.0)    # inputs in 0 ... 1: every pre-activation is negative

    Corrected

        nn.init.kaiming_normal_(net[0].weight, nonlinearity="relu")

    Fix

    Weights around zero and biases of zero; on an output no rectifier, or a softplus.

    References

    Reports: ProteomicsML #203, population_estimation #68, 3D-RecGAN #6, keras #3687, stats.SE 450100.
    """

    code = "INI401"
    name = "layer-dead"
    gravest = "error"
    needs = ("capture", "gradients")
    basis = "exact"
    requires = ("non-finite", "uninitialised")
    data_dependent = True

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for all layers that are off: the first that are not fed by another one lead."""
        trace = evidence.trace
        assert isinstance(trace, Trace)
        dead = [group for group in activated(trace, RECTIFIERS) if _all_off(group)]
        after = after_probe(evidence)
        if after is not None:
            still = {one.key for one in activated(after, RECTIFIERS) if _all_off(one)}
            dead = [group for group in dead if group.key in still]
        behind: frozenset[int] = frozenset()
        for group in dead:
            results = [op.result for op in group.ops]
            if not behind.intersection(results):
                yield self._finding(evidence, trace, group, consequences=_fed_by(trace, group, dead))
                behind |= descendants(trace, results)

    def _finding(self, evidence: Evidence, trace: Trace, group: Activated, *, consequences: int) -> Finding:
        moments = [one for op in group.ops if (one := measured(trace, trace.data_operands(op)[0])) is not None]
        high, low = max((one.high for one in moments), default=NAN), min((one.low for one in moments), default=NAN)
        biases = vectors(evidence, group.fed)
        severity: Severity = "error" if group.units >= 3 and after_probe(evidence) is not None else "warn"
        final = _ends_in_output(trace, group)
        more = f"; so are {consequences} rectified layers behind it" if consequences else ""
        path = group.fed.weights[0]
        return self.finding(
            f"all {group.units} units behind {group.where[0]} are off for all {group.rows} rows of the batch: "
            f"what {group.name} reads lies between {low:.3g} and {high:.3g}, on its flat part, and no gradient passes"
            f"{': the output is one constant for ever' if final else ''}{more}",
            where=group.where,
            evidence={
                "units": group.units,
                "off": group.units,
                "rows": group.rows,
                "low": low,
                "high": high,
                "mean": sum(one.mean for one in moments) / max(len(moments), 1),
                "bias_low": min((one.low for one in biases), default=None),
                "bias_high": max((one.high for one in biases), default=None),
                "consequences": consequences,
            },
            fix=_fix(evidence, group, final=final),
            severity=severity,
            location=evidence.locate(path),
        )


def _all_off(group: Activated) -> bool:
    off = off_units(group)
    return group.rows >= LEAST_ROWS and len(off) > 0 and bool(off.all())


def _fed_by(trace: Trace, group: Activated, dead: Iterable[Activated]) -> int:
    behind = descendants(trace, [op.result for op in group.ops])
    return sum(1 for one in dead if one is not group and behind.intersection(op.result for op in one.ops))


def _ends_in_output(trace: Trace, group: Activated) -> bool:
    waiting = [op.result for op in group.ops]
    while waiting:
        index = waiting.pop()
        if trace.values[index].output:
            return True
        readers = [trace.ops[number] for number in trace.consumers[index]]
        waiting += [op.result for op in readers if op.kind in ("view", "copy", "scale")]
    return False


def _fix(evidence: Evidence, group: Activated, *, final: bool) -> str:
    call = call_text(start_entries(evidence, group))
    if not final:
        return call
    return f"{call}  # and drop the {group.name} on the output, or put F.softplus in its place"
