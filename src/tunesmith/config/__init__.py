"""The recipe: what it may say (`model`), how it is read (`read`, `text`), how it is complained of
(`explain`), older spellings (`legacy`)."""

from __future__ import annotations

from typing import Any

from tunesmith.config.explain import Origin, known_keys
from tunesmith.config.model import (
    DataSettings,
    EvaluationSettings,
    MethodSettings,
    ModelSettings,
    Recipe,
    ReportSettings,
    SourceSettings,
)
from tunesmith.config.read import (
    OPEN,
    SECTIONS,
    Resolved,
    find_recipe,
    is_recipe,
    load_recipe,
    shipped_recipes,
)
from tunesmith.config.text import dump_yaml
from tunesmith.config.training import TrainingSettings

__all__ = [
    "DataSettings",
    "EvaluationSettings",
    "MethodSettings",
    "ModelSettings",
    "Origin",
    "Recipe",
    "ReportSettings",
    "Resolved",
    "SourceSettings",
    "TrainingSettings",
    "dump_recipe",
    "find_recipe",
    "is_recipe",
    "known_keys",
    "load_recipe",
    "resolved_rows",
    "schema",
    "shipped_recipes",
]


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a recipe's file, for editors and checkers.

    A file may say a little more than the recipe that it becomes: `extends`, `profiles`, and null
    for a part, a variant or a training key at its default. Older spellings are not in it.
    """
    whole = Recipe.model_json_schema()
    properties = whole["properties"]
    for name in SECTIONS:
        properties[name] = {"anyOf": [properties[name], {"type": "null"}]}
    training = whole["$defs"]["TrainingSettings"]["properties"]
    for name in (key.partition(".")[2] for key in OPEN):
        training[name] = {"anyOf": [training[name], {"type": "null"}]}
    methods = properties["methods"]["anyOf"][0]
    methods["additionalProperties"] = {"anyOf": [methods["additionalProperties"], {"type": "null"}]}
    properties["extends"] = {
        "type": "string",
        "description": "A recipe to build upon, relative to this file.",
    }
    properties["profiles"] = {
        "type": ["object", "null"],
        "additionalProperties": {"type": "object"},
        "description": "Named sets of values that --profile NAME puts over the others.",
    }
    required = whole.pop("required")
    whole["anyOf"] = [{"required": required}, {"required": ["extends"]}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole}


def dump_recipe(recipe: Recipe) -> str:
    """The recipe with every value written out, as YAML that `load_recipe` reads back equal."""
    return dump_yaml(recipe.model_dump(mode="json"))


def resolved_rows(resolved: Resolved) -> list[tuple[str, Any, str]]:
    """Every value of a recipe as (dotted key, value, where it came from), in the recipe's order."""
    rows: list[tuple[str, Any, str]] = []

    def walk(value: Any, dotted: str) -> None:
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                walk(inner, f"{dotted}.{key}" if dotted else str(key))
        else:
            rows.append((dotted, value, str(resolved.origin(dotted))))

    walk(resolved.recipe.model_dump(mode="python"), "")
    return rows
