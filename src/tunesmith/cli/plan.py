"""`tunesmith plan`: every hyperparameter with its reason, and what the training will need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tunesmith.cli.options import Home, Json, Profile, RecipeName, Sets
from tunesmith.cli.output import out, print_json, verb
from tunesmith.cli.watch import Watch

if TYPE_CHECKING:
    from tunesmith.records import Plan


@verb
def plan(
    recipe: RecipeName,
    sets: Sets = None,
    profile: Profile = None,
    method: Annotated[
        str | None,
        typer.Option("--method", help="Only this one of the recipe's methods; default: all."),
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
    if method is not None and method not in methods:
        raise ConfigError(
            f"the recipe has no method {method!r}", hint=f"it has {', '.join(methods)}"
        )
    with Watch() as watch:
        found = plan_recipe(resolved, home=home_of(home), listener=watch)
    plans = found if method is None else {method: found[method]}
    if as_json:
        first = next(iter(plans.values()))
        print_json(
            {**_plan_json(first), "methods": {name: _plan_json(p) for name, p in plans.items()}}
        )
    else:
        show_plans(plans)


def _plan_json(plan: Plan) -> dict[str, Any]:
    return {
        "hyperparameters": {
            c.name: {k: v for k, v in asdict(c).items() if k != "name"} for c in plan.choices
        },
        "steps": plan.steps,
        "memory_bytes": plan.memory_bytes,
        "seconds": plan.seconds,
        "cost_usd": plan.cost_usd,
        "fits": plan.fits,
    }


def show_plans(plans: Mapping[str, Plan]) -> None:
    """What each method needs, then every setting; what the methods do not share, apart."""
    from tunesmith.report.background import settings

    for method, plan in plans.items():
        fits = "[green]fits[/]" if plan.fits else "[red]does not fit[/]"
        out.print(
            f"[bold]{escape(method)}[/] {plan.steps:,} steps,"
            f" about {plan.memory_bytes / 2**30:.2f} GiB: {fits}",
            highlight=False,
        )
    table = Table(box=None, pad_edge=False)
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold", max_width=24)
    table.add_column("reason", overflow="fold")
    table.add_column("from", no_wrap=True)
    for it in settings(plans):
        of = f" ({', '.join(it.methods)})" if it.methods else ""
        table.add_row(escape(it.name), escape(it.value + of), escape(it.reason), it.source)
    out.print(table)
