"""A base on disk, a fresh one in memory, and examples encoded with its tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest
from peft import PeftModel

from tiny_models import adapted, load_base, questions, write_base
from tunesmith.config import TrainingSettings
from tunesmith.models.load import Loaded
from tunesmith.models.render import Encoded


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with a ChatML tokenizer, in a folder."""
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def loaded(base_folder: Path) -> Loaded:
    """The base, fresh: training puts adapters on it."""
    return load_base(base_folder)


@pytest.fixture(scope="session")
def encoded(base_folder: Path) -> list[Encoded]:
    """24 examples of 25 to 80 tokens."""
    return load_base(base_folder).renderer.examples(questions(24))


@pytest.fixture(scope="session")
def settings() -> TrainingSettings:
    """Short trainings: four examples a step, a rate at which six steps show."""
    return TrainingSettings.model_validate(
        {
            "per_device_train_batch_size": 4,
            "learning_rate": 5e-3,
            "lora_r": 4,
            "lora_alpha": 8,
            "num_train_epochs": 1,
            "warmup_steps": 0,
        }
    )


@pytest.fixture
def adapted_model(loaded: Loaded, settings: TrainingSettings) -> PeftModel:
    """The base under an adapter in the middle of its training."""
    return adapted(loaded, settings)
