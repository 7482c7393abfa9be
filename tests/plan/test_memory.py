"""The memory estimate: exact where it can be counted, monotone where it cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model

from tiny_models import load_base, tiny_llama, tiny_tokenizer
from tunesmith.config import ModelSettings, TrainingSettings
from tunesmith.models.load import model_facts
from tunesmith.plan import Memory, estimate_memory
from tunesmith.plan.memory import adapter_parameters, linear_parameters
from tunesmith.records import DataFacts, ModelFacts
from tunesmith.train.method import get_method

LLAMA_8B = ModelFacts(
    name="meta-llama/Llama-3.1-8B-Instruct",
    architecture="llama",
    parameters=8_030_261_248,
    layers=32,
    hidden=4096,
    intermediate=14336,
    heads=32,
    key_value_heads=8,
    head_dim=128,
    vocabulary=128256,
    context=131072,
    tied_embeddings=False,
)
DATA = DataFacts(examples=1000, length_mean=300.0, length_p99=500, length_max=600, answer_mean=60.0)
ASKED: dict[str, Any] = {
    "rank": 16,
    "target_modules": "all-linear",
    "rows": 4,
    "bytes_per_weight": 2,
    "four_bit": False,
    "checkpointing": False,
}


def estimate(data: DataFacts = DATA, model: ModelFacts = LLAMA_8B, **changes: Any) -> Memory:
    return estimate_memory(model, data, **(ASKED | changes))


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(1, 64), st.integers(1, 64))
def test_longer_examples_and_larger_batches_never_take_less(
    one: int, two: int, few: int, many: int
) -> None:
    short, long = sorted((one, two))
    small, large = sorted((few, many))
    at = replace(DATA, length_max=short), replace(DATA, length_max=long)
    assert estimate(at[0], rows=small).total <= estimate(at[1], rows=small).total
    assert estimate(at[0], rows=small).total <= estimate(at[0], rows=large).total
    if small < large:
        assert estimate(at[0], rows=small).total < estimate(at[0], rows=large).total


@given(st.integers(1, 512), st.integers(1, 512))
def test_a_higher_rank_takes_more_in_proportion(one: int, two: int) -> None:
    assert estimate(rank=one).adapter * two == estimate(rank=two).adapter * one


def test_four_bits_and_checkpointing_take_less() -> None:
    assert estimate(four_bit=True).weights < 0.4 * estimate().weights
    assert estimate(checkpointing=True).activations < 0.3 * estimate().activations
    assert estimate(four_bit=True).adapter == estimate().adapter
    assert estimate(bytes_per_weight=4).weights == 2 * estimate().weights


def test_the_adapter_of_llama_8b_is_what_peft_prints_for_it() -> None:
    # r 16 on all seven projections: the count in many a published training log.
    assert adapter_parameters(LLAMA_8B, 16, "all-linear") == 41_943_040
    assert estimate().adapter == 41_943_040 * 16  # weight, gradient, two moments in float32


@pytest.mark.parametrize("rank", [1, 8])
@pytest.mark.parametrize(
    "targets",
    ["all-linear", ("q_proj", "v_proj"), ("k_proj", "o_proj", "down_proj"), ("gate_proj",)],
    ids=str,
)
@pytest.mark.parametrize(
    "shape",
    [{}, {"num_key_value_heads": 1, "num_hidden_layers": 3}, {"head_dim": 16}],
    ids=["plain", "one-kv-head", "wide-heads"],
)
def test_the_adapters_count_is_pefts_own(
    tmp_path: Path, rank: int, targets: str | tuple[str, ...], shape: dict[str, int]
) -> None:
    tiny_tokenizer().save_pretrained(str(tmp_path))
    model = tiny_llama(**shape)
    model.config.save_pretrained(str(tmp_path))
    facts = model_facts(ModelSettings.model_validate({"name": str(tmp_path)}))
    wrapped = get_peft_model(
        model,
        LoraConfig(
            task_type="CAUSAL_LM",
            r=rank,
            target_modules=targets if isinstance(targets, str) else list(targets),
        ),
    )
    trainable, _ = wrapped.get_nb_trainable_parameters()
    assert adapter_parameters(facts, rank, targets) == trainable


def test_the_adapters_bytes_are_those_that_training_holds(base_folder: Path) -> None:
    """Weights, gradients and both moments of a real step, counted tensor by tensor."""
    settings = TrainingSettings.model_validate({"lora_r": 8, "lora_alpha": 8})
    loaded = load_base(base_folder)
    model = get_method("lora").attach(loaded.model, settings)
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable)
    model(torch.arange(12)[None]).logits.sum().backward()
    optimizer.step()
    held = [*trainable, *(p.grad for p in trainable if p.grad is not None)]
    held += [s[k] for s in optimizer.state.values() for k in ("exp_avg", "exp_avg_sq")]
    facts = model_facts(ModelSettings.model_validate({"name": str(base_folder)}))
    memory = estimate(model=facts, rank=8)
    assert memory.adapter == sum(t.numel() * t.element_size() for t in held)


def test_the_weights_bytes_are_those_of_the_loaded_model(base_folder: Path) -> None:
    facts = model_facts(ModelSettings.model_validate({"name": str(base_folder)}))
    model = load_base(base_folder).model
    bytes_held = sum(p.numel() * p.element_size() for p in model.parameters())
    assert estimate(model=facts, bytes_per_weight=4).weights == bytes_held
    linear = [m for m in model.model.modules() if isinstance(m, torch.nn.Linear)]
    assert linear_parameters(facts) == sum(m.weight.numel() for m in linear)


def test_four_bit_weights_are_near_what_bitsandbytes_holds(base_folder: Path) -> None:
    bnb = pytest.importorskip("bitsandbytes")
    facts = model_facts(ModelSettings.model_validate({"name": str(base_folder)}))
    model = load_base(base_folder, four_bit=True).model
    held = 0
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            held += parameter.numel() * parameter.element_size()
        if isinstance(module, bnb.nn.Linear4bit) and module.weight.quant_state is not None:
            absmax = module.weight.quant_state.absmax
            held += absmax.numel() * absmax.element_size()
    assert estimate(model=facts, bytes_per_weight=4, four_bit=True).weights == pytest.approx(
        held, rel=0.1
    )
