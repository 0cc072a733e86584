"""INI601 uninitialised."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod

from initscope.checker.evidence import Builds, Evidence, ParameterFacts
from initscope.checker.instruments.naming import counted
from initscope.checker.instruments.start_cures import starting_cure
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding


@register
class Uninitialised(Rule):
    """Finds parameters, and buffers that the network reads, whose memory was never written.

    Why it is bad

    `torch.empty` and `torch.Tensor(n, m)` hand out memory as it was left: zeros on one machine, NaN or 1e30 on the
    next, another model's weights on a third. The network trains or not by chance, and no seed repeats it.

    Criterion

    The factory is called once more under the same seed with all fresh memory filled (NaN for floating types, the
    maximum for integers). Entries that hold the filling there, and something else in the first build, were never
    written: an exact fact. Buffers count only where filling them changes the output. Where the factory cannot be
    called again, a tensor that was made during the build and into which no operator wrote is reported as a warning.

    When it is fine

    Parameters that a checkpoint fills later, and that never train from this start: allow the rule with that reason. A
    parameter that the forward pass does not read is mentioned at level info.

    Example

        self.transitions = nn.Parameter(torch.empty(labels, labels))

    Corrected

        self.transitions = nn.Parameter(torch.empty(labels, labels))
        nn.init.uniform_(self.transitions, -0.1, 0.1)

    Fix

    Write every entry: in the constructor, or in the init function that other layers go through.

    References

    pytorch-crf issue 1, STALE issue 16, CLIP issue 15, flame issue 9, transformers pull request 44575, llm-foundry pull
    request 1745, nanochat pull request 686.
    """

    code = "INI601"
    name = "uninitialised"
    gravest = "error"
    needs = ("builds",)
    basis = "exact"

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for what is read, and one for what is not."""
        builds = evidence.builds
        assert isinstance(builds, Builds)
        if not builds.poisoned:
            yield from self._untouched(evidence, builds)
            return
        shares = {path: share for path, share in builds.unwritten.items() if path in evidence.parameters}
        facts = [evidence.parameters[path] for path in shares]
        read = [one for one in facts if (one.path in builds.unwritten_read if one.buffer else one.used is not False)]
        unread = [one for one in facts if not one.buffer and one.used is False]
        if read:
            yield self._told(evidence, read, shares)
        if unread:
            yield self.finding(
                f"{counted([one.path for one in unread])} hold memory that was never written, and the forward pass "
                "does not read "
                "them: fine until something does",
                where=[one.path for one in unread],
                evidence={"tensors": len(unread), "largest_share": max(shares[one.path] for one in unread)},
                fix=starting_cure(unread[:8]),
                severity="info",
                location=evidence.locate(unread[0].path),
            )

    def _told(self, evidence: Evidence, read: list[ParameterFacts], shares: dict[str, float]) -> Finding:
        worst = sorted(read, key=lambda one: (one.buffer, -shares[one.path]))
        first, share = worst[0], shares[worst[0].path]
        part = "every entry" if share == 1 else f"{share:.3g} of the entries"
        more = f" (so do {len(worst) - 1} more tensors)" if len(worst) > 1 else ""
        return self.finding(
            f"{part} of {first.path} {list(first.shape)} keeps whatever was in memory: nothing was ever written "
            f"there{more}, "
            "so the network starts, and may fail, differently on every machine",
            where=[one.path for one in worst],
            evidence={"tensors": len(worst), "share": share, "entries": round(share * prod(first.shape))},
            fix=starting_cure(worst[:8]),
            location=evidence.locate(first.path),
        )

    def _untouched(self, evidence: Evidence, builds: Builds) -> Iterator[Finding]:
        """What the log of one build alone shows."""
        written = {path for write in builds.writes for path in write.tensors}
        found = [
            one
            for path, one in evidence.parameters.items()
            if path in builds.born
            and path not in written
            and not one.buffer
            and one.used is not False
            and all(one.shape)
        ]
        if found:
            yield self.finding(
                f"{counted([one.path for one in found])} were made without values and no operator wrote into them "
                "while the factory "
                "ran (it could not be called again for proof)",
                where=[one.path for one in found],
                evidence={"tensors": len(found), "second_build": str(getattr(builds.poisoned, "reason", ""))},
                fix=starting_cure(found[:8]),
                severity="warn",
                confidence="the log of one build",
                location=evidence.locate(found[0].path),
            )
