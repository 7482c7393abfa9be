"""Optimizer and schedule against transformers' own reading of the same arguments."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainingArguments

from tunesmith.config import TrainingSettings
from tunesmith.train.optimizer import build_optimizer, build_scheduler, warmup_steps

CPU = torch.device("cpu")


def settings(**values: object) -> TrainingSettings:
    return TrainingSettings.model_validate(values)


@given(st.floats(0, 0.999) | st.integers(1, 50).map(float), st.integers(1, 2000))
def test_warm_up_is_counted_as_transformers_counts_it(value: float, total: int) -> None:
    theirs = TrainingArguments(warmup_steps=value, use_cpu=True).get_warmup_steps(total)
    assert warmup_steps(settings(warmup_steps=value), total) == theirs


@pytest.mark.parametrize("kind", ["linear", "cosine", "constant", "constant_with_warmup"])
def test_the_rate_rises_to_its_peak_and_follows_the_schedule(kind: str) -> None:
    weight = torch.nn.Parameter(torch.zeros(3))
    chosen = settings(lr_scheduler_type=kind, warmup_steps=0.2, learning_rate=0.5)
    optimizer, note = build_optimizer([weight], chosen, CPU)
    scheduler = build_scheduler(optimizer, chosen, 10)
    rates = []
    for _ in range(10):
        rates.append(float(scheduler.get_last_lr()[0]))
        optimizer.step()
        scheduler.step()
    assert note == ""
    assert max(rates) == 0.5
    if kind == "constant":
        assert rates == [0.5] * 10
    else:
        assert rates[:3] == pytest.approx([0.0, 0.25, 0.5])
    if kind == "linear":
        assert rates[2:] == pytest.approx([0.5 * (8 - k) / 8 for k in range(8)])
    if kind == "cosine":
        assert rates[6] == pytest.approx(0.25)
        assert rates[-1] < 0.03


def test_adamw_steps_by_its_formula() -> None:
    """Loshchilov and Hutter 2017 (arXiv 1711.05101, algorithm 2), by hand for two steps."""
    chosen = settings(
        learning_rate=0.1, weight_decay=0.2, adam_beta1=0.8, adam_beta2=0.9, adam_epsilon=1e-3
    )
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer, _ = build_optimizer([weight], chosen, CPU)
    theta, m, v = 1.0, 0.0, 0.0
    for step, grad in enumerate((3.0, -0.5), start=1):
        weight.grad = torch.tensor([grad])
        optimizer.step()
        m, v = 0.8 * m + 0.2 * grad, 0.9 * v + 0.1 * grad**2
        theta -= 0.1 * 0.2 * theta
        theta -= 0.1 * (m / (1 - 0.8**step)) / ((v / (1 - 0.9**step)) ** 0.5 + 1e-3)
        assert float(weight.detach()) == pytest.approx(theta, rel=1e-5)


def test_sgd_has_momentum() -> None:
    """By hand for two steps: the first gradient counts for 0.9 in the second step. So that GRIT's
    inner SGD and LoRA's differ in the gradient alone."""
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer, _ = build_optimizer([weight], settings(optim="sgd", learning_rate=0.1), CPU)
    for grad in (3.0, -0.5):
        weight.grad = torch.tensor([grad])
        optimizer.step()
    assert float(weight.detach()) == pytest.approx(1 - 0.1 * 3 - 0.1 * (0.9 * 3 - 0.5))


def test_only_what_can_be_trained_is() -> None:
    frozen = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    free = torch.nn.Parameter(torch.ones(2))
    optimizer, _ = build_optimizer([frozen, free], settings(), CPU)
    assert [p for group in optimizer.param_groups for p in group["params"]] == [free]


@pytest.mark.parametrize("name", ["adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit"])
def test_an_optimizer_for_gpus_is_replaced_on_a_processor_and_said(name: str) -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer, note = build_optimizer([weight], settings(optim=name), CPU)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert note == f"{name} needs an NVIDIA GPU; adamw_torch stands in for it here"
