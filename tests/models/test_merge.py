"""Merging and concatenating against PEFT's own, in float64; and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
)

from tiny_models import load_base, tiny_llama, tiny_tokenizer
from tunesmith.errors import ModelError
from tunesmith.models import nano
from tunesmith.models.load import Loaded
from tunesmith.models.merge import concatenate, merge

# What PEFT says where an embedding is adapted, or a model keeps its weights the other way round.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning"),
    pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning"),
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning"),
]
IDS = torch.arange(40)[None] * 7 % 360


def write_adapter(base: Path, directory: Path, *, seed: int = 0, **settings: Any) -> Path:
    """An adapter with random A and B, written by PEFT."""
    torch.manual_seed(seed)
    wanted = {"r": 4, "lora_alpha": 6, "target_modules": "all-linear"} | settings
    config = LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **wanted)
    get_peft_model(load_base(base).model, config).save_pretrained(str(directory))
    return directory


def by_peft(model: PreTrainedModel, *adapters: Path) -> PreTrainedModel:
    """PEFT's own merge, one adapter after another, in float64."""
    model = model.double()
    for adapter in adapters:
        model = PeftModel.from_pretrained(model, str(adapter), autocast_adapter_dtype=False)
        model = model.double().merge_and_unload()
    return model


def plain(folder: Path, **settings: Any) -> PreTrainedModel:
    """A folder as transformers alone reads it."""
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(str(folder), **settings)
    return model.eval()


def state(loaded: Loaded) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in loaded.model.state_dict().items()}


def apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative distance."""
    return float((found - expected).norm() / expected.norm())


def assert_same_weights(found: PreTrainedModel, expected: PreTrainedModel) -> None:
    """Equal to the last place of float32 (a sum of two rounded ones: two units of 2^-24)."""
    exact = expected.state_dict()
    assert found.state_dict().keys() == exact.keys()
    for name, weight in found.state_dict().items():
        assert weight.dtype == torch.float32
        torch.testing.assert_close(weight.double(), exact[name], rtol=5e-7, atol=1e-7, msg=name)


KINDS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True, "target_modules": ["q_proj", "down_proj"]},
    "patterns": {
        "rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 7},
        "alpha_pattern": {"q_proj": 5, "down_proj": 1},
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_folder_is_pefts_merge_in_float64(
    base_folder: Path, tmp_path: Path, kind: str
) -> None:
    adapter = write_adapter(base_folder, tmp_path / "adapter", **KINDS[kind])
    merged = merge(load_base(base_folder), adapter, tmp_path / "merged")
    assert_same_weights(plain(tmp_path / "merged"), by_peft(plain(base_folder), adapter))
    assert merged.layers == (4 if kind == "rslora" else 14)
    assert merged.bytes == sum(file.stat().st_size for file in (tmp_path / "merged").iterdir())


def test_the_base_stays_as_it_is_and_the_folder_has_all_that_belongs_to_a_model(
    base_folder: Path, adapter_folder: Path, tmp_path: Path
) -> None:
    loaded = load_base(base_folder)
    before, config = state(loaded), loaded.model.config.to_dict()
    modules = [name for name, _ in loaded.model.named_modules()]
    merge(loaded, adapter_folder, tmp_path / "merged")
    after = loaded.model.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert loaded.model.config.to_dict() == config
    assert [name for name, _ in loaded.model.named_modules()] == modules
    tokenizer = AutoTokenizer.from_pretrained(str(tmp_path / "merged"))
    assert tokenizer.get_vocab() == loaded.renderer.tokenizer.get_vocab()
    assert tokenizer.chat_template == loaded.renderer.tokenizer.chat_template
    again = load_base(tmp_path / "merged")  # the base of the next session
    assert again.renderer.stop_ids == loaded.renderer.stop_ids
    assert again.context == loaded.context


def test_the_size_of_the_update_is_told(base_folder: Path, tmp_path: Path) -> None:
    adapter = write_adapter(base_folder, tmp_path / "adapter")
    merged = merge(load_base(base_folder), adapter, tmp_path / "merged")
    base, tuned = plain(base_folder).state_dict(), plain(tmp_path / "merged").state_dict()
    names = [name for name in base if not torch.equal(base[name], tuned[name])]
    joined = torch.cat([base[name].flatten() for name in names])
    change = torch.cat([(tuned[name] - base[name]).flatten() for name in names])
    assert merged.update == pytest.approx(float(change.norm() / joined.norm()), rel=1e-5)


def test_a_base_in_bfloat16_is_merged_in_float32(base_folder: Path, tmp_path: Path) -> None:
    adapter = write_adapter(base_folder, tmp_path / "adapter")
    loaded = load_base(base_folder, dtype="bfloat16")
    merge(loaded, adapter, tmp_path / "merged")
    coarse = plain(base_folder, dtype=torch.bfloat16).float()
    assert_same_weights(plain(tmp_path / "merged"), by_peft(coarse, adapter))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_base_in_four_bits_is_merged_on_what_it_computes_with(
    base_folder: Path, adapter_folder: Path, tmp_path: Path, dtype: str
) -> None:
    loaded = load_base(base_folder, four_bit=True, dtype=dtype)
    before = state(loaded)
    merge(loaded, adapter_folder, tmp_path / "merged")
    assert all(torch.equal(before[key], value) for key, value in state(loaded).items())
    assert loaded.model.is_loaded_in_4bit
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config["dtype"] == "float32"
    assert "quantization_config" not in config
    whole = load_base(base_folder, four_bit=True, dtype=dtype).model.dequantize().float()
    assert_same_weights(plain(tmp_path / "merged"), by_peft(whole, adapter_folder))


def test_nano_keeps_its_tied_embedding(tmp_path: Path) -> None:
    adapter = write_adapter(nano.path(), tmp_path / "adapter")
    merge(load_base(nano.path()), adapter, tmp_path / "merged")
    found = plain(tmp_path / "merged")
    assert found.get_output_embeddings().weight is found.get_input_embeddings().weight
    assert "lm_head.weight" not in load_file(tmp_path / "merged" / "model.safetensors")
    assert_same_weights(found, by_peft(plain(nano.path(), dtype=torch.float32), adapter))


def test_an_adapted_head_is_untied_from_the_embedding_that_stays(tmp_path: Path) -> None:
    base = tmp_path / "base"
    tiny_tokenizer().save_pretrained(str(base))
    model = tiny_llama(360)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(str(base))
    adapter = write_adapter(base, tmp_path / "adapter", target_modules=["q_proj", "lm_head"])
    merge(load_base(base), adapter, tmp_path / "merged")
    found = plain(tmp_path / "merged")
    assert not found.config.tie_word_embeddings
    tuned = PeftModel.from_pretrained(plain(base), str(adapter))
    with torch.no_grad():
        torch.testing.assert_close(found(IDS).logits, tuned(IDS).logits, rtol=1e-4, atol=1e-5)
        assert torch.equal(
            found.get_input_embeddings().weight, plain(base).get_input_embeddings().weight
        )
    other = load_base(base)
    other.model.lm_head.weight.data += 1  # PEFT stored the head beside A and B: it is compared
    with pytest.raises(ModelError, match=r"the lm_head.weight that it brings along is another"):
        merge(other, adapter, tmp_path / "another")


def test_weights_come_in_shards_where_they_are_many(
    base_folder: Path, adapter_folder: Path, tmp_path: Path
) -> None:
    whole = merge(load_base(base_folder), adapter_folder, tmp_path / "whole")
    parted = merge(load_base(base_folder), adapter_folder, tmp_path / "parted", shard_bytes=30_000)
    assert len(list((tmp_path / "parted").glob("model-*.safetensors"))) > 3
    assert (parted.layers, parted.tensors, parted.update) == (
        whole.layers,
        whole.tensors,
        pytest.approx(whole.update),
    )
    one, two = plain(tmp_path / "whole").state_dict(), plain(tmp_path / "parted").state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def gpt2() -> PreTrainedModel:
    config = GPT2Config(
        vocab_size=360, n_embd=32, n_layer=2, n_head=4, n_positions=64, n_inner=48,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return GPT2LMHeadModel(config)


def mixtral() -> PreTrainedModel:
    config = MixtralConfig(
        vocab_size=360, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, num_local_experts=3,
        max_position_embeddings=64,
    )  # fmt: skip
    return MixtralForCausalLM(config)


@pytest.mark.parametrize(
    ("make", "targets"),
    [(gpt2, ["c_attn", "c_fc"]), (mixtral, ["q_proj", "o_proj"])],
    ids=["transposed weights", "experts under other names on disk"],
)
def test_other_families(tmp_path: Path, make: Callable[[], Any], targets: list[str]) -> None:
    base = tmp_path / "base"
    torch.manual_seed(5)
    tiny_tokenizer().save_pretrained(str(base))
    make().save_pretrained(str(base))
    adapter = write_adapter(base, tmp_path / "adapter", target_modules=targets)
    merge(load_base(base), adapter, tmp_path / "merged", shard_bytes=20_000)
    assert_same_weights(plain(tmp_path / "merged"), by_peft(plain(base), adapter))
    on_disk = {
        key for file in (tmp_path / "merged").glob("*.safetensors") for key in load_file(file)
    }
    assert on_disk == load_file(base / "model.safetensors").keys()


def name_base(directory: Path, name: str) -> None:
    file = directory / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"base_model_name_or_path": name}))


def test_an_adapter_of_another_base_is_refused(base_folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    tiny_tokenizer().save_pretrained(str(other))
    tiny_llama(360, intermediate_size=48).save_pretrained(str(other))
    adapter = write_adapter(other, tmp_path / "adapter")
    with pytest.raises(ModelError, match=r"does not fit .*mlp\.\w+_proj is \(\d+, \d+\), the adap"):
        merge(load_base(base_folder), adapter, tmp_path / "merged")
    deeper = tmp_path / "deeper"
    tiny_tokenizer().save_pretrained(str(deeper))
    tiny_llama(360, num_hidden_layers=3).save_pretrained(str(deeper))
    adapter = write_adapter(deeper, tmp_path / "adapter of deeper")
    with pytest.raises(ModelError, match=r"there is no linear layer model\.layers\.2"):
        merge(load_base(base_folder), adapter, tmp_path / "merged")


def test_an_adapter_that_names_another_model_of_the_hub_is_refused(
    base_folder: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(base_folder, tmp_path / "adapter", target_modules=["q_proj"])
    name_base(adapter, "meta/llama-1")
    loaded = replace(load_base(base_folder), name="meta/llama-2")
    with pytest.raises(ModelError, match="does not fit meta/llama-2: it was made for meta/llama-1"):
        merge(loaded, adapter, tmp_path / "merged")
    merge(replace(loaded, name="meta/llama-1"), adapter, tmp_path / "merged")
    with pytest.raises(ModelError, match="made for different bases"):
        edited = write_adapter(base_folder, tmp_path / "another", target_modules=["q_proj"])
        name_base(edited, "meta/llama-2")
        concatenate([adapter, edited], tmp_path / "both")


def test_weights_that_overflow_are_refused(base_folder: Path, tmp_path: Path) -> None:
    adapter = write_adapter(base_folder, tmp_path / "adapter", lora_alpha=10**60)
    with pytest.raises(ModelError, match=r"gives weights that are not finite: .*_proj"):
        merge(load_base(base_folder), adapter, tmp_path / "merged")


@pytest.fixture
def three(base_folder: Path, tmp_path: Path) -> list[Path]:
    """Adapters of different ranks, scales, kinds and layers."""
    settings: list[dict[str, Any]] = [
        {"r": 4, "lora_alpha": 6},
        {"r": 3, "lora_alpha": 5, "use_rslora": True, "target_modules": ["q_proj", "v_proj"]},
        {"r": 2, "target_modules": ["up_proj", "q_proj"], "rank_pattern": {"up_proj": 5}},
    ]
    return [
        write_adapter(base_folder, tmp_path / f"adapter {i}", seed=i, **each)
        for i, each in enumerate(settings)
    ]


def test_concatenated_adapters_are_the_sum_that_peft_computes(
    base_folder: Path, tmp_path: Path, three: list[Path]
) -> None:
    one = PeftModel.from_pretrained(
        plain(base_folder).double(), str(concatenate(three, tmp_path / "one"))
    ).double()
    several = PeftModel.from_pretrained(plain(base_folder).double(), str(three[0]), "0").double()
    several.load_adapter(str(three[1]), "1")
    several.load_adapter(str(three[2]), "2")
    several = several.double()
    several.base_model.set_adapter(["0", "1", "2"])
    with torch.no_grad():
        expected = several(IDS).logits
        assert apart(one(IDS).logits, expected) < 1e-6
        assert one.peft_config["default"].r == 4 + 3 + 5
        several.add_weighted_adapter(["0", "1"], [1.0, 1.0], "cat", combination_type="cat")
        several.base_model.set_adapter("cat")
        by_cat = several(IDS).logits
        two = PeftModel.from_pretrained(
            plain(base_folder).double(), str(concatenate(three[:2], tmp_path / "two"))
        ).double()
        assert apart(two(IDS).logits, by_cat) < 1e-6
        assert apart(by_cat, expected) > 1e-2


def test_concatenating_is_bit_exact_where_the_scales_are_powers_of_two(
    base_folder: Path, tmp_path: Path
) -> None:
    pair = [
        write_adapter(base_folder, tmp_path / f"{i}", seed=i, r=4, lora_alpha=8, lora_dropout=0.1)
        for i in range(2)
    ]
    joined = load_file(concatenate(pair, tmp_path / "one") / "adapter_model.safetensors")
    parts = [load_file(path / "adapter_model.safetensors") for path in pair]
    for name in parts[0]:
        side = 0 if "lora_A" in name else 1
        scale = 1 if "lora_A" in name else 2
        assert torch.equal(joined[name], torch.cat([scale * p[name] for p in parts], dim=side))


def test_a_chain_of_merges_is_the_merge_of_the_concatenated_chain(
    base_folder: Path, tmp_path: Path, three: list[Path]
) -> None:
    folder = base_folder
    for number, adapter in enumerate(three):
        merge(load_base(folder), adapter, tmp_path / f"session {number}")
        folder = tmp_path / f"session {number}"
    merge(load_base(base_folder), concatenate(three, tmp_path / "one"), tmp_path / "at once")
    once, chain = plain(tmp_path / "at once"), plain(folder)
    assert isinstance(once, LlamaForCausalLM)
    assert_same_weights(once, by_peft(plain(base_folder), *three))
    for name, weight in chain.state_dict().items():
        torch.testing.assert_close(weight, once.state_dict()[name], rtol=1e-6, atol=3e-7)


def test_adapters_of_different_shapes_cannot_be_added(base_folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    tiny_tokenizer().save_pretrained(str(other))
    tiny_llama(360, intermediate_size=48).save_pretrained(str(other))
    one = write_adapter(base_folder, tmp_path / "one")
    two = write_adapter(other, tmp_path / "two")
    with pytest.raises(ModelError, match=r"different shapes at model\.layers\.0\.mlp"):
        concatenate([one, two], tmp_path / "both")


def test_an_adapter_that_stands_on_the_base_is_a_fault_of_the_caller(
    adapted: Loaded, adapter_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="take the adapter off"):
        merge(adapted, adapter_folder, tmp_path / "merged")
    with pytest.raises(ValueError, match="no adapter"):
        concatenate([], tmp_path / "none")
