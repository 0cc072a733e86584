"""Takes out of a traced step what does nothing: views and expansions to the shape a tensor has already, products with one."""

from __future__ import annotations

import operator
from collections.abc import Callable

import torch
from torch.fx import GraphModule, Node

_aten = torch.ops.aten
_SAME_SHAPE = (_aten.view.default, _aten.expand.default, _aten._unsafe_view.default, _aten.reshape.default)


def simplify(graph: GraphModule) -> Callable[..., object]:  # the step's own type is restored by its caller
    """Returns the traced function without operations that return their input unchanged, bit for bit.

    Nothing else is touched: no reordering, no fusing. In-place operations keep their place.
    """
    for node in list(graph.graph.nodes):
        source = _unchanged(node)
        if source is not None:
            node.replace_all_uses_with(source)
            graph.graph.erase_node(node)
    _cancel_transposes(graph)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _unchanged(node: Node) -> Node | None:
    if node.op != "call_function" or not node.args or not isinstance(node.args[0], Node):
        return None
    source = node.args[0]
    if node.target in _SAME_SHAPE and _layout(node) == _layout(source) is not None:
        return source
    if node.target is _aten.mul.Scalar and node.args[1] == 1 and _layout(node) == _layout(source):
        return source
    return None


def _cancel_transposes(graph: GraphModule) -> None:
    for node in list(graph.graph.nodes):
        if node.target is not _aten.transpose.int or not isinstance(node.args[0], Node):
            continue
        inner = node.args[0]
        if inner.target is _aten.transpose.int and operator.eq(set(inner.args[1:]), set(node.args[1:])):
            node.replace_all_uses_with(inner.args[0])
            graph.graph.erase_node(node)


def _layout(node: Node) -> tuple[object, ...] | None:
    meta = node.meta.get("tensor_meta")
    if meta is None:
        return None
    return tuple(meta.shape), tuple(meta.stride), meta.dtype
