"""The written-down shapes of published models have the numbers of parameters these are known by."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from plan.shapes import LLAMA_8B
from tunesmith.config import ModelSettings
from tunesmith.models import nano
from tunesmith.models.load import model_facts
from tunesmith.plan.memory import adapter_parameters, linear_parameters, projections
from tunesmith.records import ModelFacts

PUBLISHED = Path(__file__).parent / "published"
TOTALS = {
    "llama-3.2-3b": 3_212_749_824,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3-8b": 8_030_261_248,
    "gemma-2b": 2_506_172_416,
}


def facts_of(name: str, folder: Path) -> ModelFacts:
    """Read as a user's folder is: with a tokenizer beside the configuration (nano's)."""
    shutil.copy(PUBLISHED / name / "config.json", folder)
    for path in nano.path().iterdir():
        if path.name.startswith("tokenizer"):
            shutil.copy(path, folder)
    return model_facts(ModelSettings.model_validate({"name": str(folder)}))


def test_every_folder_is_checked() -> None:
    assert {path.parent.name for path in PUBLISHED.glob("*/config.json")} == set(TOTALS)


@pytest.mark.parametrize("name", TOTALS)
def test_the_parameters_are_as_many_as_the_hub_shows(name: str, tmp_path: Path) -> None:
    found = facts_of(name, tmp_path)
    assert found.parameters == TOTALS[name]
    # What is not in the layers' linear maps: the embeddings, a head of its own, and the norms.
    tables = (1 if found.tied_embeddings else 2) * found.vocabulary * found.hidden
    norms = (2 * found.layers + 1) * found.hidden
    assert linear_parameters(found) + tables + norms == TOTALS[name]
    assert projections(found)["q_proj"] == (found.hidden, found.heads * found.head_dim)


def test_the_shape_that_other_tests_call_8b_is_the_published_one(tmp_path: Path) -> None:
    found = facts_of("llama-3.1-8b", tmp_path)
    assert {f: getattr(found, f) for f in ("layers", "hidden", "intermediate", "context")} == {
        f: getattr(LLAMA_8B, f) for f in ("layers", "hidden", "intermediate", "context")
    }
    assert adapter_parameters(found, 16, "all-linear") == 41_943_040
