"""The JSON Schema says of a file what the reader says, and a resolved recipe survives its YAML."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tunesmith.config import (
    Recipe,
    Resolved,
    dump_recipe,
    known_keys,
    load_recipe,
    schema,
    shipped_recipes,
)
from tunesmith.config.model import TrainingSettings

Read = Callable[..., Resolved]
jsonschema = pytest.importorskip("jsonschema")


@cache
def validator() -> Any:
    return jsonschema.Draft202012Validator(schema())


def errors(values: Any) -> list[str]:
    return [error.message for error in validator().iter_errors(values)]


def test_the_schema_is_a_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", shipped_recipes().values(), ids=lambda path: path.stem)
def test_shipped_recipes_hold_to_the_schema(path: Path) -> None:
    assert errors(yaml.safe_load(path.read_text("utf-8"))) == []


MINIMAL: dict[str, Any] = {"name": "x", "task": "text", "data": {"sources": {"a": {"path": "b"}}}}


@pytest.mark.parametrize(
    "values",
    [
        {k: v for k, v in MINIMAL.items() if k != "data"},
        MINIMAL | {"unknown": 1},
        MINIMAL | {"training": {"learning_rat": 1}},
        MINIMAL | {"training": {"lora_r": 0}},
        MINIMAL | {"training": {"optim": "adam"}},
        MINIMAL | {"methods": {"lora": {"method": "dorra"}}},
        MINIMAL | {"data": {"sources": {}}},
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(values: dict[str, Any]) -> None:
    assert errors(MINIMAL) == []
    assert errors(values)


def test_a_file_may_take_a_training_value_back() -> None:
    assert errors(MINIMAL | {"training": {"lora_r": None, "mode": None}}) == []
    assert errors(MINIMAL | {"methods": {"lora": {"training": {"lora_r": None}}}}) == []


def test_every_key_says_what_it_is() -> None:
    silent = [key for key, description in known_keys().items() if not description]
    # Their classes say it.
    assert silent == ["data", "model", "training", "evaluation", "report", "lineage"]
    assert len(TrainingSettings.model_fields) < 40  # a key more wants another to go


names = st.text(
    st.characters(exclude_characters=".", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12
)
AWKWARD = (
    *("no", "on", "true", "null", "~", "1e5", "0x1f", "007", "1:30", "2024-01-01", "1_000", "="),
    *("-", "a: b", "#x", "'quoted'", '"', "ü – 漢字", " lead", "trail ", "two\nlines", "<<", "*a"),
)
texts = names | st.sampled_from(AWKWARD)
positive = st.floats(1e-12, 1e6, allow_nan=False)


@st.composite
def recipes(draw: st.DrawFn) -> dict[str, Any]:
    """Values of recipes with awkward names and numbers, as a file would hold them."""
    training: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "learning_rate": positive,
                "lora_alpha": positive,
                "lora_r": st.integers(1, 512),
                "lora_dropout": st.floats(0, 0.99),
                "max_steps": st.none() | st.integers(1, 10**9),
                "packing": st.booleans() | st.just("auto"),
                "target_modules": st.just("all-linear") | st.lists(texts, max_size=3),
                "eval_strategy": st.sampled_from(["no", "steps", "epoch"]),
                "report_to": st.lists(st.sampled_from(["wandb", "tensorboard"]), max_size=2),
                "warmup_steps": st.floats(0, 100),
            },
        )
    )
    sources = draw(
        st.dictionaries(
            names,
            st.fixed_dictionaries(
                {"path": texts},
                optional={"licence": texts, "fields": st.dictionaries(texts, texts, max_size=2)},
            )
            | st.fixed_dictionaries({"generate": texts, "rows": st.integers(1, 99)}),
            min_size=1,
            max_size=3,
        )
    )
    reserved = {"baseline", "majority", "lookup", "tfidf", "copy", "nearest", "rule"}
    variant = st.fixed_dictionaries(
        {"method": st.sampled_from(["lora", "qlora"])},
        optional={"training": st.just(training), "load_in_4bit": st.none() | st.booleans()},
    )
    return {
        "name": draw(texts),
        "task": draw(texts),
        "description": draw(texts),
        "seed": draw(st.integers(0, 2**40)),
        "data": {"sources": sources, "test": draw(st.floats(0, 0.99))},
        "training": training,
        "methods": draw(
            st.dictionaries(names.filter(lambda n: n not in reserved), variant, max_size=2)
        ),
        "report": {"title": draw(st.none() | texts)},
    }


@settings(max_examples=50, deadline=None)
@given(recipes())
def test_a_recipe_written_as_yaml_reads_back_equal(values: dict[str, Any]) -> None:
    recipe = Recipe.model_validate(values)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "again.yaml"
        path.write_text(dump_recipe(recipe), "utf-8")
        again = load_recipe(path)
    assert again.recipe == recipe
    assert again.notes == ()
    assert errors(recipe.model_dump(mode="json")) == []


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_shipped_recipes_survive_their_own_yaml(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name).recipe
    path = tmp_path / "again.yaml"
    path.write_text(dump_recipe(recipe), "utf-8")
    assert load_recipe(path).recipe == recipe


def test_a_resolved_recipe_cannot_be_changed(read: Read) -> None:
    recipe = read().recipe
    with pytest.raises(ValidationError, match="frozen"):
        recipe.training.lora_r = 3  # type: ignore[misc]
