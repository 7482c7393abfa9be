"""`tunesmith plan`: every hyperparameter with its reason, and what the training will need."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tunesmith.cli.options import Home, Json, Profile, RecipeName, Sets
from tunesmith.cli.output import out, print_json, verb
from tunesmith.cli.watch import Watch


@verb
def plan(
    recipe: RecipeName,
    sets: Sets = None,
    profile: Profile = None,
    method: Annotated[
        str | None, typer.Option("--method", help="Which variant; default: the first.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say what a run would do and need, without training anything.

    Examples:

    - `tunesmith plan anecdot`
    - `tunesmith plan my.yaml --method qlora --json`
    """
    from tunesmith.config import load_recipe
    from tunesmith.errors import ConfigError
    from tunesmith.pipeline import home_of, plan_recipe

    resolved = load_recipe(recipe, sets=sets or (), profile=profile)
    methods = resolved.recipe.methods
    chosen = method or next(iter(methods))
    if chosen not in methods:
        raise ConfigError(
            f"the recipe has no method {chosen!r}", hint=f"it has {', '.join(methods)}"
        )
    with Watch() as watch:
        found = plan_recipe(resolved, home=home_of(home), listener=watch)[chosen]
    if as_json:
        print_json(
            {
                "hyperparameters": {
                    c.name: {k: v for k, v in asdict(c).items() if k != "name"}
                    for c in found.choices
                },
                "steps": found.steps,
                "memory_bytes": found.memory_bytes,
                "seconds": found.seconds,
                "cost_usd": found.cost_usd,
                "fits": found.fits,
            }
        )
        return
    table = Table("hyperparameter", "value", "reason", "source", title=chosen)
    for choice in found.choices:
        table.add_row(choice.name, escape(str(choice.value)), escape(choice.reason), choice.source)
    out.print(table)
    fits = "[green]fits[/]" if found.fits else "[red]does not fit[/]"
    out.print(
        f"{found.steps:,} steps, about {found.memory_bytes / 2**30:.2f} GiB: {fits}",
        highlight=False,
    )
