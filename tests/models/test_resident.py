"""The base that a process keeps: one, bare, for whoever asks for the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tiny_models import adapted, load_base
from tunesmith.config import TrainingSettings
from tunesmith.models.adapters import TRAINED, with_earlier
from tunesmith.models.load import Loaded
from tunesmith.models.resident import Resident

Counted = tuple[list[str], Callable[[str], Callable[[], Loaded]]]


@pytest.fixture
def counted(base_folder: Path) -> Counted:
    """What was loaded, by its key, and what loads it."""
    made: list[str] = []

    def making(key: str) -> Callable[[], Loaded]:
        def make() -> Loaded:
            made.append(key)
            return load_base(base_folder, four_bit=key == "four")

        return make

    return made, making


def test_the_same_base_is_made_once_and_another_takes_its_place(counted: Counted) -> None:
    made, making = counted
    resident = Resident()
    for key in ("full", "full", "four", "full"):
        loaded = resident.take(key, making(key))
        assert loaded.quantised == (key == "four")
        resident.give_back(key, loaded)
    assert made == ["full", "four", "full"]
    resident.release()
    resident.take("full", making("full"))
    assert made[3:] == ["full"]


def test_while_one_has_it_nobody_else_gets_it(counted: Counted) -> None:
    made, making = counted
    resident = Resident()
    first = resident.take("full", making("full"))
    second = resident.take("full", making("full"))
    assert made == ["full", "full"]
    assert second.model is not first.model


@pytest.mark.parametrize("key", ["full", "four"])
def test_it_is_kept_bare_and_bit_for_bit_as_it_was_loaded(
    counted: Counted, key: str, tmp_path: Path
) -> None:
    _, making = counted
    resident = Resident()
    loaded = resident.take(key, making(key))
    before = state(loaded)
    names = [name for name, _ in loaded.model.named_modules()]
    adapted(loaded, TrainingSettings(lora_r=4)).save_pretrained(str(tmp_path))
    resident.give_back(key, loaded)

    loaded = with_earlier(resident.take(key, making(key)), [tmp_path, tmp_path])
    assert len(loaded.model.peft_config) == 2
    assert TRAINED not in loaded.model.peft_config
    resident.give_back(key, loaded)

    kept = resident.take(key, making(key))
    assert not hasattr(kept.model, "peft_config")
    assert [name for name, _ in kept.model.named_modules()] == names
    after = state(kept)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def state(loaded: Loaded) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in loaded.base.state_dict().items()}
