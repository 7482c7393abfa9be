"""A tiny base, alone and with an adapter on it, and prompts of many lengths."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tiny_models import load_base, questions, write_base
from tunesmith.models.adapters import with_adapter
from tunesmith.models.load import Loaded


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with a ChatML tokenizer, in a folder."""
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def adapter_folder(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter with random weights, written by PEFT."""
    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(11)
    config = LoraConfig(
        r=4, target_modules=["q_proj", "v_proj", "up_proj"], init_lora_weights=False
    )
    get_peft_model(load_base(base_folder).model, config).save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="session")
def loaded(base_folder: Path) -> Loaded:
    """The base, read only: put no adapter on it."""
    return load_base(base_folder)


@pytest.fixture(scope="session")
def adapted(base_folder: Path, adapter_folder: Path) -> Loaded:
    """Another copy of the base, with the adapter."""
    return with_adapter(load_base(base_folder), adapter_folder)


@pytest.fixture(scope="session")
def prompts(loaded: Loaded) -> list[list[int]]:
    """17 prompts of different lengths, in no order, two of them alike."""
    ids = loaded.renderer.prompts(questions(16))
    return [*ids, ids[3]]
