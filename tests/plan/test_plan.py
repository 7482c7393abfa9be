"""The plan: every hyperparameter with its source, and steps that the loop then takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plan.shapes import DATA, FACTS, LAPTOP
from tunesmith.config import TrainingSettings
from tunesmith.plan import forecast
from tunesmith.train.loop import count_steps


def test_no_choice_stands_without_a_reason() -> None:
    plan = forecast(settings(gradient_checkpointing=True), FACTS, {}).plan
    assert [choice.name for choice in plan.choices if not choice.reason] == []


def settings(**values: Any) -> TrainingSettings:
    return TrainingSettings.model_validate(values)


@given(
    st.integers(1, 5000),
    st.integers(1, 64),
    st.integers(1, 16),
    st.floats(0.01, 10),
    st.none() | st.integers(1, 500),
)
def test_the_plan_counts_the_steps_that_the_loop_takes(
    examples: int, rows: int, accumulation: int, epochs: float, max_steps: int | None
) -> None:
    chosen = settings(
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=epochs,
        max_steps=max_steps,
    )
    plan = forecast(chosen, replace(FACTS, data=replace(DATA, examples=examples)), {}).plan
    assert plan.steps == count_steps(examples, chosen)


def test_every_hyperparameter_is_there_with_its_source() -> None:
    chosen = settings(lora_r=8, lora_alpha=24, learning_rate=1e-3)
    plan = forecast(chosen, FACTS, {"lora_r": "recipe", "learning_rate": "set"}).plan
    assert [c.name for c in plan.choices] == list(TrainingSettings.model_fields)
    decided = chosen.model_dump() | {"gradient_checkpointing": False}  # auto, and memory is there
    assert {c.name: c.value for c in plan.choices} == decided
    sources = {c.name: c.source for c in plan.choices}
    assert (sources["lora_r"], sources["learning_rate"], sources["optim"]) == (
        "recipe",
        "set",
        "default (arXiv 1711.05101)",
    )
    assert plan.value("lora_r") == 8
    with pytest.raises(KeyError, match="colour"):
        plan.value("colour")


def test_reasons_name_the_figures_that_they_stand_on() -> None:
    chosen = settings(per_device_train_batch_size=4, gradient_accumulation_steps=3, lora_alpha=24)
    reasons = {c.name: c.reason for c in forecast(chosen, FACTS, {}).plan.choices}
    assert reasons["lora_alpha"] == "scale alpha / r = 1.5"
    assert reasons["gradient_accumulation_steps"] == "12 examples an optimizer step"
    assert "420 tokens" in reasons["max_length"]


def test_an_optimizer_that_needs_a_gpu_is_said_where_there_is_none() -> None:
    chosen = settings(optim="paged_adamw_8bit")
    here = {c.name: c.reason for c in forecast(chosen, FACTS, {}).plan.choices}
    assert here["optim"] == "no NVIDIA GPU here: adamw_torch stands in for it"
    gpu = replace(FACTS, hardware=replace(LAPTOP, device="cuda"))
    there = {c.name: c.reason for c in forecast(chosen, gpu, {}).plan.choices}
    assert there["optim"] == "optimizer; sgd has momentum 0.9"


def test_checkpointing_comes_where_memory_asks_for_it() -> None:
    plan = forecast(settings(), FACTS, {}).plan
    assert plan.value("gradient_checkpointing") is False
    small = replace(FACTS, hardware=replace(LAPTOP, device_memory=plan.memory_bytes))
    assert forecast(settings(), small, {}).plan.value("gradient_checkpointing") is True
    assert forecast(settings(), small, {}).plan.fits
    refused = forecast(settings(gradient_checkpointing=False), small, {}).plan
    assert refused.value("gradient_checkpointing") is False


def test_what_does_not_fit_is_said() -> None:
    chosen = settings(gradient_checkpointing=False)
    plan = forecast(chosen, FACTS, {}).plan
    assert plan.fits
    small = replace(FACTS, hardware=replace(LAPTOP, device_memory=plan.memory_bytes))
    assert not forecast(chosen, small, {}).plan.fits
    checkpointed = forecast(settings(gradient_checkpointing=True), small, {}).plan
    assert checkpointed.memory_bytes < plan.memory_bytes
    assert checkpointed.fits
