"""The write log: what was written into which tensor, by which operation, from which line, in which order."""

from __future__ import annotations

import copy
import importlib.util
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from initscope.checker.evidence import Write
from initscope.checker.instruments import write_book
from initscope.checker.instruments.writes import WriteLog, replaces_values, watch_writes
from initscope.modules.generators import seeded_generators
from initscope.records.finding import Location


def log_of(factory: Callable[[], nn.Module]) -> WriteLog:
    with seeded_generators(0), watch_writes() as log:
        model = factory()
    log.settle(model)
    return log


def writes_into(path: str, factory: Callable[[], nn.Module]) -> list[Write]:
    return [write for write in log_of(factory).writes if path in write.tensors]


def in_a_file(folder: Path, source: str) -> ModuleType:
    file = folder / "written.py"
    file.write_text(source)
    spec = importlib.util.spec_from_file_location("written", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Holder(nn.Module):
    """Holds one parameter, made by a function."""

    def __init__(self, make: Callable[[], Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(make())


def changed(change: Callable[[Tensor], object]) -> Callable[[], nn.Module]:
    """Returns a factory of a linear layer whose weight (2, 3) is changed after its construction."""

    def factory() -> nn.Module:
        layer = nn.Linear(3, 2)
        with torch.no_grad():
            change(layer.weight)
        return layer

    return factory


def test_a_constructors_default_and_a_users_later_initialiser_are_told_apart() -> None:
    default, users = writes_into("weight", changed(lambda weight: nn.init.normal_(weight, std=0.02)))
    assert (default.op, default.framework, default.random, default.whole) == ("uniform_", True, True, True)
    assert (users.op, users.framework, users.random, users.whole) == ("normal_", False, True, True)
    assert default.order < users.order


def test_the_location_is_the_innermost_line_of_the_users_file(tmp_path: Path) -> None:
    written = in_a_file(
        tmp_path,
        "from torch import nn\n"
        "def start(layer):\n"
        "    nn.init.normal_(layer.weight)\n"
        "def build():\n"
        "    layer = nn.Linear(\n"
        "        3, 2)\n"
        "    start(layer)\n"
        "    return layer\n",
    )
    log = log_of(written.build)
    file = str(tmp_path / "written.py")
    default, users = (write for write in log.writes if "weight" in write.tensors)
    assert default.location == Location(file=file, line=5)
    assert users.location == Location(file=file, line=3)
    assert users.site[:2] == (f"{file}:3", f"{file}:7")
    assert log.born == {"weight": Location(file=file, line=5), "bias": Location(file=file, line=5)}


def test_the_chain_of_calls_ends_where_the_watch_was_asked_for() -> None:
    (write,) = writes_into("weight", lambda: Holder(lambda: torch.ones(2)))
    assert {line.rpartition(":")[0] for line in write.site} == {__file__}
    assert len(write.site) == 4  # the inner lambda, the constructor, the outer lambda, log_of


@pytest.mark.parametrize(
    ("change", "op", "whole"),
    [
        (lambda weight: weight.data.normal_(), "normal_", True),
        (lambda weight: weight.data[0].fill_(1.0), "fill_", False),
        (lambda weight: weight.data.t().zero_(), "zero_", True),
        (lambda weight: weight.view(-1).uniform_(), "uniform_", True),
        (lambda weight: weight.detach().mul_(2.0), "mul_", True),
        (lambda weight: weight.__setitem__((slice(None), 0), 4.0), "fill_", False),
        (lambda weight: weight.masked_fill_(weight > 0, 0.0), "masked_fill_", False),
        (lambda weight: torch.nn.init.eye_(weight), "eye_", True),
        (lambda weight: torch.add(weight, 1.0, out=weight), "add_", True),
        (lambda weight: torch.ones(2, 3, out=weight), "ones", True),
        (lambda weight: torch._foreach_mul_([weight], 0.5), "mul_", True),
    ],
    ids=["data", "row", "turned", "view", "detached", "column", "masked", "eye", "out-of-itself", "out", "foreach"],
)
def test_a_write_by_any_way_is_seen(*, change: Callable[[Tensor], object], op: str, whole: bool) -> None:
    last = writes_into("weight", changed(change))[-1]
    assert (last.op, last.whole, last.framework) == (op, whole, False)
    assert last.location is not None and last.location.file == __file__


def test_values_assigned_through_data_are_those_of_the_new_storage() -> None:
    def assigned() -> nn.Module:
        layer = nn.Linear(3, 2)
        layer.weight.data = torch.full((2, 3), 0.5)
        return layer

    (write,) = writes_into("weight", assigned)
    assert (write.op, write.mean, write.framework) == ("full", 0.5, False)


def test_a_change_of_shape_is_no_write() -> None:
    writes = writes_into("weight", lambda: Holder(lambda: torch.ones(2, 3).t_().unsqueeze_(0)))
    assert [write.op for write in writes] == ["ones"]


def test_a_parameter_made_of_a_draw_has_its_value_from_the_operation_that_made_its_storage() -> None:
    (write,) = writes_into("weight", lambda: Holder(lambda: torch.randn(100, 100) * 0.02))
    assert (write.op, write.random, write.framework) == ("mul", True, False)
    assert write.std == pytest.approx(0.02, rel=0.05)
    assert write.owner == "Holder"


def test_an_empty_tensor_is_born_and_not_written() -> None:
    log = log_of(lambda: Holder(lambda: torch.empty(3)))
    assert log.writes == ()
    assert log.made == {"weight"}
    assert log.born["weight"].file == __file__


def test_values_from_python_and_numpy_are_writes_that_draw_nothing() -> None:
    for make in (lambda: torch.tensor([1.0, 3.0]), lambda: torch.from_numpy(np.array([1.0, 3.0]))):
        (write,) = writes_into("weight", lambda make=make: Holder(make))  # type: ignore[misc]  # bound in the loop
        assert (write.op, write.random, write.mean, write.std) == ("lift_fresh", False, 2.0, 1.0)


def test_mean_and_std_are_those_of_what_was_written() -> None:
    (write,) = writes_into("weight", lambda: Holder(lambda: torch.randn(1000, 1000) * 3 + 1))
    assert write.mean == pytest.approx(1.0, abs=0.05)
    assert write.std == pytest.approx(3.0, rel=0.02)


def test_integers_have_no_mean() -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("places", torch.arange(4))

    (write,) = log_of(Positions).writes
    assert (write.op, math.isnan(write.mean), write.tensors) == ("arange", True, ("places",))


def test_the_steps_of_an_initialiser_are_one_write() -> None:
    for change, op in (
        (lambda weight: nn.init.trunc_normal_(weight, a=-0.1, b=0.1), "trunc_normal_"),
        (nn.init.orthogonal_, "orthogonal_"),
        (lambda weight: nn.init.sparse_(weight, 0.5), "sparse_"),
        (nn.init.xavier_uniform_, "uniform_"),
    ):
        writes = writes_into("weight", changed(change))
        assert [(write.op, write.random, write.whole) for write in writes[1:]] == [(op, True, True)]
        assert replaces_values(writes[-1])


def test_rows_written_one_after_the_other_are_one_whole_write() -> None:
    def rows(weight: Tensor) -> None:
        for index in range(2):
            weight[index].fill_(float(index))

    write = writes_into("weight", changed(rows))[-1]
    assert (write.op, write.whole, write.mean, write.std) == ("fill_", True, 0.5, 0.5)


def test_operations_that_go_on_from_what_was_there_do_not_replace_it() -> None:
    scaled = writes_into("weight", changed(lambda weight: weight.mul_(0.1)))[-1]
    filled = writes_into("weight", changed(lambda weight: weight.fill_(0.1)))[-1]
    assert not replaces_values(scaled) and scaled.random
    assert replaces_values(filled) and not filled.random


def test_a_deep_copy_names_its_source() -> None:
    def factory() -> nn.Module:
        layer = nn.Linear(3, 2)
        return nn.Sequential(layer, copy.deepcopy(layer))

    write = writes_into("1.weight", factory)[-1]
    assert (write.op, write.source, write.random, write.framework) == ("clone", ("0.weight",), True, False)
    assert write.location is not None and write.location.file == __file__


def test_loading_a_state_is_the_users_write_and_names_its_source_through_a_copy() -> None:
    def factory() -> nn.Module:
        first, second = nn.Linear(3, 2), nn.Linear(3, 2)
        second.load_state_dict({name: value.clone() for name, value in first.state_dict().items()})
        return nn.Sequential(first, second)

    write = writes_into("1.weight", factory)[-1]
    assert (write.op, write.source, write.framework, write.whole) == ("copy_", ("0.weight",), False, True)


def test_layers_that_torchs_own_constructor_copies_are_the_frameworks_clones() -> None:
    layer = nn.TransformerEncoderLayer(4, 1, 4)
    writes = writes_into("layers.1.linear1.weight", lambda: nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))
    assert [(write.op, write.framework) for write in writes] == [("clone", True)]


def test_a_reset_that_torch_makes_is_the_frameworks() -> None:
    class Own(nn.Linear):
        def reset_parameters(self) -> None:
            super().reset_parameters()
            nn.init.zeros_(self.weight)

    default, users = writes_into("weight", lambda: Own(3, 2))
    assert (default.op, default.framework) == ("uniform_", True)
    assert (users.op, users.framework) == ("zero_", False)


def test_an_initialiser_handed_to_apply_is_the_users() -> None:
    def start(module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.weight)

    write = writes_into("0.weight", lambda: nn.Sequential(nn.Linear(3, 2)).apply(start))[-1]
    assert (write.op, write.framework) == ("zero_", False)


def test_under_a_device_context_an_initialiser_is_still_the_users() -> None:
    def factory() -> nn.Module:
        with torch.device("cpu"):
            layer = nn.Linear(3, 2)
            nn.init.normal_(layer.weight)
        return layer

    default, users = writes_into("weight", factory)
    assert (default.framework, users.framework) == (True, False)


def test_tied_parameters_are_named_by_all_their_names() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(4, 3)
            self.head = nn.Linear(3, 4, bias=False)
            self.head.weight = self.table.weight

    (write,) = log_of(Tied).writes
    assert write.tensors == ("table.weight", "head.weight")
    assert (write.op, write.owner) == ("normal_", "Embedding")


def test_two_parameters_in_one_storage_are_told_apart() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            memory = torch.zeros(6)
            self.first, self.second = nn.Parameter(memory[:2]), nn.Parameter(memory[2:])
            nn.init.ones_(self.second)

    made, filled = log_of(Flat).writes
    assert (made.tensors, made.whole) == (("first", "second"), True)
    assert (filled.tensors, filled.whole) == (("second",), True)


def test_a_cast_of_the_model_keeps_its_history() -> None:
    log = log_of(lambda: changed(nn.init.normal_)().half())
    assert [write.op for write in log.writes if "weight" in write.tensors] == ["uniform_", "normal_"]
    assert all(write.whole for write in log.writes)
    assert set(log.born) == {"weight", "bias"}


def test_a_module_given_memory_after_the_meta_device_keeps_where_it_was_born(tmp_path: Path) -> None:
    written = in_a_file(
        tmp_path,
        "import torch\n"
        "def build():\n"
        "    with torch.device('meta'):\n"
        "        layer = torch.nn.Linear(3, 2)\n"
        "    return layer.to_empty(device='cpu')\n",
    )
    log = log_of(written.build)
    assert log.writes == ()
    assert log.born["weight"] == Location(file=str(tmp_path / "written.py"), line=4)


def test_a_parametrisation_keeps_the_history_of_what_it_was_made_of() -> None:
    log = log_of(lambda: parametrizations.weight_norm(changed(nn.init.normal_)()))
    direction = [write.op for write in log.writes if "parametrizations.weight.original1" in write.tensors]
    assert direction == ["uniform_", "normal_"]
    assert any("parametrizations.weight.original0" in write.tensors for write in log.writes)


def test_memory_used_again_after_being_freed_confuses_nothing() -> None:
    def factory() -> nn.Module:
        for _ in range(200):
            torch.ones(64)
        return Holder(lambda: torch.empty(64))

    assert log_of(factory).writes == ()


def test_freed_storages_are_struck_out_and_the_others_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_book, "MANY", 50)

    def factory() -> nn.Module:
        layer = nn.Linear(3, 2)
        for _ in range(500):
            torch.ones(64)
        return nn.Sequential(layer, copy.deepcopy(layer))

    log = log_of(factory)
    assert len(log._book._storages) <= 60
    assert [write.op for write in log.writes if "0.weight" in write.tensors] == ["uniform_"]
    assert log.writes[-1].source == ("0.bias",)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_lazy_meta_quantised_and_sparse_tensors_are_passed_over() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lazy = nn.LazyLinear(3)
            self.meta = nn.Linear(3, 2, device="meta")
            self.register_buffer("quantised", torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8))
            self.register_buffer("sparse", torch.eye(3).to_sparse())
            self.plain = nn.Parameter(torch.ones(3))

    log = log_of(Odd)
    assert {path for write in log.writes for path in write.tensors} == {"plain"}
    assert log.missed == ()


@pytest.mark.slow
def test_transformers_wrappers_of_the_initialisers_stand_for_torchs() -> None:
    initialization = pytest.importorskip("transformers.initialization")

    def factory() -> nn.Module:
        with initialization.guard_torch_init_functions():
            layer = nn.Linear(3, 2)
            initialization.trunc_normal_(layer.weight, a=-0.1, b=0.1)
        return layer

    default, users = writes_into("weight", factory)
    assert (default.op, default.framework) == ("uniform_", True)
    assert (users.op, users.framework) == ("trunc_normal_", False)
    assert users.location is not None and users.location.file == __file__
    assert "transformers" in sys.modules
