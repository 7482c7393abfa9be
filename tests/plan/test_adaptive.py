"""Adaptive mode: the size table, overrides over it, and an effective batch of 8 whatever fits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plan.shapes import DATA, FACTS, LLAMA_8B
from tunesmith.config import TrainingSettings
from tunesmith.plan import Facts, forecast, load_gpus
from tunesmith.plan.adaptive import length_for, percentile99
from tunesmith.records import Plan
from tunesmith.train.loop import count_steps

GPUS = load_gpus()


def of(examples: int, **data: Any) -> Facts:
    return replace(FACTS, data=replace(DATA, examples=examples, **data))


def planned(facts: Facts, origins: dict[str, str] | None = None, **values: Any) -> Plan:
    settings = TrainingSettings.model_validate({"mode": "adaptive"} | values)
    return forecast(settings, facts, origins or {}).plan


@pytest.mark.parametrize(
    ("examples", "rank", "alpha", "epochs", "rows", "accumulation", "length"),
    [
        (1, 8, 16, 10, 2, 4, 512),
        (99, 8, 16, 10, 2, 4, 512),
        (100, 16, 32, 5, 2, 4, 640),
        (499, 16, 32, 5, 2, 4, 640),
        (500, 32, 64, 3, 4, 2, 768),
        (20_000, 32, 64, 3, 4, 2, 768),
    ],
)
def test_the_table_is_that_of_the_issue(
    examples: int, rank: int, alpha: int, epochs: int, rows: int, accumulation: int, length: int
) -> None:
    plan = planned(of(examples))
    for name, value in {
        "lora_r": rank,
        "lora_alpha": alpha,
        "num_train_epochs": epochs,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": accumulation,
        "max_length": length,
        "lr_scheduler_type": "cosine",
    }.items():
        assert plan.value(name) == value, name
    sources = {c.name: c.source for c in plan.choices}
    assert sources["lora_r"].startswith("size table, ")
    assert sources["learning_rate"] == "arXiv 2305.14314, table 9"


@given(st.integers(1, 30_000))
def test_warm_up_is_a_tenth_of_the_steps_and_never_over_fifty(examples: int) -> None:
    plan = planned(of(examples))
    warmup = plan.value("warmup_steps")
    assert 1 <= warmup <= 50
    assert warmup == max(1, min(-(-plan.steps // 10), 50))
    decided = TrainingSettings.model_validate({c.name: c.value for c in plan.choices})
    assert plan.steps == count_steps(examples, decided)


def test_what_the_recipe_says_stands_over_the_table() -> None:
    plan = planned(of(50), {"lora_r": "recipe, line 9", "num_train_epochs": "set"},
                   lora_r=64, num_train_epochs=1)  # fmt: skip
    assert (plan.value("lora_r"), plan.value("num_train_epochs")) == (64, 1)
    assert plan.value("lora_alpha") == 128  # the scale of the table, for the rank that was asked
    sources = {c.name: c.source for c in plan.choices}
    assert (sources["lora_r"], sources["num_train_epochs"]) == ("recipe, line 9", "set")


@given(st.sampled_from([8, 12, 16, 24, 40, 80]), st.integers(64, 4000), st.booleans())
def test_the_effective_batch_is_eight_whatever_fits(gib: int, longest: int, four_bit: bool) -> None:
    card = replace(GPUS[0].hardware(), device_memory=gib * 2**30)
    data = replace(DATA, examples=2000, length_mean=longest / 2, length_max=longest)
    facts = Facts(data=data, model=LLAMA_8B, hardware=card, four_bit=four_bit)
    plan = planned(facts)
    rows = plan.value("per_device_train_batch_size")
    assert rows * plan.value("gradient_accumulation_steps") == 8
    if not plan.fits:
        assert (rows, plan.value("gradient_checkpointing")) == (1, True)


def test_a_cut_that_is_said_is_completed_to_eight() -> None:
    said = {"per_device_train_batch_size": "set"}
    assert (
        planned(of(50), said, per_device_train_batch_size=4).value("gradient_accumulation_steps")
        == 2
    )
    said = {"gradient_accumulation_steps": "set"}
    assert (
        planned(of(50), said, gradient_accumulation_steps=8).value("per_device_train_batch_size")
        == 1
    )


def test_the_length_is_never_below_the_99th_percentile_without_saying_so() -> None:
    raised = planned(of(50, length_p99=900, length_max=1000))
    assert raised.value("max_length") == 900
    reason = next(c.reason for c in raised.choices if c.name == "max_length")
    assert "raised" in reason
    assert length_for(3000, 50, 2048).value == 2048  # the model's context bounds it
    assert "below the 99th percentile" in length_for(3000, 50, 2048).reason
    settings = TrainingSettings(max_length=256)
    few = forecast(settings, replace(of(1000), overlong=9, bounded=1000), {})
    assert not any("percentile" in warning for warning in few.warnings)
    [warning] = forecast(settings, replace(of(700), overlong=20, bounded=1000), {}).warnings
    assert "256 is below the 99th percentile" in warning
    assert "20 of 1000" in warning


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=400))
def test_99_in_100_do_not_pass_the_percentile(lengths: list[int]) -> None:
    limit = percentile99(lengths)
    assert sum(n <= limit for n in lengths) >= 0.99 * len(lengths)
    assert limit in lengths


def test_a_model_over_20_billion_learns_at_half_the_rate() -> None:
    large = replace(of(50), model=replace(LLAMA_8B, parameters=70_000_000_000))
    assert planned(large).value("learning_rate") == 1e-4
    assert planned(of(50)).value("learning_rate") == 2e-4


def test_a_fixed_plan_is_what_the_recipe_says() -> None:
    settings = TrainingSettings(lora_r=5)
    plan = forecast(settings, of(50), {"lora_r": "recipe, line 3"}).plan
    assert plan.value("lora_r") == 5
    assert plan.value("num_train_epochs") == 3
    assert plan.value("mode") == "fixed"
