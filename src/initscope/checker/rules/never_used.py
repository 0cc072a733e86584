"""INI203: parameters that the forward pass does not read."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from torch import nn

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.graph import descendants
from initscope.checker.instruments.naming import counted
from initscope.checker.instruments.repeated_calls import DRAWS
from initscope.checker.instruments.trace import Trace
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding, Severity


@register
class NeverUsed(Rule):
    """Finds parameters that are there to be trained and that the forward pass never reads.

    Why it is bad
    A layer that is constructed and not called is most often a layer that was forgotten: the network is another one than
    the constructor says. It also costs memory, and stops distributed training, which waits for its gradient.

    Criterion
    No operator of the forward pass, or of the loss, read the parameter's storage. A warning for matrices; an
    information for vectors, for alternatives (some modules of a list or dictionary are used side by side, others not),
    and for layers that may be left out at random.

    When it is fine
    Branches for another task or for evaluation, experts that this batch did not choose, tokens that stand for masks.
    Allow them: initscope.allow(module, "never-used", reason=...).

    Example
        self.stem, self.middle, self.head = ...
        def forward(self, x): return self.head(self.stem(x))

    Corrected
        def forward(self, x): return self.head(self.middle(self.stem(x)))

    Fix
    Call the module, or remove it.

    References
    FCOS issue 217, s4 issue 26, pytorch issue 39629.
    """

    code = "INI203"
    name = "never-used"
    gravest = "warn"
    needs = ("capture",)
    basis = "exact"
    data_dependent = True

    def judge(self, evidence: Evidence) -> Iterator[Finding]:
        """Yields a warning for what seems forgotten, an information for what seems optional."""
        unused = [
            one.path
            for one in evidence.parameters.values()
            if one.trainable and not one.buffer and one.used is False and one.grad != "some"
        ]
        groups: dict[str, list[str]] = {}
        for path in unused:
            groups.setdefault(_largest(evidence.model, path, frozenset(unused)), []).append(path)
        forgotten = [name for name, paths in groups.items() if not _is_optional(evidence, name, paths)]
        optional = [name for name in groups if name not in forgotten]
        if forgotten:
            yield self._finding(evidence, forgotten, groups, severity="warn")
        if optional:
            yield self._finding(evidence, optional, groups, severity="info")

    def _finding(
        self, evidence: Evidence, names: list[str], groups: dict[str, list[str]], *, severity: Severity
    ) -> Finding:
        paths = [path for name in names for path in groups[name]]
        entries = sum(prod(evidence.parameters[path].shape) for path in paths)
        total = sum(prod(one.shape) for one in evidence.parameters.values() if one.trainable and not one.buffer)
        share = 100 * entries / max(total, 1)
        meaning = "they look forgotten" if severity == "warn" else "they look optional"
        return self.finding(
            f"the forward pass never reads {counted(names)} ({len(paths)} parameters, {share:.2g} % of all "
            f"entries): {meaning}",
            where=names,
            evidence={"parameters": len(paths), "entries": entries, "share_percent": share},
            fix=f"# call {names[0]} in forward, or remove it; on purpose: initscope.allow(model.get_submodule("
            f'"{_module(evidence.model, names[0])}"), "never-used", reason="...")',
            severity=severity,
            location=evidence.locate(names[0]),
        )


def _largest(model: nn.Module, path: str, unused: frozenset[str]) -> str:
    """The outermost module around a parameter of which no parameter is used, else the parameter itself."""
    parts, modules = path.split("."), dict(model.named_modules())
    for length in range(1, len(parts)):
        name = ".".join(parts[:length])
        if name not in modules:
            continue
        inside = [f"{name}.{one}" for one, parameter in modules[name].named_parameters() if parameter.requires_grad]
        if all(one in unused for one in inside):
            return name
    return path


def _module(model: nn.Module, name: str) -> str:
    return name if name in dict(model.named_modules()) else name.rpartition(".")[0]


def _is_optional(evidence: Evidence, name: str, paths: list[str]) -> bool:
    shapes = [[size for size in evidence.parameters[path].shape if size > 1] for path in paths]
    if max((len(shape) for shape in shapes), default=0) < 2:
        return True
    if _skips(evidence, name):
        return True
    parts, modules = name.split("."), dict(evidence.model.named_modules())
    for length in range(len(parts), 0, -1):
        parent = modules.get(".".join(parts[: length - 1]))
        if isinstance(parent, nn.ModuleList | nn.ModuleDict):
            around = ".".join(parts[: length - 1])
            return _alternatives(evidence, around, keyed=isinstance(parent, nn.ModuleDict))
    return False


def _skips(evidence: Evidence, name: str) -> bool:
    """Whether a module was skipped this once: another of its class is used, and it was called or the network draws."""
    trace, modules = evidence.trace, dict(evidence.model.named_modules())
    assert isinstance(trace, Trace)
    own = modules.get(name)
    if own is None or type(own).__module__.startswith("torch.nn."):
        return False
    others = [path for path, module in modules.items() if type(module) is type(own) and path != name]
    used = any(path.startswith(f"{other}.") for other in others for path in trace.used_parameters)
    called = any(call.path == name for call in trace.calls)
    return used and (called or _draws(trace))


def _draws(trace: Trace) -> bool:
    """Whether single numbers are drawn, as layers that are left out at random do; the masks of dropout are larger."""
    return any(op.name in DRAWS and prod(trace.values[one].shape) == 1 for op in trace.ops for one in op.results)


def _alternatives(evidence: Evidence, around: str, *, keyed: bool) -> bool:
    """Whether some modules of a list are used and stand side by side, or any may be left out at random."""
    trace = evidence.trace
    assert isinstance(trace, Trace)
    prefix = f"{around}." if around else ""
    calls = [call for call in trace.calls if call.path.startswith(prefix) and "." not in call.path[len(prefix) :]]
    if not calls:
        return False
    if keyed or _draws(trace):
        return True
    first, *others = calls
    after = descendants(trace, first.results)
    return not any(operand in after for other in others for operand in other.operands)
