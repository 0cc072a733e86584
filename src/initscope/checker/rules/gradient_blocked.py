"""INI201: gradients that are exactly zero and stay so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from initscope.checker.evidence import Escape, Evidence
from initscope.checker.instruments.blocking import Block, Walker, merged
from initscope.checker.instruments.naming import counted, pattern
from initscope.checker.instruments.redraw import of_matrices, redrawn
from initscope.checker.instruments.trace import Trace
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding, Number


@dataclass(frozen=True, kw_only=True, eq=False)
class Blocked:
    """Parameters that one cause blocks: `zeros` are the zero factors, `others` what lies behind them."""

    zeros: tuple[str, ...]
    others: tuple[str, ...]
    block: Block


@register
class GradientBlocked(Rule):
    """Finds parameters whose gradient is exactly zero at the start and still is after the first steps.

    Why it is bad
    Two factors that are both zero keep each other's gradient at zero: the derivative of a product a b by a is b. No
    step of any optimiser moves them, and nothing behind them learns. The same is true behind an activation whose slope
    is zero.

    Criterion
    The whole gradient of a trainable parameter is exactly zero at the start and after every step of the escape probe,
    and the operator that stops it, found by walking from the parameter toward the loss, multiplies by a parameter of
    zeros that does not move either, by the slope of an activation that is flat for every entry, by a softmax that is
    one everywhere, or normalises a single value. A gate of zeros that is no parameter (a buffer, a plain tensor) gives
    a warning. It is an exact fact, so there is no threshold.

    When it is fine
    A single zero factor leaves zero within a few steps: zero heads, zero gains beside a skip connection, ReZero, Fixup,
    LoRA, adaLN-zero, zero convolutions (see healthy-zero). Silent, too: rows and experts that the batch did not choose,
    padding, biases before a norm, a hidden-to-hidden weight that only ever sees the state of zero, masks, terms of the
    loss that are zero.

    Example
        self.gate = nn.Parameter(torch.zeros(1)); nn.init.zeros_(self.down.weight)
        return x + self.gate * self.down(h)

    Corrected
        self.gate = nn.Parameter(torch.zeros(1)); nn.init.xavier_normal_(self.down.weight)

    Fix
    Draw one of the two factors at random; keep the other at zero.

    References
    SkyRL pull request 852; relora issue 18; LAVT-RIS issue 25; deep-cross-attention issue 2; NaiveGAflux issue 39;
    cosmos-predict2.5 pull request 15.
    """

    code = "INI201"
    name = "gradient-blocked"
    gravest = "error"
    needs = ("capture", "gradients", "escape")
    basis = "exact"
    requires = ("non-finite", "uninitialised", "layer-dead")
    data_dependent = False

    def silenced_by(self, finding: Finding, cause: Finding) -> bool:
        """A dead layer explains a flat activation, not a product of zeros."""
        if cause.name in ("non-finite", "uninitialised"):
            return True
        return finding.evidence.get("zero_factors") == 0 if cause.name == "layer-dead" else False

    def judge(self, evidence: Evidence) -> Iterator[Finding]:
        """Yields one finding for each kind of blocking product."""
        blocked = blocked_parameters(evidence)
        if not blocked:
            return
        causes = list(_causes(evidence, blocked))
        same: dict[tuple[str, ...], list[Blocked]] = {}
        for cause in causes:
            key = cause.zeros or (cause.block.op.module if cause.block.op else "",)
            same.setdefault((cause.block.reason, *(pattern(path) for path in key)), []).append(cause)
        for alike in same.values():
            yield self._finding(evidence, alike)
        moving = [one for one in evidence.parameters.values() if one.grad == "some" and one.path not in blocked]
        if not causes and not moving and evidence.user_loss:
            yield self._nothing(evidence, blocked)

    def _finding(self, evidence: Evidence, alike: list[Blocked]) -> Finding:
        first, zeros = alike[0], [path for one in alike for path in one.zeros]
        others = list(dict.fromkeys(path for one in alike for path in one.others))
        escape = evidence.escape
        assert isinstance(escape, Escape)
        steps = f"at the start and after {escape.steps} probe steps"
        times = f" (and {len(alike) - 1} more like it)" if len(alike) > 1 else ""
        numbers: dict[str, Number] = {
            "blocked_parameters": len(set(zeros + others)), "zero_factors": len(zeros), "products": len(alike),
            "probe_steps": escape.steps,
        }  # fmt: skip
        return self.finding(
            _message(evidence, first, times, steps, len(set(others) - set(zeros))),
            where=dict.fromkeys([*zeros, *others]),
            evidence=numbers,
            fix=_fix(evidence, first, alike),
            severity="warn" if first.block.reason == "constant" else "error",
            location=evidence.locate((zeros + others)[0]),
        )

    def _nothing(self, evidence: Evidence, blocked: tuple[str, ...]) -> Finding:
        return self.finding(
            f"the gradient of the loss is exactly zero for all {len(blocked)} parameters, at the start and "
            "after the probe steps: "
            "the loss is flat here, so nothing can train",
            where=blocked,
            evidence={
                "blocked_parameters": len(blocked),
                "zero_factors": 0,
                "loss": evidence.loss if isinstance(evidence.loss, float) else None,
            },
            fix="# look at the loss: it is saturated, clamped or met already at the outputs of the start",
        )


def blocked_parameters(evidence: Evidence) -> tuple[str, ...]:
    """Returns the parameters whose gradient was exactly zero at every step."""
    escape = evidence.escape
    assert isinstance(escape, Escape)
    return tuple(
        path for path, states in escape.zero_at.items() if all(states) and evidence.parameters[path].grad == "zero"
    )


def _causes(evidence: Evidence, blocked: tuple[str, ...]) -> Iterator[Blocked]:
    """Blocked parameters put together by what blocks them; those for which no fault is found are left out."""
    escape = evidence.escape
    assert isinstance(escape, Escape)
    if not isinstance(escape.after, Trace):
        return
    zeros = frozenset(path for path in blocked if evidence.parameters[path].zero)
    walker = Walker(trace=escape.after, zeros=zeros)
    products: dict[str, tuple[frozenset[str], Block]] = {}
    elsewhere: dict[tuple[str, int], tuple[list[str], Block]] = {}
    for path in blocked:
        faults = [block for block in walker.blocks(path) if _is_fault(block)]
        factors = frozenset().union(*(block.zeros for block in faults))
        if factors:
            own = (
                frozenset([path])
                if (path in zeros and len(evidence.parameters[path].shape) != 1) or path in factors
                else frozenset()
            )
            products[path] = (factors | own, next(block for block in faults if block.zeros))
        elif faults:
            block = faults[0]
            elsewhere.setdefault((block.reason, block.op.index if block.op else -1), ([], block))[0].append(path)
    for group in merged(factors for factors, _ in products.values()):
        inside = [path for path, (factors, _) in products.items() if factors & group]
        order = [path for path in blocked if path in group]
        block = next(products[path][1] for path in inside)
        yield Blocked(zeros=tuple(order), others=tuple(path for path in inside if path not in group), block=block)
    for paths, block in elsewhere.values():
        yield Blocked(zeros=(), others=tuple(paths), block=block)


def _is_fault(block: Block) -> bool:
    return block.reason in ("zeros", "flat", "norm", "saturated") or (
        block.reason == "constant" and block.op is not None and not block.op.in_loss
    )


def _message(evidence: Evidence, cause: Blocked, times: str, steps: str, behind: int) -> str:
    more = f"; {behind} parameters before it get none either" if behind else ""
    place = "" if cause.block.op is None else cause.block.op.module or "the model's own forward"
    count = f"the gradient of {counted(cause.others)} is exactly zero {steps}"
    if cause.zeros and cause.block.reason == "flat" and cause.block.op is not None:
        return (
            f"{counted(cause.zeros)}: all zero, and the slope of {cause.block.op.name} at zero is "
            f"zero{times}: the gradient is "
            f"exactly zero {steps}, so nothing here ever moves{more}"
        )
    if len(cause.zeros) > 1:
        return (
            f"{counted(cause.zeros)} are zero and multiplied with each other{times}: the gradient of each is "
            f"exactly zero {steps}, "
            f"so none of them ever moves{more}"
        )
    if cause.zeros:
        return f"{cause.zeros[0]} is zero and its gradient is exactly zero {steps}{times}, so it never moves{more}"
    if cause.block.reason == "norm":
        return f"{count}: {place} normalises single values, so its result is constant{times}"
    if cause.block.reason == "saturated":
        return f"{count}: the softmax in {place} is one for one key everywhere{times}"
    if cause.block.reason == "constant":
        return f"{count}: {place} multiplies by a zero that is no parameter{times}, so nothing will ever open it"
    name = cause.block.op.name if cause.block.op else "an activation"
    return f"{count}: the slope of {name} in {place} is zero for every entry of the batch{times}"


def _fix(evidence: Evidence, cause: Blocked, alike: list[Blocked]) -> str:
    facts = evidence.parameters
    if cause.zeros:
        return redrawn(facts, {_to_draw(evidence, one.zeros): "xavier_normal" for one in alike})
    if cause.block.reason == "norm":
        return "# normalise over more than one value, or leave this normalisation out"
    if cause.block.reason == "constant":
        return "# make the zero an nn.Parameter, or start it above zero"
    biases = [path for path in cause.others if len(facts[path].shape) == 1 and facts[path].role == "bias"]
    zeroed = "\n".join(f'nn.init.zeros_(model.get_parameter("{path}"))' for path in biases[:16])
    return f"{redrawn(facts, of_matrices(facts, cause.others, 'he_normal'))}\n{zeroed}".rstrip()


def _to_draw(evidence: Evidence, zeros: tuple[str, ...]) -> str:
    """The factor to be drawn at random: the first matrix, which leaves gates and last layers at zero."""
    matrices = [path for path in zeros if len(evidence.parameters[path].shape) > 1]
    return matrices[0] if matrices else zeros[0]
