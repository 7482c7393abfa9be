"""`tunesmith schema`: the recipe's JSON Schema, for editors and for reading."""

from __future__ import annotations

from tunesmith.cli.options import Home, Json
from tunesmith.cli.output import print_json, verb


@verb
def schema(home: Home = None, as_json: Json = True) -> None:
    """Print the JSON Schema of a recipe.

    Example: `tunesmith schema > recipe.schema.json`, then name it in your editor's YAML settings.
    """
    from tunesmith.config import schema as recipe_schema

    print_json(recipe_schema())
