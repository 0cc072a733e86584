"""INI701 init-lost."""

from __future__ import annotations

from collections.abc import Iterable

from initscope.checker.evidence import Builds, Evidence, Write
from initscope.checker.instruments.naming import counted
from initscope.checker.instruments.start_cures import set_to
from initscope.checker.instruments.write_passes import Passes, Undone, law_of
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding, Location, Severity


@register
class InitLost(Rule):
    """Finds a special start of some tensors that a later, more general pass over the model has overwritten.

    Why it is bad

    Somebody wrote a line for these tensors alone: opened forget gates, zero branches, step sizes, a prior bias. The
    generic pass that runs afterwards treats them as all the others, and the line has no effect. Nothing fails; the
    network is just not the one that was meant.

    Criterion

    From the log of all writes while the factory ran. An earlier write of the user's code (not torch's defaults) was
    replaced as a whole by the last one, and a distinction went with it: among the tensors of the same kind (owner's
    class and name there) the later line wrote all that the earlier one did and more; or it is a loop over several
    kinds that took zeros, tables or a constant from one. And the start is another one: a constant or a table gave way
    to draws or to another constant, draws to a constant (error), or the standard deviation changed by a factor of 2
    and more (warning).

    When it is fine

    The generic pass first and the special write after it; layers whose own reset fills all of their class before a pass
    draws them anew; biases drawn around zero that become zero; the same law twice; a checkpoint that is loaded over
    everything; placeholders (`torch.zeros`, `torch.ones`, `torch.randn`) that a loop over all parameters fills.

    Example

        self.gates.bias.data[n:2 * n] = 1.0
        self.apply(init_weights)               # zeroes every bias of a Linear

    Corrected

        self.apply(init_weights)
        self.gates.bias.data[n:2 * n] = 1.0

    Fix

    Move the special line behind the pass, or let the pass leave marked tensors alone.

    References

    cosmos-predict2.5 pull request 15, LAVT-RIS issue 15, transformers issues 42418, 17370, 46620, mad-lab issue 3,
    zoology issue 32, CCViM issue 6, fastai pull request 2090, mflux issue 739.
    """

    code = "INI701"
    name = "init-lost"
    gravest = "error"
    needs = ("builds",)
    basis = "exact"

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for each pair of lines of which the later undid the earlier."""
        assert isinstance(evidence.builds, Builds)
        passes = Passes(builds=evidence.builds, model=evidence.model, facts=evidence.parameters)
        found: dict[tuple[tuple[str, ...], tuple[str, ...]], list[Undone]] = {}
        for one in passes.undone():
            lost = _same_kind_lost(passes, one) or _one_kind_of_many(passes, one)
            if lost and not _is_load(one.late, passes, one.late_line):
                found.setdefault((one.early_line, one.late_line), []).append(one)
        for group in found.values():
            yield self._told(evidence, group)

    def _told(self, evidence: Evidence, group: list[Undone]) -> Finding:
        first = group[0]
        paths = list(dict.fromkeys(one.path for one in group))
        early, late = first.early, first.late
        verb = "were" if len(paths) > 1 else "was"
        kept = "part of " if not early.whole else ""
        mild = law_of(early) == "random" and law_of(late) == "random"
        severity: Severity = "warn" if mild else "error"
        return self.finding(
            f"{kept}{counted(paths)} {verb} set to {_words(early)} at {_line(early.location)}, and overwritten by "
            f"{_words(late)} at "
            f"{_line(late.location)}, which treats {'it' if len(paths) == 1 else 'them'} like "
            f"{counted(first.others, most=2)}: the first start is lost",
            where=paths,
            evidence={
                "tensors": len(paths),
                "early_mean": early.mean,
                "early_std": early.std,
                "late_mean": late.mean,
                "late_std": late.std,
                "early_line": _line(early.location),
                "late_line": _line(late.location),
                "overwritten_with_it": len(first.others),
            },
            fix=_fix(paths, early, late),
            severity=severity,
            location=early.location,
        )


def _same_kind_lost(passes: Passes, one: Undone) -> bool:
    """Whether the late line wrote all that the early one did of some kind of this tensor, and more of it."""
    early, late = passes.covered(one.early_line), passes.covered(one.late_line)
    names = [path for path in one.late.tensors if path in early]
    for name in names:
        kind = passes.kind(name)
        mine = {path for path in early if passes.kind(path) == kind}
        theirs = {path for path in late if passes.kind(path) == kind}
        if mine < theirs:
            return True
    return False


def _one_kind_of_many(passes: Passes, one: Undone) -> bool:
    """Whether a loop over several kinds of tensors took away zeros, a table or a constant that somebody wrote into "
    "one kind."""
    early, late = passes.covered(one.early_line), passes.covered(one.late_line)
    if not early < late or len({passes.kind(path) for path in late}) < 2:
        return False
    law = law_of(one.early)
    if law == "random":
        return abs(one.early.mean) > one.early.std and law_of(one.late) == "constant"
    if law == "constant" and one.early.mean in (0.0, 1.0):
        return one.early.op.endswith("_")
    return law in ("constant", "shaped")


def _is_load(late: Write, passes: Passes, line: tuple[str, ...]) -> bool:
    """Whether the late write copies stored values: a checkpoint, or another model."""
    if late.op not in ("copy_", "clone", "_to_copy"):
        return False
    return not late.random or len({passes.kind(path)[1] for path in passes.covered(line)}) > 1


def _words(write: Write) -> str:
    law = law_of(write)
    if law == "constant":
        return f"{write.mean:.4g}"
    if law == "shaped":
        return f"given values (mean {write.mean:.3g}, std {write.std:.3g})"
    return f"draws of std {write.std:.3g}" + (f" around {write.mean:.3g}" if abs(write.mean) > write.std else "")


def _line(location: Location | None) -> str:
    return "torch's own code" if location is None else f"{location.file.rpartition('/')[2]}:{location.line}"


def _fix(paths: list[str], early: Write, late: Write) -> str:
    after = f"run {_line(early.location)} after {_line(late.location)}"
    law = law_of(early)
    if not early.whole or law == "shaped" or (law == "random" and abs(early.mean) > early.std):
        return f"{after}, or let the pass skip {counted(paths)}"
    if law == "constant":
        return f"{after}: " + "; ".join(set_to(path, value=early.mean) for path in paths[:8])
    return f"{after}: " + "; ".join(
        f'nn.init.normal_(model.get_parameter("{path}"), std={early.std:.3g})' for path in paths[:8]
    )
