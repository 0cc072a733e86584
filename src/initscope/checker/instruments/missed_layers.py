"""Layers that an init pass over the model did not reach, though it reached others of their class."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from initscope.checker.evidence import ParameterFacts, Write
from initscope.checker.instruments.naming import pattern
from initscope.checker.instruments.write_passes import Passes, law_of

PRODUCTS = (nn.Linear, nn.modules.conv._ConvNd)
"""Layers whose default start is a generic one that people replace throughout."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Missed:
    """What one line of an init pass left out.

    done, missed  weights of one class of torch's layers, the latter still as torch's constructor drew them
    layer         the name of that class;  write  one of the pass's writes
    expected      path -> the deviation that the pass's law would have given
    """

    done: tuple[ParameterFacts, ...]
    missed: tuple[ParameterFacts, ...]
    layer: str
    write: Write
    expected: dict[str, float]

    @property
    def ratio(self) -> float:
        """The largest factor between what a missed weight has and what the pass would have given it."""
        return max(max(one.std / self.expected[one.path], self.expected[one.path] / one.std) for one in self.missed)


def missed_layers(passes: Passes) -> Iterator[Missed]:
    """Yields, for each line that drew weights of several layers in one go, the layers it passed by.

    A line counts as a pass where it drew two weights and more of more than one shape or place, between which no layer
    was made. Passed by are layers made between the first that it reached and its beginning, of the same class of
    torch's, still at torch's default, of which one has the shape of a weight that was reached, or that are more than
    those reached.
    """
    lasting = {path: writes[-1] for path, writes in passes.by_tensor.items() if path in passes.facts}
    lines: dict[tuple[str, ...], list[str]] = {}
    for path, write in lasting.items():
        if (
            _is_weight(passes, path)
            and not write.framework
            and law_of(write) == "random"
            and write.whole
            and write.site
        ):
            lines.setdefault(write.site[:1], []).append(path)
    for reached in lines.values():
        if len(reached) < 2 or len({(pattern(path), passes.facts[path].shape) for path in reached}) < 2:
            continue
        began, ended = min(lasting[path].order for path in reached), max(lasting[path].order for path in reached)
        made = {path: writes[0].order for path, writes in passes.by_tensor.items() if _is_weight(passes, path)}
        if any(began < order < ended for order in made.values()):
            continue
        for kind in dict.fromkeys(_torch_class(passes, path) for path in reached):
            same = [path for path in reached if _torch_class(passes, path) is kind]
            first = min(made[path] for path in reached)
            left = [
                path
                for path, order in made.items()
                if first < order < began
                and _torch_class(passes, path) is kind
                and _is_default(passes, path)
                and path not in reached
            ]
            if len(reached) == 2 and _side_by_side(passes, (*reached, *left)):
                continue
            found = _expected_of(passes, same, left, reached)
            if found is not None and kind is not None:
                yield Missed(
                    done=tuple(passes.facts[path] for path in same),
                    missed=tuple(passes.facts[path] for path in left),
                    layer=kind.__name__,
                    write=lasting[same[0]],
                    expected=found,
                )


def _side_by_side(passes: Passes, paths: Sequence[str]) -> bool:
    """Whether layers of one class and shape stand in one module: no pass tells them apart, so some were named."""
    alike = {(passes.facts[path].layer, passes.facts[path].shape) for path in paths}
    return len(alike) == 1 and len({path.rpartition(".")[0].rpartition(".")[0] for path in paths}) == 1


def _expected_of(
    passes: Passes, same: Sequence[str], left: Sequence[str], reached: Sequence[str]
) -> dict[str, float] | None:
    """What the pass would have given the weights left out; None where there are too few of them to have been meant."""
    facts = passes.facts
    shapes = {facts[path].shape for path in same}
    if not any(facts[path].shape in shapes for path in left) and len(left) < max(2, len(same)):
        return None
    return _expected([facts[path] for path in reached], [facts[path] for path in left])


def _expected(reached: Sequence[ParameterFacts], left: Sequence[ParameterFacts]) -> dict[str, float] | None:
    """The deviation that the law of the reached weights gives the others: constant / fan_in, / fan_out, / their mean, "
    "or alike."""
    hypotheses = [
        [math.sqrt(size) for size in sizes] if all(sizes) else []
        for sizes in (
            [one.fan_in or 0 for one in reached],
            [one.fan_out or 0 for one in reached],
            [(one.fan_in or 0) + (one.fan_out or 0) for one in reached],
            [1 for _ in reached],
        )
    ]
    best: tuple[float, int, float] | None = None
    for number, factors in enumerate(hypotheses):
        if not factors:
            continue
        logs = [math.log(one.std * factor) for one, factor in zip(reached, factors, strict=True) if one.std > 0]
        if len(logs) > 1 and (best is None or statistics.pstdev(logs) < best[0] - 0.02):
            best = (statistics.pstdev(logs), number, math.exp(statistics.mean(logs)))
    if best is None:
        return None
    _, number, scale = best
    sizes = {
        one.path: (one.fan_in or 1, one.fan_out or 1, (one.fan_in or 1) + (one.fan_out or 1), 1)[number] for one in left
    }
    return {path: scale / math.sqrt(size) for path, size in sizes.items()}


def _is_weight(passes: Passes, path: str) -> bool:
    facts = passes.facts.get(path)
    return (
        facts is not None
        and not facts.buffer
        and facts.trainable
        and len(facts.shape) > 1
        and _torch_class(passes, path) is not None
    )


def _torch_class(passes: Passes, path: str) -> type | None:
    """The class of torch's that the owner is or inherits from; None where it is no product layer."""
    owner = passes.kind(path)[0] if path in passes.by_tensor else type(None)
    if not issubclass(owner, PRODUCTS):
        return None
    return next(
        (one for one in owner.__mro__ if one.__module__.startswith("torch.nn.modules") and "__init__" in vars(one)),
        None,
    )


def _is_default(passes: Passes, path: str) -> bool:
    facts = passes.facts[path]
    return facts.used is not False and facts.std > 0 and all(write.framework for write in passes.by_tensor[path])
