"""Time and cost: arithmetic that can be done by hand, and the cheapest machine that fits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from plan.shapes import DATA, FACTS, LLAMA_8B
from tunesmith.config import TrainingSettings
from tunesmith.plan import Facts, Forecast, find_gpu, forecast, load_gpus
from tunesmith.plan.cost import cost_of, training_flops, training_time

TABLE = load_gpus()
DATA_8B = replace(DATA, examples=1000, length_mean=300.0, length_max=600, length_sd=100.0)


def on(name: str, *, four_bit: bool = False) -> Facts:
    gpu = find_gpu(name, TABLE)
    return Facts(data=DATA_8B, model=LLAMA_8B, hardware=gpu.hardware(), four_bit=four_bit, gpu=gpu)


def settings(**values: Any) -> TrainingSettings:
    return TrainingSettings.model_validate(
        {"num_train_epochs": 1, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
        | values
    )


def forecasts(facts: Facts, **values: Any) -> Forecast:
    return forecast(settings(**values), facts, {}, table=TABLE)


def test_a_token_costs_four_flop_for_each_frozen_parameter() -> None:
    flops = training_flops(settings(), on("h100"), checkpointing=False)
    frozen = 4 * 6_979_321_856 * 300 * 1000
    assert frozen < flops < 1.1 * frozen  # the adapter, attention and the answers' logits
    again = training_flops(settings(), on("h100"), checkpointing=True)
    assert again / flops == pytest.approx(1.5, abs=0.03)


def test_lora_of_8b_on_an_h100_is_near_what_was_published() -> None:
    """NeMo Automodel reports 12.5k tokens/s for LoRA in bf16 on one H100."""
    seconds = training_time(settings(), on("h100"), checkpointing=False).seconds
    assert seconds is not None
    assert 10_000 < 300 * 1000 / seconds < 17_000


def test_cost_is_time_by_price() -> None:
    found = forecasts(on("a40"), max_steps=100)
    assert found.gpu is not None
    assert found.plan.seconds is not None
    assert found.plan.cost_usd == pytest.approx(found.plan.seconds / 3600 * found.gpu.usd)
    assert cost_of(None, on("a40")) is None


def test_a_machine_whose_speed_nobody_knows_has_no_time() -> None:
    found = forecast(settings(), FACTS, {}, table=TABLE)
    assert (found.plan.seconds, found.plan.cost_usd) == (None, None)
    assert "not known" in found.time
    measured = forecast(settings(), replace(FACTS, flops=50e9), {}, table=TABLE)
    assert measured.plan.seconds is not None
    assert measured.plan.cost_usd is None  # nobody rents it


def test_the_cheapest_is_the_cheapest_of_those_that_fit() -> None:
    found = forecasts(on("a40"))
    assert found.cheapest is not None
    for gpu in TABLE:
        there = forecasts(replace(on("a40"), hardware=gpu.hardware(), gpu=gpu))
        if there.plan.fits and there.plan.cost_usd is not None:
            assert found.cheapest.cost_usd <= there.plan.cost_usd
    assert find_gpu(found.cheapest.gpu, TABLE).memory * 2**30 > found.cheapest.memory_bytes
    assert found.cheapest.gpu != "T4"  # 8B in float32 is twice its memory


def test_nothing_is_cheapest_where_nothing_fits() -> None:
    huge = replace(on("a40"), model=replace(LLAMA_8B, parameters=200_000_000_000))
    assert forecasts(huge).cheapest is None


def test_advice_goes_on_until_it_fits_and_says_what_each_change_needs() -> None:
    found = forecasts(on("t4"))
    assert not found.plan.fits
    assert found.advice
    needed = [found.plan.memory_bytes, *(a.memory_bytes for a in found.advice)]
    assert needed == sorted(needed, reverse=True)
    assert [a.fits for a in found.advice] == [False] * (len(found.advice) - 1) + [True]
    assert "per_device_train_batch_size: 1" in found.advice[0].change
    assert any("load_in_4bit" in a.change for a in found.advice)
    assert forecasts(on("h200")).advice == ()


def test_an_uneven_label_is_warned_of() -> None:
    uneven = replace(FACTS, data=replace(DATA, labels={"full": 50, "partial": 45, "rejected": 5}))
    [warning] = forecast(settings(), uneven, {}).warnings
    assert "'rejected' has 5 of 100" in warning
    even = replace(FACTS, data=replace(DATA, labels={"full": 50, "rejected": 50}))
    assert forecast(settings(), even, {}).warnings == ()


def test_a_card_without_bfloat16_gives_no_time_for_it() -> None:
    """A T4 has none: the plan must leave it out, not divide by nothing."""
    facts = replace(on("t4"), dtype="bfloat16")
    found = training_time(settings(), facts, checkpointing=False)
    assert found.seconds is None
    assert "no bfloat16" in found.reason
    cheapest = forecasts(replace(on("a40"), dtype="bfloat16")).cheapest
    assert cheapest is not None
    assert cheapest.gpu != "T4"


def test_what_is_left_to_change_starts_where_a_training_gives_up() -> None:
    found = forecasts(on("h200"))
    assert found.advice == ()
    assert found.left
    assert "load_in_4bit" in found.left[0].change
    assert not any("per_device" in a.change or "checkpoint" in a.change for a in found.left)
    needed = [a.memory_bytes for a in found.left]
    assert needed == sorted(needed, reverse=True)
