"""Where the graph of gradients is cut between a parameter and the loss."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from initscope.checker.instruments.graph import descendants
from initscope.checker.instruments.trace import Op, Trace

SUBTRACTION = frozenset({"sub", "rsub"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """The last operator on the way from a parameter to the loss whose result no gradient comes back from.

    op         None where the data left torch and came back as a new tensor
    how        what it did, in words
    used_on    whether something trainable, or the network's answer, is computed from what came out
    """

    op: Op | None
    how: str
    used_on: bool


def cut_of(trace: Trace, path: str, *, learning: frozenset[str]) -> Cut | None:
    """Returns the cut between the parameter `path` and the loss; None where its results are not used for the loss at
    all.

    `learning` are the parameters that a gradient reaches.
    """
    leaf = next((value.index for value in trace.values if value.origin == "parameter" and value.path == path), None)
    if leaf is None or trace.loss is None or _is_written(trace, leaf):
        return None
    reached = descendants(trace, [leaf])
    if trace.loss not in reached:
        return _round_trip(trace, reached) or _choice(trace, reached)
    before = _leading_to(trace, trace.loss)
    cutting = [op for op in trace.ops if _cuts(trace, op, leaf, reached) and any(one in before for one in op.results)]
    if not cutting:
        return None
    used = [op for op in cutting if any(_used_on(trace, one, before, learning) for one in op.results)]
    last = (used or cutting)[-1]
    return Cut(op=last, how=_how(trace, last), used_on=bool(used))


def _cuts(trace: Trace, op: Op, leaf: int, reached: frozenset[int]) -> bool:
    """Whether an operator reads something with a gradient, made of the parameter, and gives something without."""
    sources = [index for index in op.operands if index in reached]
    if not sources or not any(trace.values[one].from_data for one in op.results):
        return False
    with_gradient = any(trace.values[one].requires_grad or not trace.values[one].from_data for one in sources)
    return with_gradient and not any(trace.values[one].requires_grad for one in op.results)


def _how(trace: Trace, op: Op) -> str:
    if op.name == "detach":
        return "detach() or .data takes it out of the graph"
    if op.name == "alias":
        return ".data takes it out of the graph"
    if op.name in (
        "argmax",
        "argmin",
        "round",
        "floor",
        "sign",
        "multinomial",
        "bernoulli",
        "one_hot",
        "topk",
        "sort",
        "gt",
        "ge",
        "lt",
        "le",
    ):
        return f"{op.name} passes no gradient on"
    if all(trace.values[one].dtype[:1] not in "fbc" for one in op.results) or any(
        trace.values[one].dtype == "bool" for one in op.results
    ):
        return f"{op.name} gives whole numbers, which pass no gradient on"
    return f"{op.name} runs under torch.no_grad()"


def _used_on(trace: Trace, value: int, before: frozenset[int], learning: frozenset[str]) -> bool:
    """Whether what was cut off is no mere target: layers that learn read it, or it joins what has a gradient."""
    if not learning:
        return True
    after = descendants(trace, [value]) & before
    for op in trace.ops:
        inputs = [index for index in op.operands if index in after]
        if op.in_loss or not inputs:
            continue
        weights = frozenset().union(*(trace.values[index].parameters for index in op.operands))
        if op.kind in ("linear", "gain", "norm", "bias", "lookup") and weights & learning:
            return True
        if (
            op.kind in ("sum", "join")
            and op.name not in SUBTRACTION
            and any(trace.values[one].requires_grad for one in op.operands)
        ):
            return True
    return False


def _round_trip(trace: Trace, reached: frozenset[int]) -> Cut | None:
    """Data that ends nowhere while a new tensor of its shape comes from nowhere: it left torch in between."""
    ends = {
        trace.values[index].shape
        for index in reached
        if trace.values[index].from_data and not trace.values[index].output and not _read_on(trace, index)
    }
    for value in trace.values:
        readers = [trace.ops[number] for number in trace.consumers[value.index]]
        if (
            value.origin == "constant"
            and len(value.shape) > 1
            and value.shape in ends
            and any(not op.in_loss for op in readers)
        ):
            return Cut(op=None, how="it leaves torch (numpy, a list) and comes back as a new tensor", used_on=True)
    return None


def _choice(trace: Trace, reached: frozenset[int]) -> Cut | None:
    """A whole number that Python reads: an index that chooses among experts, a branch that is taken or not."""
    for index in sorted(reached & trace.read_as_numbers):
        value = trace.values[index]
        if value.from_data and value.dtype.startswith(("int", "uint", "bool")):
            how = "Python reads a whole number (int(), item(), if), which passes no gradient on"
            return Cut(op=trace.producer(index), how=how, used_on=True)
    return None


def _read_on(trace: Trace, index: int) -> bool:
    return any(
        trace.consumers_matter(number) and trace.ops[number].name != "_local_scalar_dense"
        for number in trace.consumers[index]
    )


def _is_written(trace: Trace, leaf: int) -> bool:
    """Whether the forward pass itself writes the parameter, as running averages do."""
    return any(
        trace.ops[number].name in ("write", "copy", "lerp") and trace.ops[number].operands[0] == leaf
        for number in trace.consumers[leaf]
    )


def _leading_to(trace: Trace, value: int) -> frozenset[int]:
    """Everything that a value was computed from."""
    found: set[int] = set()
    waiting = [value]
    while waiting:
        index = waiting.pop()
        if index in found:
            continue
        found.add(index)
        made: Iterable[int] = () if (op := trace.producer(index)) is None else op.operands
        waiting += made
    return frozenset(found)
