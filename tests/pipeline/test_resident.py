"""Runs on a base that the process kept give what runs on a base of their own give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from small_runs import Ear
from small_topics import write_topics
from tunesmith.config import load_recipe
from tunesmith.errors import ConfigError
from tunesmith.models.resident import RESIDENT
from tunesmith.pipeline import run_recipe
from tunesmith.pipeline.learning import learn
from tunesmith.store.files import read_answers
from tunesmith.store.store import Store


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return write_topics(tmp_path)


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    RESIDENT.release()


def run(recipe: Path, home: Path, *sets: str) -> tuple[dict[str, Any], list[str]]:
    """Adapters and answers of a run, by their stage; what was loaded for it."""
    ear = Ear()
    finished = run_recipe(load_recipe(recipe, sets=sets), home=home, listener=ear)
    found: dict[str, Any] = {}
    with Store.open(home) as store:
        for artefact in store.artefacts(finished.id):
            file = artefact.directory / "adapter" / "adapter_model.safetensors"
            if file.is_file():
                found[artefact.stage] = file.read_bytes()
            elif artefact.stage.startswith("answers"):
                read = read_answers(artefact.directory / "answers.jsonl")
                found[artefact.stage] = [(a.example_id, a.response) for a in read]
    return found, [line for line in ear.lines if line.startswith("loading")]


def test_a_second_seed_is_trained_and_asked_as_on_a_fresh_base(
    recipe: Path, tmp_path: Path
) -> None:
    _, first = run(recipe, tmp_path / "one", "seed=1")
    kept, second = run(recipe, tmp_path / "one", "seed=2")
    RESIDENT.release()
    fresh, third = run(recipe, tmp_path / "two", "seed=2")
    assert [len(loads) for loads in (first, second, third)] == [1, 0, 1]
    assert kept.keys() == fresh.keys()
    assert len(kept) == 3  # an adapter, its answers, the baseline's
    assert kept == fresh


def test_a_change_of_the_weights_is_seen(recipe: Path, tmp_path: Path) -> None:
    run(recipe, tmp_path / "home")
    file = tmp_path / "base" / "model.safetensors"
    weights = load_file(file)
    save_file({name: 1.01 * tensor for name, tensor in weights.items()}, file, {"format": "pt"})
    assert len(run(recipe, tmp_path / "home")[1]) == 1


@pytest.mark.parametrize("strategy", ["beside", "continue"])
def test_sessions_on_frozen_adapters_load_their_base_once(
    recipe: Path, tmp_path: Path, strategy: str
) -> None:
    ear = Ear()
    resolved = load_recipe(recipe, sets=[f"lineage.strategy={strategy}"])
    for _ in range(3):
        learn(resolved, home=tmp_path / "home", listener=ear)
    assert sum(line.startswith("loading") for line in ear.lines) == 1


def test_a_layer_that_is_not_there_is_refused_before_anything_is_done(
    recipe: Path, tmp_path: Path
) -> None:
    upper = ["methods={upper: {method: upper_lora}}", "training.num_train_epochs=2"]
    with pytest.raises(ConfigError, match="no layer 7"):
        run(recipe, tmp_path / "home", *upper, "training.layers_to_transform=[1, 7]")
    assert len(run(recipe, tmp_path / "home", *upper)[0]) == 3
