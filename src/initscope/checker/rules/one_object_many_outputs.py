"""INI103: one module where several were meant."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.naming import counted
from initscope.checker.instruments.repeated_calls import Repeated, repeated_calls
from initscope.checker.instruments.trace import Trace
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding


@register
class OneObjectManyOutputs(Rule):
    """Finds one module object that stands for several: called on the same tensor, its equal results are used side by
    side.

    Why it is bad
    `[layer] * n` makes one layer with n names. Heads, branches or experts that are one object give identical columns;
    a mean and a variance from one head are one number, and an average of such members is one member.

    Criterion
    A module with trainable parameters is called two or more times on the very same tensors, and the results meet again
    (joined, added, or as outputs of their own) without a layer of their own between. An error where the module is
    registered under several names, else a warning; an information where a loop calls it in every step and meets its
    earlier result only after something was done to that. Modules that draw (dropout) are left out: two calls differ.

    When it is fine
    Siamese and momentum networks, ALBERT, tied autoencoders: other inputs, or in series. A trunk under several heads.
    Shared query and key projections. An information is given where one list holds the same module several times
    otherwise.

    Example
        self.heads = nn.ModuleList([nn.Linear(64, 1)] * 4)

    Corrected
        self.heads = nn.ModuleList(nn.Linear(64, 1) for _ in range(4))

    Fix
    Build the modules in a comprehension, so that each is an object of its own.

    References
    Liger-Kernel pull request 269, U-Net_v2 issue 10, ddsp_pytorch issue 37, pytorch-vq-vae issue 2.
    """

    code = "INI103"
    name = "one-object-many-outputs"
    gravest = "error"
    needs = ("capture",)
    basis = "exact"

    def judge(self, evidence: Evidence) -> Iterator[Finding]:
        """Yields one finding for each such module, and an information on lists that repeat one."""
        trace = evidence.trace
        assert isinstance(trace, Trace)
        found = list(repeated_calls(trace, evidence.model))
        for repeated in found:
            yield self._finding(evidence, repeated, in_a_loop=in_a_loop(trace, repeated))
        known = {repeated.names for repeated in found}
        lists = [names for names in _listed(evidence.model) if names not in known]
        if lists:
            yield self.finding(
                f"{counted(lists[0])} are one module registered {len(lists[0])} times: they share all "
                "weights, as in a network "
                "that repeats a layer on purpose",
                where=lists[0],
                evidence={"names": len(lists[0]), "lists": len(lists)},
                fix="# if they were meant to differ: nn.ModuleList(make() for _ in range(n)) instead of "
                "nn.ModuleList([layer] * n)",
                severity="info",
                location=evidence.locate(lists[0][0]),
            )

    def _finding(self, evidence: Evidence, repeated: Repeated, *, in_a_loop: bool) -> Finding:
        times, names = len(repeated.results), repeated.names
        called = f"{counted(names)} are one module" if len(names) > 1 else f"{names[0]} is one module"
        use = "are outputs side by side" if repeated.meeting is None else f"meet in {repeated.meeting.name}"
        meant = "as in a loop that computes it anew in every step" if in_a_loop else "where different ones were meant"
        layer = type(dict(evidence.model.named_modules(remove_duplicate=False))[names[0]]).__name__
        return self.finding(
            f"{called}, called {times} times on the same tensor; its {times} identical results {use}, {meant}",
            where=names,
            evidence={"calls": times, "names": len(names), "layer": layer},
            fix="# compute it once, before the loop"
            if in_a_loop
            else f"nn.ModuleList({layer}(...) for _ in range({times}))  # one object each, instead of one repeated",
            severity="info" if in_a_loop else "error" if len(names) > 1 else "warn",
            location=evidence.locate(names[0]),
        )


def in_a_loop(trace: Trace, repeated: Repeated) -> bool:
    """Returns whether a module of one name meets its own earlier result only after something was done to that.

    Steps of time or of refinement do so: a membrane that decays, an Euler step. Heads that are added or joined do not.
    """
    meeting = repeated.meeting
    if len(repeated.names) > 1 or len(repeated.results) < 3 or meeting is None or meeting.in_loss:
        return False
    return sum(_unchanged(trace, operand) in repeated.results for operand in meeting.operands) < 2


def _unchanged(trace: Trace, value: int) -> int:
    """The value in front of views and copies."""
    while (op := trace.producer(value)) is not None and op.kind in ("view", "copy") and trace.data_operands(op):
        value = trace.data_operands(op)[0]
    return value


def _listed(model: nn.Module) -> list[tuple[str, ...]]:
    """Names of modules with parameters that one list or sequence holds several times."""
    found: list[tuple[str, ...]] = []
    for path, module in model.named_modules():
        if not isinstance(module, nn.ModuleList | nn.Sequential | nn.ModuleDict):
            continue
        groups: dict[int, list[str]] = {}
        for name, child in _children(module):
            if any(parameter.requires_grad for parameter in child.parameters()):
                groups.setdefault(id(child), []).append(f"{path}.{name}" if path else name)
        found += [tuple(names) for names in groups.values() if len(names) > 1]
    return found


def _children(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The members of a list or sequence, repeated ones each time."""
    return [(name, child) for name, child in module._modules.items() if child is not None]
