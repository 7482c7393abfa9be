"""The memory estimate: exact where it can be counted, monotone where it cannot."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig

from plan.shapes import DATA, FACTS, LAPTOP, LLAMA_8B
from tiny_models import load_base, tiny_llama, tiny_tokenizer
from tunesmith.config import ModelSettings, TrainingSettings
from tunesmith.models.attention import packed_attention_on
from tunesmith.models.load import model_facts, skeleton
from tunesmith.models.render import Encoded
from tunesmith.plan import Facts, Memory, estimate_memory, find_gpu, load_gpus
from tunesmith.plan.facts import fullest, usual
from tunesmith.plan.memory import (
    adapter_parameters,
    layer_bytes,
    linear_parameters,
    optimizer_bytes,
    weight_bytes,
)
from tunesmith.records import DataFacts, ModelFacts
from tunesmith.train.batches import BatchBuilder, effective_batches, pack
from tunesmith.train.fused import fused_adapters
from tunesmith.train.loss import answer_nll
from tunesmith.train.method import get_method

A100 = find_gpu("a100", load_gpus())
LLAMA = Facts(
    data=replace(DATA, examples=1000, length_mean=300.0, length_p99=500, length_max=600),
    model=LLAMA_8B,
    hardware=A100.hardware(),
    four_bit=False,
    gpu=A100,
)


def settings(**values: Any) -> TrainingSettings:
    return TrainingSettings.model_validate({"per_device_train_batch_size": 4} | values)


def estimate(facts: Facts = LLAMA, *, checkpointing: bool = False, **values: Any) -> Memory:
    return estimate_memory(settings(**values), facts, checkpointing=checkpointing)


def with_data(**changes: Any) -> Facts:
    return replace(LLAMA, data=replace(LLAMA.data, **changes))


@given(st.integers(300, 4000), st.integers(300, 4000), st.integers(1, 64), st.integers(1, 64))
def test_longer_examples_and_larger_batches_never_take_less(
    one: int, two: int, few: int, many: int
) -> None:
    short, long = sorted((one, two))
    small, large = sorted((few, many))
    at = [with_data(length_max=longest) for longest in (short, long)]

    def total(facts: Facts, rows: int) -> int:
        return estimate(
            facts, per_device_train_batch_size=rows, gradient_accumulation_steps=2
        ).total

    assert total(at[0], small) <= total(at[1], small)
    assert total(at[0], small) <= total(at[0], large)


@given(st.integers(1, 512), st.integers(1, 512))
def test_a_higher_rank_takes_more_in_proportion(one: int, two: int) -> None:
    assert estimate(lora_r=one).adapter * two == estimate(lora_r=two).adapter * one


def test_four_bits_and_checkpointing_take_less() -> None:
    packed = replace(LLAMA, four_bit=True)
    assert estimate(packed).weights < 0.4 * estimate().weights
    assert estimate(checkpointing=True).activations < 0.1 * estimate().activations
    assert estimate(packed).adapter == estimate().adapter
    assert estimate(replace(LLAMA, dtype="float32")).weights == 2 * estimate().weights
    assert estimate(replace(LLAMA, hardware=LAPTOP)).weights == 2 * estimate().weights


def test_the_adapter_of_llama_8b_is_what_peft_prints_for_it() -> None:
    # r 16 on all seven projections: the count in many a published training log.
    assert adapter_parameters(LLAMA_8B, 16, "all-linear") == 41_943_040
    memory = estimate()
    assert memory.adapter == memory.gradients == 41_943_040 * 4
    assert memory.optimizer == 41_943_040 * 8  # two moments in float32


def test_the_weights_of_llama_8b_are_as_published() -> None:
    """16 bit: the 16.06 GB of its safetensors. NF4: the 5.4 to 5.8 GB of the prequantised copies on
    the hub, 3.5 GB of 4-bit linear maps (QLoRA: 0.5 + 0.127 bits / 8 each) and 2.1 GB of embeddings
    and head in 16 bit."""
    assert weight_bytes(LLAMA) == pytest.approx(16.06e9, rel=0.001)
    assert 5.4e9 < weight_bytes(replace(LLAMA, four_bit=True)) < 5.8e9
    assert linear_parameters(LLAMA_8B) == 6_979_321_856
    once = weight_bytes(replace(LLAMA, four_bit=True, double_quant=False))
    saved = (once - weight_bytes(replace(LLAMA, four_bit=True))) * 8 / 6_979_321_856
    assert saved == pytest.approx(0.373, abs=0.001)  # bits a weight: QLoRA, section 3


def test_qlora_of_8b_fits_24_gib_and_long_batches_in_16_bit_do_not() -> None:
    packed = replace(LLAMA, four_bit=True)
    assert 6 * 2**30 < estimate(packed, checkpointing=True, lora_r=16).total < 12 * 2**30
    assert estimate(with_data(length_mean=1900.0, length_max=2048)).total > 24 * 2**30


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
    tiny_llama(**shape).config.save_pretrained(str(tmp_path))
    facts = model_facts(ModelSettings.model_validate({"name": str(tmp_path)}))
    wrapped = get_peft_model(
        tiny_llama(**shape),
        LoraConfig(
            task_type="CAUSAL_LM",
            r=rank,
            target_modules=targets if isinstance(targets, str) else list(targets),
        ),
    )
    trainable, _ = wrapped.get_nb_trainable_parameters()
    assert adapter_parameters(facts, rank, targets) == trainable


def test_8b_on_the_meta_device_has_these_parameters_and_this_adapter() -> None:
    config = LlamaConfig(
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
    )
    model = skeleton(config)
    assert model.num_parameters() == LLAMA_8B.parameters
    with torch.device("meta"):
        wrapped = get_peft_model(
            model, LoraConfig(task_type="CAUSAL_LM", r=64, target_modules="all-linear")
        )
    trainable, _ = wrapped.get_nb_trainable_parameters()
    assert adapter_parameters(LLAMA_8B, 64, "all-linear") == trainable


def base_facts(folder: Path, *, four_bit: bool = False) -> Facts:
    model = model_facts(ModelSettings.model_validate({"name": str(folder)}))
    return replace(FACTS, model=model, four_bit=four_bit, dtype="float32")


@pytest.mark.parametrize("method", ["lora", "dora", "adalora"])
def test_the_adapters_bytes_are_those_that_training_holds(base_folder: Path, method: str) -> None:
    """Weights, gradients and both moments of a real step, counted tensor by tensor."""
    chosen = settings(lora_r=8, lora_alpha=8)
    loaded = load_base(base_folder)
    model = get_method(method).attach(loaded.model, chosen)
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable)
    model(torch.arange(12)[None]).logits.sum().backward()
    optimizer.step()
    moments = [s[k] for s in optimizer.state.values() for k in ("exp_avg", "exp_avg_sq")]
    facts = replace(base_facts(base_folder), method=method)
    memory = estimate_memory(chosen, facts, checkpointing=False)
    assert memory.adapter == sum(p.nbytes for p in trainable)
    assert memory.gradients == sum(p.grad.nbytes for p in trainable if p.grad is not None)
    assert memory.optimizer == sum(t.nbytes for t in moments)


def test_eight_bit_moments_are_counted_as_bitsandbytes_keeps_them() -> None:
    """Two bytes a parameter and two float32 scales a block of 256; float32 below 4,096 elements."""
    few = ModelFacts(
        name="", architecture="", parameters=0, layers=1, hidden=512, intermediate=1024, heads=4,
        key_value_heads=4, head_dim=128, vocabulary=1, context=1, tied_embeddings=True,
    )  # fmt: skip
    facts = replace(LLAMA, model=few)
    chosen = settings(optim="paged_adamw_8bit", lora_r=8, target_modules=["q_proj"])
    assert optimizer_bytes(chosen, facts) == 2 * 2 * (4096 + 4 * 16)
    smaller = chosen.model_copy(update={"lora_r": 4})
    assert optimizer_bytes(smaller, facts) == 2 * 2 * 2048 * 4
    on_cpu = replace(facts, hardware=LAPTOP)  # adamw_torch stands in for it there
    assert optimizer_bytes(chosen, on_cpu) == 2 * 2 * 4096 * 4
    assert optimizer_bytes(chosen.model_copy(update={"optim": "sgd"}), facts) == 2 * 4096 * 4


def test_the_weights_bytes_are_those_of_the_loaded_model(base_folder: Path) -> None:
    model = load_base(base_folder).model
    assert weight_bytes(base_facts(base_folder)) == 4 * model.num_parameters()
    linear = [m for m in model.model.modules() if isinstance(m, torch.nn.Linear)]
    facts = base_facts(base_folder).model
    assert linear_parameters(facts) == sum(m.weight.numel() for m in linear)


def test_four_bit_weights_are_near_what_bitsandbytes_holds(base_folder: Path) -> None:
    bnb = pytest.importorskip("bitsandbytes")
    model = load_base(base_folder, four_bit=True).model
    held = 0
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            held += parameter.numel() * parameter.element_size()
        if isinstance(module, bnb.nn.Linear4bit) and module.weight.quant_state is not None:
            absmax = module.weight.quant_state.absmax
            held += absmax.numel() * absmax.element_size()
    assert weight_bytes(base_facts(base_folder, four_bit=True)) == pytest.approx(held, rel=0.1)


SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "num_key_value_heads": 2,
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("targets", ["all-linear", ("q_proj", "v_proj"), ("down_proj",)], ids=str)
@pytest.mark.parametrize("method", ["lora", "dora", "adalora"])
def test_a_layer_saves_what_autograd_was_seen_to_save(
    tmp_path: Path, dtype: str, targets: str | tuple[str, ...], method: str
) -> None:
    """Every tensor that the forward pass hands to autograd, once for each storage."""
    tiny_llama(**SHAPE).config.save_pretrained(str(tmp_path))
    tiny_tokenizer().save_pretrained(str(tmp_path))
    chosen = settings(lora_r=8, target_modules=targets)
    kind = getattr(torch, dtype)
    batch = pack(
        [Encoded(tuple((i * 31 + k) % 360 for i in range(100)), 90) for k in range(4)],
        shared=False,
    )
    found = {}
    for layers in (2, 4):  # the difference is two layers, and nothing else
        base = tiny_llama(**SHAPE | {"num_hidden_layers": layers}).to(kind)
        model = get_method(method).attach(base, chosen)
        model.train()
        known = {p.untyped_storage().data_ptr() for p in model.parameters()}
        saved: dict[int, torch.Tensor] = {}

        def keep(
            tensor: torch.Tensor,
            known: set[int] = known,
            saved: dict[int, torch.Tensor] = saved,
        ) -> torch.Tensor:
            place = tensor.untyped_storage().data_ptr()
            # Of 100 tokens an example: in 16 bit autocast keeps the adapter's weights, too.
            if place not in known and tensor.numel() % 100 == 0:
                saved[place] = tensor
            return tensor

        cast = torch.autocast("cpu", kind) if dtype == "bfloat16" else nullcontext()
        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with packed_attention_on(base), fused_adapters(model), cast, hooks:
            answer_nll(model, batch)
        found[layers] = sum(t.untyped_storage().nbytes() for t in saved.values())
    facts = replace(base_facts(tmp_path), dtype=dtype, method=method)
    expected = 2 * 400 * layer_bytes(chosen, facts)
    assert found[4] - found[2] == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(("rows", "accumulation"), [(8, 1), (4, 2), (2, 8)])
def test_the_fullest_micro_batch_is_that_of_the_loop(rows: int, accumulation: int) -> None:
    draw = torch.Generator().manual_seed(5)
    lengths = (60 + 200 * torch.rand(300, generator=draw) ** 2).long().tolist()
    shared = list(range(1000, 1032))  # 32 tokens at the start of every example
    encoded = [
        Encoded(tuple(shared + [(7 * i + k) % 900 for i in range(n - 32)]), n - 10)
        for k, n in enumerate(lengths)
    ]
    facts = DataFacts(
        examples=300,
        length_mean=sum(lengths) / 300,
        length_p99=sorted(lengths)[297],
        length_max=max(lengths),
        answer_mean=10.0,
        length_sd=float(torch.tensor(lengths).float().std()),
        shared_prefix=32,
    )
    chosen = settings(per_device_train_batch_size=rows, gradient_accumulation_steps=accumulation)
    builder = BatchBuilder(rows=rows, longest=max(lengths), packed=True, pad_id=0)
    computed = [
        batch.input_ids.numel()
        for epoch in range(3)
        for indices in effective_batches(300, rows * accumulation, seed=1, epoch=epoch)
        for batch in builder.micro_batches([encoded[i] for i in indices])
    ]
    there = replace(LLAMA, data=facts)
    assert fullest(chosen, there).tokens == pytest.approx(max(computed), rel=0.1)
    whole = usual(chosen, there)
    per_example = sum(computed) / (3 * 300)
    assert whole.tokens / whole.examples == pytest.approx(per_example, rel=0.1)
