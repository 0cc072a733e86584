"""The traced step: the untraced one to the bit, the example left as it was, only what does nothing taken out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx

from initscope.train.graph import simplify
from initscope.train.step import Tensors, traced_step, vectorised_step
from initscope.train.task import dropout_key
from tests.support.problems import TABLE, problem, slow

aten = torch.ops.aten
Arguments = tuple[Tensors, Tensors, Tensor, Tensor, Tensor, Tensor]


def arguments_of(name: str) -> tuple[torch.nn.Module, Arguments]:
    """A problem's model and the arguments of its first step, four runs."""
    made = problem(**TABLE[name])
    runs = made.identities(seeds=(0, 1))[:4]
    task = made.preparer().task(runs)
    index = torch.from_numpy(made.split(0).batches(0, 8)[:4])
    keys = torch.tensor([dropout_key(0, run.seed) for run in runs])
    return task.model.train(), (
        dict(task.start),
        dict(task.buffers),
        made.inputs[index],
        made.labels[index],
        keys,
        torch.tensor(3),
    )


def copied(arguments: Arguments) -> Arguments:
    """Arguments in memory of their own."""
    parameters, buffers, *rest = arguments
    copies = ({path: value.clone() for path, value in values.items()} for values in (parameters, buffers))
    return (*copies, *rest)  # type: ignore[return-value]  # mypy does not count through the star


QUICK = ("founding", "dropout-mlp", "batchnorm-cnn")
MODELS = [name for name, arguments in TABLE.items() if "factory" in arguments and name not in QUICK]


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("name", [*QUICK, *map(slow, MODELS)])
def test_the_traced_step_is_the_untraced_one_to_the_bit_and_leaves_its_example_as_it_was(name: str) -> None:
    model, example = arguments_of(name)
    untouched = copied(example)
    step = traced_step(model, example, n_classes=4)
    for before, after in zip(untouched[:2], example[:2], strict=True):
        assert all(torch.equal(before[path], after[path]) for path in before)
    plain, traced = copied(example), copied(example)
    for update in range(3):
        expected = vectorised_step(model)(*plain[:5], torch.tensor(update))
        found = step(*traced[:5], torch.tensor(update))
        assert torch.equal(found[1], expected[1]) and torch.equal(found[2], expected[2])
        for path, slope in expected[0].items():
            assert torch.equal(found[0][path], slope), path
        for path, buffer in plain[1].items():
            assert torch.equal(traced[1][path], buffer), path


def test_buffers_move_with_every_step() -> None:
    model, example = arguments_of("batchnorm-cnn")
    before = copied(example)
    traced_step(model, example)(*example)
    assert not torch.equal(example[1]["2.running_mean"], before[1]["2.running_mean"])
    assert example[1]["2.num_batches_tracked"].tolist() == [1, 1, 1, 1]


def traced(function: Callable[..., object], *arguments: Tensor) -> GraphModule:
    """A function as a graph of aten calls."""
    graph = make_fx(function)(*(argument.clone() for argument in arguments))
    assert isinstance(graph, GraphModule)
    return graph


def targets(graph: GraphModule) -> list[object]:
    """What a graph calls, in order."""
    return [node.target for node in graph.graph.nodes if node.op == "call_function"]


def assert_same_after_simplifying(function: Callable[..., object], *arguments: Tensor) -> GraphModule:
    """Fails where the simplified function returns or changes something else than the function itself."""
    graph = traced(function, *arguments)
    ours, theirs = [[argument.clone() for argument in arguments] for _ in range(2)]
    simplify(graph)
    found, expected = graph(*ours), function(*theirs)
    assert torch.equal(torch.as_tensor(found), torch.as_tensor(expected))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)
    return graph


def test_views_to_the_same_shape_products_with_one_and_pairs_of_transposes_are_taken_out() -> None:
    def wasteful(x: Tensor) -> Tensor:
        y = x.exp()
        y = aten.view(y, y.shape)
        y = aten.expand(y, y.shape)
        y = aten.mul.Scalar(y, 1)
        return y.transpose(0, 1).transpose(1, 0).sin()

    graph = assert_same_after_simplifying(wasteful, torch.randn(3, 4))
    assert targets(graph) == [aten.exp.default, aten.sin.default]


def test_views_to_another_shape_products_with_two_and_lone_transposes_stay() -> None:
    def useful(x: Tensor) -> Tensor:
        y = aten.mul.Scalar(x.exp().reshape(4, 3), 2)
        y = aten.expand(y.unsqueeze(0), (2, 4, 3))
        return y.transpose(1, 2).transpose(0, 1)

    graph = assert_same_after_simplifying(useful, torch.randn(3, 4))
    assert targets(graph).count(aten.transpose.int) == 2
    assert aten.mul.Scalar in targets(graph) and aten.expand.default in targets(graph)


def test_a_product_of_integers_with_one_point_nought_stays_since_it_changes_the_dtype() -> None:
    graph = traced(lambda x: aten.mul.Scalar(x, 1.0), torch.arange(3))
    simplify(graph)
    assert graph(torch.arange(3)).dtype == torch.float32


def changes_the_view(x: Tensor) -> Tensor:
    y = x.exp()
    z = aten.view(y, y.shape)
    z.add_(1.0)
    return y + z


def changes_the_source_of_a_view(x: Tensor) -> Tensor:
    y = x.exp()
    z = aten.view(y, y.shape)
    y.add_(1.0)
    return y + z


def changes_the_product(x: Tensor) -> Tensor:
    y = x.exp()
    z = aten.mul.Scalar(y, 1)
    z.add_(1.0)
    return y + z


def changes_the_source_of_a_product(x: Tensor) -> Tensor:
    y = x.exp()
    z = aten.mul.Scalar(y, 1)
    y.add_(1.0)
    return y + z


def changes_a_view_of_the_source_of_a_product(x: Tensor) -> Tensor:
    y = x.exp()
    z = aten.mul.Scalar(y, 1)
    y[0].mul_(3.0)
    return y + z


def changes_one_half_of_a_split_product(x: Tensor) -> Tensor:
    y = x.exp()
    z = aten.mul.Scalar(y, 1)
    z.split(2, dim=1)[1].zero_()
    return y + z


def changes_a_copy_of_an_argument(x: Tensor) -> Tensor:
    z = aten.mul.Scalar(x, 1)
    z.add_(1.0)
    return z + x


def changes_an_argument_after_copying_it(x: Tensor) -> Tensor:
    z = aten.mul.Scalar(x, 1)
    x.add_(1.0)
    return z + x


def changes_through_transposes(x: Tensor) -> Tensor:
    y = x.exp()
    z = y.transpose(0, 1).transpose(0, 1)
    z.add_(1.0)
    return y + z


@pytest.mark.parametrize(
    "function",
    [
        changes_the_view,
        changes_the_source_of_a_view,
        changes_the_product,
        changes_the_source_of_a_product,
        changes_a_view_of_the_source_of_a_product,
        changes_one_half_of_a_split_product,
        changes_a_copy_of_an_argument,
        changes_an_argument_after_copying_it,
        changes_through_transposes,
    ],
)
def test_what_is_changed_in_place_keeps_its_memory(function: Callable[[Tensor], Tensor]) -> None:
    assert_same_after_simplifying(function, torch.randn(3, 4))


def test_a_result_never_shares_an_arguments_memory_because_a_product_was_taken_out() -> None:
    graph = traced(lambda x: aten.mul.Scalar(x, 1), torch.ones(3))
    simplify(graph)
    given = torch.ones(3)
    assert graph(given).data_ptr() != given.data_ptr()


def test_a_node_of_unknown_layout_is_left_alone() -> None:
    graph = Graph()
    x = graph.placeholder("x")
    nodes: list[Node] = [graph.call_function(aten.view.default, (x, [4]))]
    nodes.append(graph.call_function(aten.mul.Scalar, (nodes[-1], 1)))
    graph.output(nodes[-1])
    made = GraphModule(torch.nn.Module(), graph)
    simplify(made)
    assert targets(made) == [aten.view.default, aten.mul.Scalar]


def takes_out_every_product(graph: GraphModule) -> GraphModule:
    """What `simplify` would be if it did not look at memory."""
    for node in list(graph.graph.nodes):
        if node.target is aten.mul.Scalar:
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph.recompile()
    return graph


def test_the_comparison_of_graphs_fails_where_simplifying_changes_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.train.test_graph.simplify", takes_out_every_product)
    with pytest.raises(AssertionError):
        assert_same_after_simplifying(changes_the_product, torch.ones(2, 2))
    with pytest.raises(AssertionError):
        assert_same_after_simplifying(changes_an_argument_after_copying_it, torch.ones(2, 2))
