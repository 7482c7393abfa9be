"""Packed examples stay apart in every architecture that says so, and the others say no.

Each model is built from transformers' own configuration classes with random weights; the oracle is
the model itself, run on one example at a time with its own attention.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from tunesmith.models.attention import (
    PACKED,
    can_pack,
    is_deterministic,
    packed_attention,
    packed_attention_on,
)

SHAPE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "head_dim": 8,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT2 = {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.3}
SLIDING = {"sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"]}
PACKING: dict[str, dict[str, Any]] = {
    "llama": SHAPE,
    "mistral": SHAPE | {"sliding_window": 5},
    "qwen2": SHAPE | SLIDING | {"use_sliding_window": True},
    "qwen3": SHAPE,
    "gemma": SHAPE,
    "gemma3_text": SHAPE | SLIDING,
    "phi3": SHAPE,
    "olmo2": SHAPE,
    "cohere": SHAPE | {"logit_scale": 0.5},
    "granite": SHAPE | {"logits_scaling": 2.0, "attention_multiplier": 0.3},
    "smollm3": SHAPE | {"no_rope_layer_interval": 2},
    "starcoder2": SHAPE | {"sliding_window": 5},
    "gpt2": GPT2 | {"bos_token_id": 1, "eos_token_id": 2, "attn_pdrop": 0.0},
    "gpt_neox": SHAPE,
}
REFUSING: dict[str, dict[str, Any]] = {
    "gemma2": SHAPE | {"attn_logit_softcapping": 30.0},
    "gpt_oss": SHAPE | {"num_local_experts": 2, "num_experts_per_tok": 1},
    "mamba": {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
    "lfm2": SHAPE | {"layer_types": ["conv", "full_attention"], "block_ff_dim": 48},
    "qwen3_next": SHAPE
    | {
        "layer_types": ["linear_attention", "full_attention"],
        "linear_num_value_heads": 2,
        "linear_num_key_heads": 2,
        "num_experts": 2,
        "num_experts_per_tok": 1,
    },
    "bloom": {"vocab_size": 64, "hidden_size": 32, "n_layer": 2, "n_head": 4},
    "stablelm": SHAPE,
    # These say that they take any attention, and then do not hand the lengths down to it, add sinks
    # to it, or have values narrower than their queries.
    "nemotron": SHAPE,
    "granite_swa": SHAPE,
    "mimo_v2_flash": SHAPE | {"n_routed_experts": 2, "num_experts_per_tok": 1},
    "minicpm3": SHAPE,
    # Their window stands in their mask alone, which a pack does without.
    "phimoe": SHAPE | {"sliding_window": 5, "num_local_experts": 2, "num_experts_per_tok": 1},
    "doge": SHAPE | {"sliding_window": 5},
}


def build(kind: str, settings: dict[str, Any]) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings)).eval()


def packed_logits(model: PreTrainedModel, parts: list[torch.Tensor]) -> torch.Tensor:
    with packed_attention_on(model):
        return model(
            input_ids=torch.cat(parts)[None],
            position_ids=torch.cat([torch.arange(len(part)) for part in parts])[None],
            segments=tuple(len(part) for part in parts),
            logits_to_keep=torch.arange(sum(map(len, parts))),
            use_cache=False,
        ).logits[0]


@pytest.mark.parametrize("kind", PACKING)
@torch.no_grad()
def test_packed_logits_are_those_of_each_example_alone(kind: str) -> None:
    model = build(kind, PACKING[kind])
    assert can_pack(model)
    parts = [torch.randint(3, 64, (length,)) for length in (9, 1, 14, 6)]
    alone = torch.cat([model(input_ids=part[None], use_cache=False).logits[0] for part in parts])
    torch.testing.assert_close(packed_logits(model, parts), alone, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", REFUSING)
def test_architectures_that_a_pack_would_mix_are_refused(kind: str) -> None:
    assert not can_pack(build(kind, REFUSING[kind]))


@pytest.mark.parametrize(
    ("kind", "settings", "plain"),
    [
        ("llama", SHAPE, True),
        ("llama", SHAPE | {"attention_dropout": 0.1}, False),
        ("gpt2", GPT2 | {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}, True),
        ("gpt2", GPT2, False),
        (
            "opt",  # drops by a function, with its rate in an attribute of its layers
            {"vocab_size": 64, "hidden_size": 32, "ffn_dim": 48, "word_embed_proj_dim": 32}
            | {"num_hidden_layers": 2, "num_attention_heads": 4, "dropout": 0.1},
            False,
        ),
    ],
)
def test_dropout_of_any_kind_is_seen(kind: str, settings: dict[str, Any], *, plain: bool) -> None:
    model = build(kind, settings)
    state = torch.get_rng_state()
    assert is_deterministic(model) == plain
    assert not model.training
    assert torch.equal(torch.get_rng_state(), state)


def test_an_adapters_dropout_is_seen_though_its_output_is_still_zero() -> None:
    for rate in (0.0, 0.1):
        config = LoraConfig(r=2, lora_dropout=rate, target_modules="all-linear")
        assert is_deterministic(get_peft_model(build("llama", SHAPE), config)) == (rate == 0)


def test_asking_changes_neither_mode_nor_randomness() -> None:
    model = build("llama", SHAPE | {"attention_dropout": 0.5}).train()
    state = torch.get_rng_state()
    assert can_pack(model)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)


def test_the_models_own_attention_is_back_behind_the_block() -> None:
    model = build("llama", SHAPE)
    before = model.config._attn_implementation
    assert before != PACKED
    with pytest.raises(KeyError), packed_attention_on(model):
        assert model.config._attn_implementation == PACKED
        raise KeyError("anything")
    assert model.config._attn_implementation == before


@pytest.mark.parametrize("window", [None, 1, 3, 50])
@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (4, 1)])
def test_attention_is_its_definition(heads: tuple[int, int], window: int | None) -> None:
    """Softmax of scaled scores over the keys that a query may see, head by head, token by token."""
    torch.manual_seed(0)
    lengths, width, scale = (4, 1, 7), 5, 0.37
    tokens = sum(lengths)
    query = torch.randn(1, heads[0], tokens, width)
    key, value = torch.randn(2, 1, heads[1], tokens, width).unbind()
    found, _ = packed_attention(
        torch.nn.Identity(),
        query,
        key,
        value,
        None,
        scaling=scale,
        segments=lengths,
        sliding_window=window,
    )
    assert found.shape == (1, tokens, heads[0], width)
    start = 0
    for length in lengths:
        for head in range(heads[0]):
            shared = head * heads[1] // heads[0]
            for i in range(length):
                first = start if window is None else max(start, start + i - window + 1)
                seen = slice(first, start + i + 1)
                scores = key[0, shared, seen] @ query[0, head, start + i] * scale
                expected = scores.softmax(0) @ value[0, shared, seen]
                torch.testing.assert_close(found[0, start + i, head], expected)
        start += length
