"""Modules called several times on the very same tensors, and what becomes of the equal results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from initscope.checker.instruments.trace import Call, Op, Trace

CARRYING = frozenset(
    {"view", "copy", "scale", "sum", "product", "activation", "softmax", "reduce", "join", "bias", "gain"}
)
"""Kinds behind which equal values are equal still, or differ by what data they meet; layers give each its own."""
DRAWS = frozenset({
    "native_dropout", "dropout", "bernoulli", "rand", "randn", "normal", "uniform", "rand_like",
    "randn_like", "randint",
    "rrelu_with_noise",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Repeated:
    """One module called on the same tensors: its names, the results, and where they come together.

    names    every path under which the module is registered
    meeting  the first operator that reads several of the results, through operators without a layer; None where each
             goes to an output of its own
    """

    names: tuple[str, ...]
    results: tuple[int, ...]
    meeting: Op | None


def repeated_calls(trace: Trace, model: nn.Module) -> Iterator[Repeated]:
    """Yields modules with parameters, called several times on the same tensors, whose equal results meet again."""
    names = _names(model)
    groups: dict[tuple[str, tuple[int, ...]], list[Call]] = {}
    for call in trace.calls:
        if call.path in names and call.operands and call.results:
            groups.setdefault((call.path, tuple(_root(trace, one) for one in call.operands)), []).append(call)
    seen: set[str] = set()
    for (path, _), calls in sorted(groups.items(), key=lambda group: group[0][0].count(".")):
        results = tuple(dict.fromkeys(call.results[0] for call in calls))
        if len(results) < 2 or any(path.startswith(f"{one}.") for one in seen) or _draws(trace, calls):
            continue
        meets, meeting = _meeting(trace, results)
        if meets:
            seen.add(path)
            yield Repeated(names=names[path], results=results, meeting=meeting)


def _names(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """First name -> all names of every module with parameters to train."""
    found: dict[int, list[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        if path and any(parameter.requires_grad for parameter in module.parameters()):
            found.setdefault(id(module), []).append(path)
    return {paths[0]: tuple(paths) for paths in found.values()}


def _root(trace: Trace, value: int) -> int:
    """The value that a chain of copies and shape-keeping views comes from."""
    op = trace.producer(value)
    while op is not None and op.name in ("alias", "clone", "contiguous") and len(trace.data_operands(op)) == 1:
        value = trace.data_operands(op)[0]
        op = trace.producer(value)
    return value


def _draws(trace: Trace, calls: list[Call]) -> bool:
    """Whether the module, or one inside it, draws: then two calls differ on purpose."""
    path = calls[0].path
    return any(op.name in DRAWS and (op.module == path or op.module.startswith(f"{path}.")) for op in trace.ops)


def _meeting(trace: Trace, results: tuple[int, ...]) -> tuple[bool, Op | None]:
    """Whether at least two of the results come together again without a layer between, and at which operator."""
    drawn = _drawn(trace)
    reach = [_carried(trace, result, drawn) for result in results]
    common: dict[int, int] = {}
    for ops, _ in reach:
        for number in ops:
            common[number] = common.get(number, 0) + 1
    shared = sorted(number for number, count in common.items() if count > 1)
    if shared:
        op = trace.ops[shared[0]]
        return op.kind in ("join", "sum", "bias", "reduce", "loss") or op.in_loss, op
    return sum(answers for _, answers in reach) > 1, None


def _drawn(trace: Trace) -> frozenset[int]:
    """Values made of draws alone, such as the masks of dropout: what meets one of them is no longer equal."""
    found: set[int] = set()
    for op in trace.ops:
        if op.name in DRAWS or any(operand in found for operand in op.operands):
            found |= {one for one in op.results if op.name in DRAWS or not trace.values[one].from_data}
    return frozenset(found)


def _carried(trace: Trace, value: int, drawn: frozenset[int]) -> tuple[set[int], bool]:
    """Operators reached through others that are no layers, and whether an output of the model is."""
    ops: set[int] = set()
    answers = trace.values[value].output
    waiting = [value]
    while waiting:
        for number in trace.consumers[waiting.pop()]:
            op = trace.ops[number]
            if number in ops or op.name == "detach" or not any(trace.values[one].requires_grad for one in op.results):
                continue
            ops.add(number)
            if (op.kind in CARRYING or op.in_loss) and not drawn & {*op.operands, *op.results}:
                answers = answers or any(trace.values[one].output for one in op.results)
                waiting += op.results
    return ops, answers
