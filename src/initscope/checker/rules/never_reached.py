"""INI202: parameters that no gradient reaches."""

from __future__ import annotations

from collections.abc import Iterator

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.cuts import Cut, cut_of
from initscope.checker.instruments.naming import counted, differing
from initscope.checker.instruments.symmetry import fingerprint
from initscope.checker.instruments.trace import Trace
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding


@register
class NeverReached(Rule):
    """Finds parameters that the loss depends on and that no gradient reaches, because the graph is cut on the way.

    Why it is bad
    They look trainable and stay as they were drawn, so the network trains on top of random layers, or not at all.

    Criterion
    A trainable parameter was read in the forward pass and has no gradient after the backward pass; its results flow
    into the loss, or leave torch and come back; and behind the cut the data feed layers that learn, are part of the
    answer, or nothing learns at all. The cut is the last operator whose result left the graph. It is a fact.

    When it is fine
    Targets: what is cut off is only compared with, as in momentum encoders and teachers (parameters that start as
    copies of ones that learn are left out, too). Running averages that the forward pass itself writes. Straight-through
    estimates, which have another path. Outputs that the loss does not look at.

    Example
        h = self.features(x).detach()
        return self.head(h)

    Corrected
        return self.head(self.features(x))

    Fix
    Take the cut away; where it is meant, freeze the parameters: module.requires_grad_(False).

    References
    s4 issue 26, speechbrain pull request 713, FCOS issue 217.
    """

    code = "INI202"
    name = "never-reached"
    gravest = "error"
    needs = ("capture", "gradients")
    basis = "exact"

    def judge(self, evidence: Evidence) -> Iterator[Finding]:
        """Yields one finding for each cut."""
        trace = evidence.trace
        assert isinstance(trace, Trace)
        trainable = [one for one in evidence.parameters.values() if one.trainable and not one.buffer]
        learning = frozenset(one.path for one in trainable if one.grad in ("some", "zero"))
        cuts: dict[str, tuple[Cut, list[str]]] = {}
        for facts in trainable:
            if facts.grad != "none" or not facts.used:
                continue
            cut = cut_of(trace, facts.path, learning=learning)
            if cut is not None and cut.used_on:
                cuts.setdefault(_key(cut), (cut, []))[1].append(facts.path)
        for cut, paths in cuts.values():
            if not _copies(evidence, paths, learning):
                yield self._finding(evidence, cut, paths, trainable=len(trainable), learning=len(learning))

    def _finding(self, evidence: Evidence, cut: Cut, paths: list[str], *, trainable: int, learning: int) -> Finding:
        place = cut.op.place if cut.op is not None else None
        module = f" in {cut.op.module}" if cut.op is not None and cut.op.module else ""
        line = f" (line {place.line})" if place is not None else ""
        more = "; no parameter of the model gets any" if not learning else ""
        return self.finding(
            f"no gradient reaches {counted(paths)}: {cut.how}{module}{line}, on the way from these parameters "
            f"to the loss{more}",
            where=paths,
            evidence={
                "parameters": len(paths),
                "trainable": trainable,
                "reached": learning,
                "cut": "" if cut.op is None else cut.op.name,
            },
            fix=_fix(cut, paths, line),
            location=place or evidence.locate(paths[0]),
        )


def _copies(evidence: Evidence, paths: list[str], learning: frozenset[str]) -> bool:
    """Whether every matrix among `paths` starts equal to a parameter that learns."""
    held = dict(evidence.model.named_parameters())
    matrices = [path for path in paths if held[path].ndim > 1]
    shapes = {held[path].shape for path in matrices}
    origins = {
        fingerprint(held[path])
        for path in learning
        if held[path].shape in shapes and not evidence.parameters[path].constant
    }
    return bool(matrices) and all(fingerprint(held[path]) in origins for path in matrices)


def _key(cut: Cut) -> str:
    """What one finding is about: one operator, or all that ran without gradients."""
    if cut.op is None:
        return "out of torch"
    return "no_grad" if "no_grad" in cut.how else str(cut.op.index)


def _fix(cut: Cut, paths: list[str], line: str) -> str:
    parts = {"detach": "the .detach() or .data", "alias": "the .data"}
    what = (
        parts.get(cut.op.name, "the operator that passes no gradient") if cut.op is not None else "the way out of torch"
    )
    if "no_grad" in cut.how:
        what = "the torch.no_grad() around it"
    modules = dict.fromkeys(path.rpartition(".")[0] for path in paths)
    named = "\n".join(f'model.get_submodule("{one}").requires_grad_(False)' for one in modules if one)
    return f"# take {what} away{line}; or, where it is meant:\n{named or differing(paths)[0]}"
