"""INI303 back-signal-fades."""

from __future__ import annotations

from torch import Tensor, nn

from initscope.checker.rules.back_signal_fades import BackSignalFades
from initscope.checker.rules.signal_fades import SignalFades
from tests.check.rules.chain_models import INPUTS, LABELS, LOSS, Stream, he, of_logits, plain
from tests.check.rules.judging import alarms


class _Leaky(nn.Module):
    """The value of a layer is whole, its gradient a small share."""

    def __init__(self, share: float, depth: int) -> None:
        super().__init__()
        self.share = share
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(depth))
        self.head = nn.Linear(16, 4)
        for layer in self.layers:
            nn.init.orthogonal_(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            made = layer(x)
            x = self.share * made + (1 - self.share) * made.detach()
        return self.head(x)


def test_a_gradient_that_is_cut_down_in_every_layer_is_an_error() -> None:
    (one,) = alarms(BackSignalFades, lambda: _Leaky(0.05, 8), INPUTS, LABELS, LOSS)
    assert one.severity == "error"
    assert one.message.startswith("from the head back to ")


def test_a_mild_loss_is_a_warning() -> None:
    assert [one.severity for one in alarms(BackSignalFades, lambda: _Leaky(0.2, 7), INPUTS, LABELS, LOSS)] == ["warn"]


def test_a_fading_signal_explains_it() -> None:
    found = alarms((SignalFades, BackSignalFades), plain(30), INPUTS, LABELS, LOSS)
    assert [one.name for one in found] == ["signal-fades"]


def test_whole_gradients_and_scaled_branches_are_left_in_peace() -> None:
    assert not alarms(BackSignalFades, lambda: _Leaky(1.0, 8), INPUTS, LABELS, LOSS)
    assert not alarms(BackSignalFades, plain(20, draw=he), INPUTS, LABELS, LOSS)
    assert not alarms(BackSignalFades, lambda: Stream(12, scale=1e-6, norm=True), INPUTS, LABELS, of_logits)
