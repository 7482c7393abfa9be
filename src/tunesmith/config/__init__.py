"""The recipe: what it may say (`model`), how it is read (`read`), older spellings (`legacy`)."""

from __future__ import annotations

from typing import Any

from tunesmith.config.model import (
    DataSettings,
    EvaluationSettings,
    MethodSettings,
    ModelSettings,
    Recipe,
    ReportSettings,
    SourceSettings,
    TrainingSettings,
)
from tunesmith.config.read import (
    Origin,
    Resolved,
    find_recipe,
    known_keys,
    load_recipe,
    shipped_recipes,
)

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
    "find_recipe",
    "known_keys",
    "load_recipe",
    "resolved_rows",
    "schema",
    "shipped_recipes",
]


def schema() -> dict[str, Any]:
    """The JSON Schema of a recipe (draft 2020-12)."""
    return Recipe.model_json_schema()


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
