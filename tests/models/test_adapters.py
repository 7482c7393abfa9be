"""Adapters on a base: on and off without a trace, beside frozen ones, in the place of the last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor

from tiny_models import load_base, questions
from tunesmith.config import TrainingSettings
from tunesmith.errors import ModelError
from tunesmith.models.adapters import with_adapter, with_earlier, without_adapter
from tunesmith.models.load import Loaded
from tunesmith.records import Adapter
from tunesmith.train.loop import TrainingJob, train
from tunesmith.train.method import get_method


def write_adapter(base: Path, directory: Path) -> Path:
    torch.manual_seed(0)
    config = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj", "down_proj"])
    model = get_peft_model(load_base(base).model, config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(str(directory))
    return directory


def test_an_adapter_goes_on_and_comes_off_without_a_trace(
    base_folder: Path, tmp_path: Path
) -> None:
    directory = write_adapter(base_folder, tmp_path / "adapter")
    loaded = load_base(base_folder)
    names = [name for name, _ in loaded.model.named_modules()]
    ids = torch.arange(20, device=loaded.device)[None]
    with torch.no_grad():
        before = loaded.model(ids).logits
        for _ in range(2):
            tuned = with_adapter(loaded, directory)
            assert not torch.equal(tuned.model(ids).logits, before)
            assert tuned.base is loaded.model
            assert tuned.context == 256
            plain = without_adapter(tuned)
            assert plain.model is loaded.model
            assert torch.equal(plain.model(ids).logits, before)
            assert not hasattr(plain.model, "peft_config")
            assert [name for name, _ in plain.model.named_modules()] == names
    assert without_adapter(loaded) is loaded


def other_base(directory: Path) -> None:
    file = directory / "adapter_model.safetensors"
    save_file({key: t.repeat(2, 2) for key, t in load_file(file).items()}, file)


def no_weights(directory: Path) -> None:
    (directory / "adapter_model.safetensors").unlink()


def no_adapter_config(directory: Path) -> None:
    (directory / "adapter_config.json").unlink()


def damaged_weights(directory: Path) -> None:
    (directory / "adapter_model.safetensors").write_bytes(b"\x00" * 100)


def damaged_config(directory: Path) -> None:
    (directory / "adapter_config.json").write_text("{ no json")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (other_base, "does not fit"),
        (no_weights, r"holds no adapter \(adapter_model.safetensors is missing\)"),
        (no_adapter_config, r"holds no adapter \(adapter_config.json is missing\)"),
        (damaged_weights, "does not fit"),
        (damaged_config, "does not fit"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_broken_adapter_is_named_and_leaves_the_base_plain(
    base_folder: Path, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    directory = write_adapter(base_folder, tmp_path / "adapter")
    damage(directory)
    loaded = load_base(base_folder)
    ids = torch.arange(20, device=loaded.device)[None]
    with torch.no_grad():
        before = loaded.model(ids).logits
        with pytest.raises(ModelError, match=message):
            with_adapter(loaded, directory)
        assert torch.equal(loaded.model(ids).logits, before)
    assert not hasattr(loaded.model, "peft_config")
    assert not any("lora" in name for name, _ in loaded.model.named_modules())


def trained(loaded: Loaded, directory: Path, seed: int, **settings: object) -> Adapter:
    """One adapter for `loaded`, trained for a few steps."""
    job = TrainingJob(
        name=f"session-{seed}",
        train=loaded.renderer.examples(questions(16, seed=seed)),
        validation=(),
        settings=TrainingSettings.model_validate(
            {"learning_rate": 0.02, "num_train_epochs": 2, "lora_r": 4, "lora_alpha": 8, **settings}
        ),
        seed=seed,
        directory=directory,
    )
    return train(loaded, get_method("lora"), job)


def logits(loaded: Loaded) -> Tensor:
    with torch.no_grad():
        answer: Tensor = loaded.model(torch.arange(20, device=loaded.device)[None]).logits
    return answer


def test_a_new_adapter_stands_beside_a_frozen_one(base_folder: Path, tmp_path: Path) -> None:
    first = trained(load_base(base_folder), tmp_path / "one", 1)
    weights = (first.directory / "adapter_model.safetensors").read_bytes()
    parent = with_earlier(load_base(base_folder), [first.directory])
    before = logits(parent)
    assert torch.equal(before, logits(with_adapter(load_base(base_folder), first.directory)))
    second = trained(parent, tmp_path / "two", 2)
    assert torch.equal(logits(parent), before)  # what stood there is as it was
    assert (first.directory / "adapter_model.safetensors").read_bytes() == weights
    both = with_adapter(parent, second.directory)
    tuned = logits(both)
    assert not torch.equal(tuned, before)
    # PEFT alone, by its own means: each adapter merged into the base in turn.
    model = PeftModel.from_pretrained(load_base(base_folder).model, str(first.directory))
    model = PeftModel.from_pretrained(model.merge_and_unload(), str(second.directory))
    torch.testing.assert_close(tuned, logits_of(model), rtol=1e-4, atol=1e-5)
    assert torch.equal(logits(without_adapter(both)), before)


def test_the_last_adapter_goes_on_in_its_own_place(base_folder: Path, tmp_path: Path) -> None:
    first = trained(load_base(base_folder), tmp_path / "one", 1)
    parent = with_earlier(load_base(base_folder), [first.directory])
    before = logits(parent)
    still = trained(parent, tmp_path / "still", 2, continue_adapter=True, learning_rate=1e-12)
    same = with_adapter(parent, still.directory, instead_of_last=True)
    torch.testing.assert_close(logits(same), before)
    without_adapter(same)
    second = trained(parent, tmp_path / "two", 2, continue_adapter=True)
    assert torch.equal(logits(parent), before)
    tuned = with_adapter(parent, second.directory, instead_of_last=True)
    # The folder holds the whole of it: on the plain base it answers the same.
    alone = with_adapter(load_base(base_folder), second.directory)
    torch.testing.assert_close(logits(tuned), logits(alone), rtol=1e-4, atol=1e-5)
    assert not torch.equal(logits(tuned), before)


def logits_of(model: torch.nn.Module) -> Tensor:
    with torch.no_grad():
        answer: Tensor = model(torch.arange(20)[None]).logits
    return answer
