"""Takes out of a traced step what does nothing: views to the shape a tensor has already, products with one."""

from __future__ import annotations

import operator
from collections.abc import Callable

import torch
from torch.fx import GraphModule, Node

_aten = torch.ops.aten
_SAME_SHAPE = (_aten.view.default, _aten.expand.default, _aten._unsafe_view.default, _aten.reshape.default)


def simplify(graph: GraphModule) -> Callable[..., object]:  # the step's own type is restored by its caller
    """Returns the traced function without operations that return their input unchanged, bit for bit.

    Nothing else is touched: no reordering, no fusing. In-place operations keep their place. A view may be taken out
    even where its memory is written to, since it is its source's memory; a product, which is a copy, only where neither
    its memory nor its source's is ever written to or handed in from outside.
    """
    fixed = _fixed_memory(graph)
    for node in list(graph.graph.nodes):
        source = _unchanged(node, fixed)
        if source is not None:
            node.replace_all_uses_with(source)
            graph.graph.erase_node(node)
    _cancel_transposes(graph)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _unchanged(node: Node, fixed: set[Node]) -> Node | None:
    if node.op != "call_function" or not node.args or not isinstance(node.args[0], Node):
        return None
    source = node.args[0]
    layout = _layout(node)
    if layout is None or layout != _layout(source):
        return None
    if node.target in _SAME_SHAPE:
        return source
    if node.target is _aten.mul.Scalar and node.args[1] == 1 and not {_memory(node), _memory(source)} & fixed:
        return source
    return None


def _fixed_memory(graph: GraphModule) -> set[Node]:
    """The nodes whose memory is written to in place, or belongs to the caller; views count as what they view."""
    fixed = {node for node in graph.graph.nodes if node.op != "call_function"}
    for node in graph.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is None or not schema.is_mutable:
            continue
        given = dict(zip((argument.name for argument in schema.arguments), node.args, strict=False)) | dict(node.kwargs)
        for argument in schema.arguments:
            value = given.get(argument.name)
            if argument.alias_info is not None and argument.alias_info.is_write and isinstance(value, Node):
                fixed.add(_memory(value))
    return fixed


def _memory(node: Node) -> Node:
    """The node that made the memory `node` lies in: views and in-place results lead back to their first argument."""
    while node.op == "call_function" and node.args and isinstance(node.args[0], Node) and _lies_in_first(node):
        node = node.args[0]
    return node


def _lies_in_first(node: Node) -> bool:
    if node.target is operator.getitem or node.target is _aten._unsafe_view.default:
        return True
    returns = getattr(getattr(node.target, "_schema", None), "returns", ())
    return any(value.alias_info is not None for value in returns)


def _cancel_transposes(graph: GraphModule) -> None:
    for node in list(graph.graph.nodes):
        inner = node.args[0] if _is_transpose(node) else None
        if isinstance(inner, Node) and _is_transpose(inner) and set(inner.args[1:]) == set(node.args[1:]):
            node.replace_all_uses_with(inner.args[0])
            graph.graph.erase_node(node)


def _is_transpose(node: Node) -> bool:
    return node.target is _aten.transpose.int and len(node.args) == 3 and isinstance(node.args[0], Node)


def _layout(node: Node) -> tuple[object, ...] | None:
    meta = node.meta.get("tensor_meta")
    if meta is None:
        return None
    return tuple(meta.shape), tuple(meta.stride), meta.dtype
