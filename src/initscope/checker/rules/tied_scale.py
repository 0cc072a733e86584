"""INI504 tied-scale."""

from __future__ import annotations

from collections.abc import Iterable
from math import log, log10, sqrt

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.graph import layers
from initscope.checker.instruments.pre_activations import measured
from initscope.checker.instruments.trace import Trace
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding

WARN, ERROR = 2.5, 5.0


@register
class TiedScale(Rule):
    """Finds an embedding shared with the output whose entries are so large that the logits are far above one.

    Why it is bad

    An embedding may have any scale, an output may not: with entries of deviation 1 and width d the logits have a
    deviation of sqrt(d), and the first loss is hundreds of nats. The same matrix cannot serve both unless it is
    rescaled.

    Criterion

    A fact: one parameter is read by a lookup and by a product with data whose result is among the outputs; and a
    measure: these logits, all scales included, have a deviation above 2.5 (an error from 5; the loss exceeds chance by
    half its square). Sound networks of the calibration have 1.2 at most, broken ones 3.2 to 11.

    When it is fine

    A table of std d^-0.5 or 0.02, also with the embedding multiplied by sqrt(d) or the logits divided by it.

    Example

        self.out.weight = self.embed.weight    # nn.Embedding starts at std 1

    Corrected

        nn.init.normal_(self.embed.weight, std=self.embed.embedding_dim ** -0.5)

    Fix

    A smaller table, or logits divided by sqrt(d).

    References

    Press and Wolf, 2017. Reports: torchtitan #2342, fastai #2090.
    """

    code = "INI504"
    name = "tied-scale"
    gravest = "error"
    needs = ("capture",)
    basis = "ratio"
    requires = ("non-finite", "uninitialised", "signal-grows", "residual-unscaled")

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for each table that serves as output too and is too large for it."""
        trace = evidence.trace
        assert isinstance(trace, Trace)
        tables = {op.weight for op in trace.forward_ops("lookup")}
        seen = set()
        for layer in layers(trace):
            facts = evidence.parameters.get(layer.weight)
            if layer.weight not in tables or layer.weight in seen or facts is None or len(facts.shape) != 2:
                continue
            answer = _answer(trace, layer.value)
            moments = None if answer is None else measured(trace, answer)
            if moments is None or not moments.finite or not moments.std > WARN:
                continue
            seen.add(layer.weight)
            yield self._finding(evidence, layer.weight, spread=moments.std)

    def _finding(self, evidence: Evidence, path: str, *, spread: float) -> Finding:
        facts = evidence.parameters[path]
        vocabulary, width = facts.shape
        wanted = min(facts.std / spread, 1 / sqrt(width))
        return self.finding(
            f"{path} is both embedding and output, and its std of {facts.std:.3g} gives logits "
            f"of deviation {spread:.3g}, where 1 is wanted: the loss starts about "
            f"{spread**2 / 2:.3g} nats above ln {vocabulary} = {log(vocabulary):.3g}",
            where=(path, *facts.tied),
            evidence={
                "std": facts.std,
                "logit_std": spread,
                "ln_vocabulary": log(vocabulary),
                "width": width,
                "margin_log10": round(log10(spread / WARN), 4),
            },
            fix=f'initscope.initialize(model, {{"{path}": "normal(std={wanted:.3g})"}})'
            f"  # or divide the logits by {spread:.3g}",
            severity="error" if spread > ERROR else "warn",
            confidence=f"logits of deviation {spread:.3g}, sound networks 1.2 at most",
            location=evidence.locate(path),
        )

    def silenced_by(self, finding: Finding, cause: Finding) -> bool:
        """A table that was never written and a stream that explodes explain any scale."""
        return cause.severity == "error"


def _answer(trace: Trace, value: int) -> int | None:
    """The output that a layer's result becomes through scales and shapes, None where it is none."""
    waiting = [value]
    while waiting:
        index = waiting.pop()
        if trace.values[index].output:
            return index
        for number in trace.consumers[index]:
            op = trace.ops[number]
            if op.in_loss or op.name in ("_log_softmax", "log_softmax"):
                return index
            if op.kind in ("view", "copy", "scale", "gain", "bias") or op.name == "tanh":
                waiting += op.results
    return None
