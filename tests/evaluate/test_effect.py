"""An adapter that does nothing is noticed, on a full base and on a 4-bit one."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tunesmith.config import ModelSettings
from tunesmith.evaluate.effect import changed_share
from tunesmith.models.load import load
from tunesmith.records import Example, Message

EXAMPLES = [Example((Message("user", f"Reverse the list: red, {i}, blue"),), "-") for i in range(4)]


@pytest.mark.parametrize("four_bit", [False, True])
def test_an_adapter_of_zeros_changes_nothing_and_another_does(four_bit: bool) -> None:
    torch.manual_seed(0)
    loaded = load(ModelSettings(name="nano"), four_bit=four_bit)
    model = get_peft_model(loaded.model, LoraConfig(r=4, target_modules="all-linear"))
    from dataclasses import replace

    tuned = replace(loaded, model=model)
    assert changed_share(tuned, EXAMPLES) == 0.0  # PEFT starts B at zero
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.5)
    assert changed_share(tuned, EXAMPLES) == 1.0
    assert changed_share(tuned, []) == 0.0
