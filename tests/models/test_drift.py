"""Drift against what PEFT itself makes of the weights when it merges."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import AdaLoraConfig, LoraConfig, PeftConfig, get_peft_model

from tiny_models import load_base
from tunesmith.models.drift import drift

WHERE = {"lora_alpha": 12, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
SHAPE = WHERE | {"r": 3}
KINDS = {
    "lora": LoraConfig(**SHAPE),
    "rslora": LoraConfig(**SHAPE, use_rslora=True),
    "ranks": LoraConfig(**SHAPE, rank_pattern={"q_proj": 1}, alpha_pattern={"q_proj": 5}),
    "dora": LoraConfig(**SHAPE, use_dora=True),
    "adalora": AdaLoraConfig(**WHERE, init_r=3, target_r=2, tinit=1, tfinal=1, total_step=10),
}


@pytest.mark.parametrize("kind", KINDS)
def test_drift_is_the_norm_of_what_merging_changes(
    kind: str, base_folder: Path, tmp_path: Path
) -> None:
    config: PeftConfig = KINDS[kind]
    base = load_base(base_folder).model
    before = {name: p.detach().double().clone() for name, p in base.named_parameters()}
    torch.manual_seed(3)
    model = get_peft_model(base, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name and "ranknum" not in name:
                factor = 1.1 if "magnitude" in name else 0.0
                parameter.copy_(factor * parameter + 0.1 * torch.randn_like(parameter))
    model.save_pretrained(str(tmp_path), save_embedding_layers=False)
    merged = dict(model.merge_and_unload().named_parameters())
    changed = sum(float((merged[n].double() - w).square().sum()) for n, w in before.items())
    loaded = load_base(base_folder)
    assert drift(loaded, tmp_path) == pytest.approx(changed**0.5, rel=1e-5)
    assert not hasattr(loaded.model, "peft_config")


def test_an_adapter_that_has_learned_nothing_moves_nothing(
    base_folder: Path, tmp_path: Path
) -> None:
    loaded = load_base(base_folder)
    for kind in ("lora", "dora"):
        get_peft_model(load_base(base_folder).model, KINDS[kind]).save_pretrained(
            str(tmp_path / kind), save_embedding_layers=False
        )
        assert drift(loaded, tmp_path / kind) == pytest.approx(0.0, abs=1e-5)
