"""Which adapters are plain, and what each that is not says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tunesmith.errors import ModelError
from tunesmith.models.plain_lora import read_adapter


def edit(**changes: Any) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        file = directory / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return damage


def retensor(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        file = directory / "adapter_model.safetensors"
        tensors = load_file(file)
        change(tensors)
        save_file(tensors, file)

    return damage


def truncate(directory: Path) -> None:
    file = directory / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


Q = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (edit(use_dora=True), "no plain LoRA: it has use_dora True"),
        (edit(bias="all"), "no plain LoRA: it has bias all"),
        (edit(lora_bias=True), "it has lora_bias True"),
        (edit(modules_to_save=["lm_head"]), "it has modules_to_save"),
        (edit(layer_replication=[[0, 2]]), "it has layer_replication"),
        (edit(of_tomorrow={"a": 1}), "it has of_tomorrow"),
        (edit(peft_type="LOHA"), "it has peft_type LOHA"),
        (edit(init_lora_weights="pissa_niter_4"), "pissa_niter_4, which changes the base"),
        (edit(r=5), r"contradicts itself at model\.layers\.0.*rank 5"),
        (edit(lora_alpha=None), "contradicts itself at .* alpha None"),
        (retensor(lambda t: t.pop(f"{Q}.lora_B.weight")), "contradicts itself at .*q_proj"),
        (retensor(lambda t: t[f"{Q}.lora_A.weight"].fill_(torch.nan)), "not finite: .*q_proj"),
        (
            retensor(lambda t: t.update({f"{Q}.lora_M.weight": torch.ones(3)})),
            "the tensor .*lora_M",
        ),
        (retensor(dict.clear), "no lora_A and lora_B"),
        (truncate, "holds no adapter that can be read"),
        (lambda d: (d / "adapter_config.json").write_text("[]"), "peft_type None"),
        (lambda d: (d / "adapter_config.json").unlink(), "holds no adapter that can be read"),
    ],
)
def test_what_is_no_plain_adapter_is_refused_with_the_reason(
    adapter_folder: Path, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    adapter = Path(shutil.copytree(adapter_folder, tmp_path / "adapter"))
    damage(adapter)
    with pytest.raises(ModelError, match=message) as caught:
        read_adapter(adapter)
    assert str(adapter) in caught.value.message
    assert caught.value.hint


def test_a_plain_adapter_is_read_with_its_scale(adapter_folder: Path) -> None:
    adapter = read_adapter(adapter_folder)
    assert len(adapter.layers) == 6
    layer = adapter.layers["model.layers.1.mlp.up_proj"]
    assert layer.shape == (64, 32)
    assert layer.scale == 2.0  # alpha 8, rank 4
    torch.testing.assert_close(layer.dense(torch.device("cpu")), 2.0 * layer.B @ layer.A)
