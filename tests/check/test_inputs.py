"""Inputs made up for networks that came without any."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from initscope.base.errors import UsageError
from initscope.checker.instruments.input_shapes import DTYPES, LEGAL, parse_shape
from initscope.checker.instruments.inputs import synthetic_inputs


class Recurrent(nn.Module):
    """Registers its head before its body."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(10, 5)
        self.body = nn.LSTM(7, 10)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.head(self.body(x)[0])
        return made


class Decoder(nn.Module):
    """Has a table of positions shorter than most guesses, and ids to stay below the shorter table."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(50, 8)
        self.places = nn.Embedding(12, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.layer(self.tokens(x) + self.places(torch.arange(x.shape[1])))
        return made


class Pairs(nn.Module):
    """Wants two inputs of different widths."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 2), nn.Linear(4, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        made: Tensor = self.first(x) + self.second(y)
        return made


class Own(nn.Module):
    """Has no layer that is known."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.ones(6, 3))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix


class Graphs(nn.Module):
    """Wants a dict of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        made: Tensor = self.layer(x["nodes"])
        return made


class Configured(nn.Module):
    """Says what it takes as timm's models do."""

    def __init__(self) -> None:
        super().__init__()
        self.pretrained_cfg = {"input_size": (1, 20, 20)}
        self.layer = nn.Linear(400, 2)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.layer(x.flatten(1))
        return made


@pytest.mark.parametrize(
    ("model", "shapes"),
    [
        (nn.Linear(7, 3), [(8, 7)]),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), [(8, 784)]),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 62 * 62, 2)), [(8, 3, 64, 64)]),
        (nn.Sequential(nn.Conv2d(1, 2, 7, 4), nn.Flatten(), nn.Linear(2 * 55 * 55, 2)), [(4, 1, 224, 224)]),
        (nn.Sequential(nn.Conv1d(2, 4, 9, 4), nn.AdaptiveAvgPool1d(1)), [(8, 2, 64)]),
        (nn.Conv3d(1, 2, 3), [(8, 1, 16, 16, 16)]),
        (nn.Sequential(nn.ConvTranspose2d(16, 4, 4), nn.BatchNorm2d(4)), [(8, 16, 4, 4)]),
        (nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(3)), [(8, 3, 32, 32)]),
        (Recurrent(), [(16, 8, 7)]),
        (Decoder(), [(8, 8)]),
        (Pairs(), [(8, 3), (8, 4)]),
        (Own(), [(8, 6)]),
        (Configured(), [(8, 1, 20, 20)]),
    ],
)
def test_a_model_gets_inputs_of_a_shape_it_takes(model: nn.Module, shapes: list[tuple[int, ...]]) -> None:
    inputs = synthetic_inputs(model, seed=0)
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    assert [tuple(one.shape) for one in given] == shapes
    model(*given)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.complex64])
def test_floats_have_the_type_of_the_parameters(dtype: torch.dtype) -> None:
    inputs = synthetic_inputs(nn.Linear(7, 3, dtype=dtype), seed=0)
    assert isinstance(inputs, Tensor)
    assert inputs.dtype == dtype


def test_the_model_is_left_as_it_was_lazy_layers_and_modes_too() -> None:
    lazy = nn.Sequential(nn.LazyLinear(3), nn.BatchNorm1d(3), nn.Dropout())
    lazy[1].eval()
    state = torch.get_rng_state()
    synthetic_inputs(lazy, seed=0)
    assert type(lazy[0]) is nn.LazyLinear
    assert [module.training for module in lazy] == [True, False, True]
    assert int(lazy[1].num_batches_tracked) == 0  # type: ignore[arg-type]  # a buffer of one entry
    assert torch.equal(state, torch.get_rng_state())


def test_inputs_depend_on_the_seed_alone() -> None:
    one, same, other = (synthetic_inputs(nn.Linear(7, 3), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one, same)  # type: ignore[arg-type]  # one input is a tensor
    assert not torch.equal(one, other)  # type: ignore[arg-type]  # one input is a tensor


def test_given_shapes_are_taken_and_ids_stay_inside_the_table() -> None:
    inputs = synthetic_inputs(Decoder(), shapes=["4x6:int64"], seed=0)
    assert isinstance(inputs, Tensor)
    assert (tuple(inputs.shape), inputs.dtype) == ((4, 6), torch.int64)
    assert 12 <= int(inputs.max()) < 50
    both = synthetic_inputs(Pairs(), shapes=["5x3", "5x4:float64"], seed=0)
    assert isinstance(both, tuple)
    assert [(tuple(one.shape), one.dtype) for one in both] == [((5, 3), torch.float32), ((5, 4), torch.float64)]


def test_floats_are_standard_normal_and_complex_ones_have_unit_variance() -> None:
    for dtype in (torch.float32, torch.complex64):
        shape = parse_shape("40000")
        drawn = shape.drawn(seed=0, name="0", dtype=dtype, device=torch.device("cpu"))
        assert abs(float(drawn.abs().square().mean()) - 1) < 0.05  # seven standard errors of sqrt(2 / 40000)


def test_where_nothing_works_what_was_tried_is_said() -> None:
    with pytest.raises(UsageError) as caught:
        synthetic_inputs(Graphs(), seed=0)
    assert str(caught.value) == (
        "no inputs could be made up for Graphs\n"
        "  got:   tried 8x3:float32  (IndexError: too many indices for tensor of dimension 2)\n"
        "         8x16x3:float32  (IndexError: too many indices for tensor of dimension 3)\n"
        "  do:    pass --input with the shape of each, such as 8x3x32x32 or 4x128:int64, or let the factory return "
        "(model, inputs)"
    )


@pytest.mark.parametrize(
    ("text", "sizes", "dtype"),
    [
        ("3x32x32", (3, 32, 32), None),
        (" 8,3,64,64 ", (8, 3, 64, 64), None),
        ("2x16:int64", (2, 16), torch.int64),
        ("4:torch.bfloat16", (4,), torch.bfloat16),
    ],
)
def test_a_shape_is_read_with_its_dtype(text: str, sizes: tuple[int, ...], dtype: Any) -> None:
    found = parse_shape(text)
    assert (found.sizes, found.dtype) == (sizes, dtype)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"cannot read this as the shape of an input\n  got:   ''\n  legal: {LEGAL}"),
        ("8xa", f"cannot read this as the shape of an input\n  got:   '8xa'\n  legal: {LEGAL}"),
        ("8x-1", f"cannot read this as the shape of an input\n  got:   '8x-1'\n  legal: {LEGAL}"),
        ("8x0", f"an input must have no axis of length 0\n  got:   '8x0'\n  legal: {LEGAL}"),
        ("8:flaot32", "unknown dtype 'flaot32'\n  got:   '8:flaot32'\n"
                      f"  legal: {', '.join(DTYPES)}\n  do:    did you mean 'float32'?"),
    ],
)  # fmt: skip
def test_what_is_no_shape_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_shape(text)
    assert str(caught.value) == message
