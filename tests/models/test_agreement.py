"""What a merged model is compared by: accepted within rounding, refused where an update is gone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from tiny_models import load_base, questions
from tunesmith.config import TrainingSettings
from tunesmith.errors import ModelError
from tunesmith.models import nano
from tunesmith.models.adapters import with_adapter, without_adapter
from tunesmith.models.agreement import check_merged
from tunesmith.models.load import Loaded
from tunesmith.models.merge import merge
from tunesmith.models.render import Encoded
from tunesmith.train.method import get_method


def scaled(adapter: Path, factor: float, directory: Path) -> Path:
    """The adapter with another alpha."""
    directory.mkdir()
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["lora_alpha"] *= factor
    (directory / "adapter_config.json").write_text(json.dumps(config))
    save_file(
        load_file(adapter / "adapter_model.safetensors"), directory / "adapter_model.safetensors"
    )
    return directory


def encoded(loaded: Loaded, count: int = 6) -> list[Encoded]:
    return loaded.renderer.examples(questions(count))


@pytest.mark.parametrize("four_bit", [False, True], ids=["whole", "4 bits"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_right_merge_is_accepted_with_room_to_spare(
    base_folder: Path, adapter_folder: Path, tmp_path: Path, dtype: str, four_bit: bool
) -> None:
    base = load_base(base_folder, four_bit=four_bit, dtype=dtype)
    merge(base, adapter_folder, tmp_path / "merged")
    tuned = with_adapter(base, adapter_folder)
    agreement = check_merged(tuned, load_base(tmp_path / "merged"), encoded(base))
    assert agreement.accepted
    assert 0 < agreement.difference < agreement.tolerance / 2
    assert agreement.kept == pytest.approx(1, abs=1e-4 if dtype == "float32" else 0.05)
    assert agreement.mean_kl < (1e-9 if dtype == "float32" else 1e-2)
    assert agreement.same_argmax > (0.999 if dtype == "float32" else 0.9)
    assert agreement.tokens == sum(prompt.answer_tokens for prompt in encoded(base))


@pytest.mark.parametrize("factor", [0.0, 0.98, -1.0], ids=["lost", "a little less", "turned round"])
def test_a_merge_of_something_else_is_not(
    base_folder: Path, adapter_folder: Path, tmp_path: Path, factor: float
) -> None:
    base = load_base(base_folder)
    merge(base, scaled(adapter_folder, factor, tmp_path / "other"), tmp_path / "merged")
    tuned = with_adapter(base, adapter_folder)
    agreement = check_merged(tuned, load_base(tmp_path / "merged"), encoded(base))
    assert not agreement.accepted
    assert agreement.difference > 100 * agreement.tolerance
    if factor == 0:
        assert agreement.kept == pytest.approx(0, abs=1e-4)
        assert agreement.difference >= agreement.effect


def test_in_bfloat16_the_effect_that_is_gone_is_seen_though_rounding_is_coarse(
    base_folder: Path, adapter_folder: Path, tmp_path: Path
) -> None:
    base = load_base(base_folder, dtype="bfloat16")
    merge(base, scaled(adapter_folder, 0.7, tmp_path / "other"), tmp_path / "merged")
    tuned = with_adapter(base, adapter_folder)
    agreement = check_merged(tuned, load_base(tmp_path / "merged"), encoded(base))
    assert agreement.effect > agreement.tolerance
    assert agreement.kept < 0.9
    assert not agreement.accepted


def test_the_figures_are_those_of_the_definitions(
    base_folder: Path, adapter_folder: Path, tmp_path: Path
) -> None:
    base = load_base(base_folder)
    merge(base, scaled(adapter_folder, 0.5, tmp_path / "other"), tmp_path / "merged")
    prompts = encoded(base, 3)
    half = load_base(tmp_path / "merged")
    tuned = with_adapter(base, adapter_folder)
    found = check_merged(tuned, half, prompts)

    def answers(loaded: Loaded) -> list[torch.Tensor]:
        with torch.no_grad():
            whole = [loaded.model(torch.tensor([p.ids])).logits[0].double() for p in prompts]
        return [x[p.answer_start - 1 : -1] for x, p in zip(whole, prompts, strict=True)]

    one, two = answers(tuned), answers(half)
    plain = answers(without_adapter(tuned))
    a, b, c = (torch.cat(x) - torch.cat(x).mean(-1, keepdim=True) for x in (one, two, plain))
    apart = [(x - y) - (x - y).mean(-1, keepdim=True) for x, y in zip(one, two, strict=True)]
    sizes = [x - x.mean(-1, keepdim=True) for x in one]
    worst = max(d.norm() / s.norm() for d, s in zip(apart, sizes, strict=True))
    kl = functional.kl_div(b.log_softmax(-1), a.softmax(-1), reduction="sum") / found.tokens
    assert found.difference == pytest.approx(float(worst), rel=1e-4)
    assert found.effect == pytest.approx(float((a - c).norm() / a.norm()), rel=1e-4)
    kept = ((a - c) * (b - c)).sum() / (a - c).square().sum()
    assert found.kept == pytest.approx(float(kept), rel=1e-4)
    assert found.mean_kl == pytest.approx(float(kl), rel=1e-4)
    same = (a.argmax(-1) == b.argmax(-1)).double().mean()
    assert found.same_argmax == pytest.approx(float(same))
    most = (torch.cat(one) - torch.cat(two)).abs().max()
    assert found.max_difference == pytest.approx(float(most), rel=1e-4)


def test_what_was_frozen_stays_frozen_and_the_adapter_stays_on(
    base_folder: Path, adapter_folder: Path, tmp_path: Path
) -> None:
    base = load_base(base_folder)
    merge(base, adapter_folder, tmp_path / "merged")
    tuned = with_adapter(base, adapter_folder)
    learns = [parameter.requires_grad for parameter in tuned.model.parameters()]
    first, second = (
        check_merged(tuned, load_base(tmp_path / "merged"), encoded(base)) for _ in range(2)
    )
    assert [parameter.requires_grad for parameter in tuned.model.parameters()] == learns
    assert first == second


def test_a_nan_is_never_accepted(base_folder: Path, adapter_folder: Path, tmp_path: Path) -> None:
    base = load_base(base_folder)
    merge(base, adapter_folder, tmp_path / "merged")
    broken = load_base(tmp_path / "merged")
    with torch.no_grad():
        broken.model.lm_head.weight[7, 0] = torch.nan
    assert not check_merged(with_adapter(base, adapter_folder), broken, encoded(base)).accepted


def test_a_merged_model_in_16_bits_is_refused_for_it_lost_again_what_was_merged(
    base_folder: Path, adapted: Loaded, adapter_folder: Path, tmp_path: Path
) -> None:
    merge(load_base(base_folder), adapter_folder, tmp_path / "merged")
    coarse = load_base(tmp_path / "merged", dtype="bfloat16")
    with pytest.raises(ModelError, match="was loaded in bfloat16") as caught:
        check_merged(adapted, coarse, encoded(adapted))
    assert "float32" in caught.value.hint


def test_it_asks_for_examples_and_an_adapter(adapted: Loaded, loaded: Loaded) -> None:
    for unmerged, prompts in ((adapted, []), (loaded, encoded(loaded))):
        with pytest.raises(ValueError, match="are needed"):
            check_merged(unmerged, loaded, prompts)


def test_an_untrained_adapter_has_no_effect_to_lose(base_folder: Path, tmp_path: Path) -> None:
    fresh = load_base(base_folder)
    model = get_method("lora").attach(fresh.model, TrainingSettings())
    model.save_pretrained(str(tmp_path / "adapter"))
    merge(load_base(base_folder), tmp_path / "adapter", tmp_path / "merged")
    model.eval()
    agreement = check_merged(
        replace(fresh, model=model), load_base(tmp_path / "merged"), encoded(fresh)
    )
    assert (agreement.effect, agreement.difference, agreement.kept) == (0, 0, 1)
    assert agreement.accepted


@pytest.mark.parametrize("four_bit", [False, True], ids=["whole", "4 bits"])
def test_nano_with_a_small_update(tmp_path: Path, four_bit: bool) -> None:
    """An update of a thousandth moves the logits by far more than the tolerance of float32."""
    base = load_base(nano.path(), four_bit=four_bit)
    model = get_method("lora").attach(base.model, TrainingSettings())
    torch.manual_seed(2)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=4e-3)
    model.save_pretrained(str(tmp_path / "adapter"))
    base = load_base(nano.path(), four_bit=four_bit)
    merged = merge(base, tmp_path / "adapter", tmp_path / "merged")
    assert 2e-4 < merged.update < 5e-3
    tuned = with_adapter(base, tmp_path / "adapter")
    agreement = check_merged(tuned, load_base(tmp_path / "merged"), encoded(base))
    assert agreement.accepted
    assert agreement.effect > 20 * agreement.tolerance
    assert agreement.kept == pytest.approx(1, abs=0.01)
