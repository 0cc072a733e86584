"""The callbacks: the first real batch is checked before the first step, nothing is left behind, options are kept.

Lightning is not installed where these tests run: `FakeLightning` has the hooks and attributes its documentation names.
"""

from __future__ import annotations

import copy
import logging
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from initscope.base.errors import EnvironmentFault, UnsoundStartError, UsageError
from initscope.checker.allowances import allow
from tests.integrations.starts import Crashes, SevenBias, batch, network, only

pytestmark = pytest.mark.usefixtures("seven_rules")


class Net(nn.Module):
    """A LightningModule as far as it matters: training_step, log, automatic_optimization."""

    automatic_optimization = True

    def __init__(self, bias: float = 0.1) -> None:
        super().__init__()
        self.body = network(bias)
        self.norm = nn.BatchNorm1d(3)
        self.losses: list[torch.Tensor] = []
        self.steps = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.norm(self.body(inputs))
        return found

    def training_step(self, given: Any, batch_idx: int) -> dict[str, torch.Tensor]:
        inputs, targets = given
        loss = nn.functional.cross_entropy(self(inputs), targets)
        self.log("loss", loss)
        self.losses.append(loss.detach())
        self.steps += 1
        return {"loss": loss}

    def log(self, name: str, value: object) -> None:
        raise RuntimeError("there is no loop to log to")


class Short(Net):
    """A training step that takes the batch alone and returns the loss alone."""

    def training_step(self, given: Any) -> torch.Tensor:  # type: ignore[override]  # Lightning allows both
        return nn.functional.cross_entropy(self(given[0]), given[1])


@pytest.fixture
def lightning(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of the callback, with a stand-in for Lightning."""
    import initscope.integrations.lightning as module

    package = types.ModuleType("lightning.pytorch")
    package.Callback = type("Callback", (), {})  # type: ignore[attr-defined]  # the stand-in
    monkeypatch.setitem(sys.modules, "lightning", types.ModuleType("lightning"))
    monkeypatch.setitem(sys.modules, "lightning.pytorch", package)
    module._callback.cache_clear()
    yield module
    module._callback.cache_clear()


def train_lightning(callback: Any, model: Any, *, global_step: int = 0) -> None:
    """The beginning of an epoch as Lightning's loop has it."""
    trainer = types.SimpleNamespace(global_step=global_step, is_global_zero=True)
    for index in range(2):
        callback.on_train_batch_start(trainer, model, batch(), index)


def assert_untouched(model: nn.Module, before: dict[str, Any], values: dict[str, torch.Tensor], draw: Any) -> None:
    """Fails unless attributes, values, gradients and the generator are as they were."""
    assert model.__dict__.keys() == before.keys()
    assert all(torch.equal(value, values[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(not module._forward_pre_hooks for module in model.modules())
    assert torch.equal(torch.get_rng_state(), draw)


def test_lightning_s_first_batch_is_checked_through_training_step(lightning: Any) -> None:
    check, model = lightning.InitCheck(fail_on="never"), Net(7.0)
    before, values, draw = dict(model.__dict__), copy.deepcopy(model.state_dict()), torch.get_rng_state()
    train_lightning(check, model)
    assert [one.where for one in check.report.findings] == [("body.2.bias",)]
    assert check.report.record.target == "Net"
    assert check.report.facts["loss_function"] == "the model's own"
    assert check.report.facts["batch"] == 16
    assert not check.report.facts["synthetic_input"]
    assert_untouched(model, before, values, draw)
    assert model.losses == [] and model.steps == 0
    assert "log" not in model.__dict__


def test_lightning_s_training_stops_before_the_first_step_where_the_start_is_unsound(lightning: Any) -> None:
    check, model = lightning.InitCheck(), Short(7.0)
    with pytest.raises(UnsoundStartError) as caught:
        train_lightning(check, model)
    assert caught.value.what == "the start of Short is not sound: 1 finding"
    assert "body.2.bias is 7 everywhere" in str(caught.value)


def test_what_is_allowed_on_the_lightning_module_is_allowed_in_its_check(lightning: Any) -> None:
    check, whole, part = lightning.InitCheck(), Net(7.0), Net(7.0)
    allow(whole, "bias-is-seven", reason="meant so")
    allow(part.body[2], "bias-is-seven", reason="meant so")
    for model in (whole, part):
        check = lightning.InitCheck()
        train_lightning(check, model)
        assert [reason for _, reason in check.report.silenced] == ["allowed: meant so"]


def test_a_resumed_training_and_steps_by_hand_are_not_checked(lightning: Any) -> None:
    check, model = lightning.InitCheck(), Net(7.0)
    train_lightning(check, model, global_step=5)
    model.automatic_optimization = False
    with pytest.warns(UserWarning, match="did not check") as caught:
        train_lightning(check, model)
    assert check.report is None
    assert str(caught[0].message) == (
        "initscope did not check the start of Net: its training_step would step the optimisers "
        "(automatic_optimization is False)"
    )


def test_lightning_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import initscope.integrations.lightning as module

    module._callback.cache_clear()
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EnvironmentFault) as caught:
        module.InitCheck  # noqa: B018  # asking for it is what raises
    assert caught.value.what == "lightning is not installed"
    assert caught.value.do == "pip install lightning"


def trainer_of(callback: Any, model: nn.Module, *, global_step: int = 0) -> Any:
    """The transformers library's own handler of callbacks, as the Trainer calls it; returns a function that trains."""
    trainer_callback = pytest.importorskip("transformers.trainer_callback")
    handler = trainer_callback.CallbackHandler([callback], model, None, None, None)
    state, control = trainer_callback.TrainerState(global_step=global_step), trainer_callback.TrainerControl()

    def train(**inputs: torch.Tensor) -> None:
        model.train()
        handler.on_train_begin(None, state, control)
        for _ in range(2):
            handler.on_step_begin(None, state, control)
            model(**inputs)
        handler.on_train_end(None, state, control)

    return train


class OwnLoss(nn.Module):
    """A network that returns its loss, as those of transformers do."""

    def __init__(self, bias: float = 0.1) -> None:
        super().__init__()
        self.body, self.seen = network(bias), 0

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.body(inputs)
        self.seen += 1
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def given() -> dict[str, torch.Tensor]:
    """A batch as the Trainer hands it on."""
    inputs, labels = batch()
    return {"inputs": inputs, "labels": labels}


def test_the_trainer_s_first_batch_is_checked_before_its_forward_pass_and_without_a_trace() -> None:
    from initscope.integrations.transformers import InitCheck

    check, model = InitCheck(fail_on="never"), OwnLoss(7.0)
    before, values, draw = dict(model.__dict__), copy.deepcopy(model.state_dict()), torch.get_rng_state()
    trainer_of(check, model)(**given())
    assert [one.where for one in check.report.findings] == [("body.2.bias",)] * 2
    assert check.report.facts["loss_function"] == "the model's own"
    assert_untouched(model, before, values, draw)
    assert model.seen == 2


def test_the_trainer_stops_at_the_first_batch_where_the_start_is_unsound() -> None:
    from initscope.integrations.transformers import InitCheck

    model = OwnLoss(7.0)
    with pytest.raises(UnsoundStartError, match="the start of OwnLoss is not sound: 1 finding"):
        trainer_of(InitCheck(), model)(**given())
    assert model.seen == 0 and not model._forward_pre_hooks


def test_a_trainer_that_resumes_is_not_checked_and_a_hook_never_used_goes() -> None:
    from initscope.integrations.transformers import InitCheck

    check, model = InitCheck(), OwnLoss(7.0)
    trainer_of(check, model, global_step=3)(**given())
    assert check.report is None
    check.on_train_begin(None, types.SimpleNamespace(global_step=0), None, model=model)
    assert len(model._forward_pre_hooks) == 1
    check.on_train_end(None, None, None)
    assert not model._forward_pre_hooks


def test_transformers_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import initscope.integrations.transformers as module

    module._callback.cache_clear()
    monkeypatch.setitem(sys.modules, "transformers.trainer_callback", None)
    with pytest.raises(EnvironmentFault) as caught:
        module.InitCheck  # noqa: B018  # asking for it is what raises
    assert caught.value.what == "transformers is not installed"


@pytest.mark.parametrize(("fail_on", "stopped"), [("error", 0), ("warn", 1), ("never", 0)])
def test_fail_on_decides_whether_warnings_stop_a_training(lightning: Any, fail_on: str, stopped: int) -> None:
    check = lightning.InitCheck(fail_on=fail_on, ignore=["bias-is-seven"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Short, "forward", lambda self, inputs: self.body(inputs))
        model = Short(7.0)
        del model.norm
        if stopped:
            with pytest.raises(UnsoundStartError, match="last-bias-is-seven"):
                train_lightning(check, model)
        else:
            train_lightning(check, model)


def test_a_report_that_stops_nothing_is_logged(lightning: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="initscope"):
        train_lightning(lightning.InitCheck(fail_on="never"), Net(7.0))
        train_lightning(lightning.InitCheck(), Net())
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "bias-is-seven" in caplog.records[0].getMessage()


def test_a_crashed_rule_stops_a_training(lightning: Any) -> None:
    with only(SevenBias, Crashes), pytest.raises(UnsoundStartError, match="1 rule crashed"):
        train_lightning(lightning.InitCheck(), Net())


def test_a_model_that_cannot_be_checked_is_a_warning_and_training_goes_on(lightning: Any) -> None:
    check, model = lightning.InitCheck(), Net()
    model.training_step = lambda given, index: None  # type: ignore[assignment,method-assign]  # no loss for this batch
    with pytest.warns(UserWarning, match="training_step returned no loss for the first batch"):
        train_lightning(check, model)
    assert check.report is None


def test_options_of_a_callback_are_checked_when_it_is_made(lightning: Any) -> None:
    with pytest.raises(UsageError) as caught:
        lightning.InitCheck(fail_on="err")
    assert str(caught.value).splitlines()[:2] == ["unknown severity 'err'", "  where: InitCheck(fail_on=...)"]
    with pytest.raises(UsageError, match="unknown rule 'nothing'"):
        lightning.InitCheck(select=["nothing"])
