"""`tunesmith plan`: every hyperparameter with its reason, and what the training will need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tunesmith.cli.options import Home, Json, Profile, RecipeName, Sets
from tunesmith.cli.output import out, print_json, verb
from tunesmith.cli.watch import Watch

if TYPE_CHECKING:
    from tunesmith.plan import Forecast
    from tunesmith.records import Plan

GIB = 2**30


@verb
def plan(
    recipe: RecipeName,
    sets: Sets = None,
    profile: Profile = None,
    method: Annotated[
        str | None,
        typer.Option("--method", help="Only this one of the recipe's methods; default: all."),
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option(
            "--gpu", metavar="NAME", help="Plan for this GPU (a40, rtx 4090), not this machine."
        ),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say what a run would do and need, without training anything.

    Examples:

    - `tunesmith plan anecdot`
    - `tunesmith plan orgaccess --gpu a40`
    - `tunesmith plan my.yaml --method qlora --json`
    """
    from tunesmith.config import load_recipe
    from tunesmith.errors import ConfigError
    from tunesmith.pipeline import home_of
    from tunesmith.pipeline.forecasting import forecast_recipe

    resolved = load_recipe(recipe, sets=sets or (), profile=profile)
    methods = resolved.recipe.methods
    if not methods:
        raise ConfigError("the recipe trains nothing", hint="give it a method: methods: {lora: {}}")
    if method is not None and method not in methods:
        raise ConfigError(
            f"the recipe has no method {method!r}", hint=f"it has {', '.join(methods)}"
        )
    with Watch() as watch:
        found = forecast_recipe(resolved, home=home_of(home), listener=watch, gpu=gpu)
    forecasts = found if method is None else {method: found[method]}
    if as_json:
        first = next(iter(forecasts.values()))
        of_methods = {name: forecast_json(f) for name, f in forecasts.items()}
        print_json({**forecast_json(first), "methods": of_methods})
    else:
        show_forecasts(forecasts)


def forecast_json(forecast: Forecast) -> dict[str, Any]:
    """What `plan --json` says of one method."""
    plan, cheapest = forecast.plan, forecast.cheapest
    return {
        "hyperparameters": {
            c.name: {k: v for k, v in asdict(c).items() if k != "name"} for c in plan.choices
        },
        "steps": plan.steps,
        "memory_bytes": plan.memory_bytes,
        "seconds": plan.seconds,
        "cost_usd": plan.cost_usd,
        "fits": plan.fits,
        "memory": asdict(forecast.memory),
        "time": forecast.time,
        "device": {"name": forecast.device, "memory_bytes": forecast.device_memory},
        "gpu": None if forecast.gpu is None else asdict(forecast.gpu),
        "cheapest": None if cheapest is None else asdict(cheapest),
        "advice": [asdict(advice) for advice in forecast.advice],
        "warnings": list(forecast.warnings),
    }


def show_forecasts(forecasts: Mapping[str, Forecast]) -> None:
    """What each method needs and costs, then every setting of all of them."""
    for method, forecast in forecasts.items():
        _show_needs(method, forecast)
    show_settings({method: forecast.plan for method, forecast in forecasts.items()})


def _show_needs(method: str, forecast: Forecast) -> None:
    plan = forecast.plan
    fits = "[green]fits[/]" if plan.fits else "[red]does not fit[/]"
    out.print(
        f"[bold]{escape(method)}[/] {plan.steps:,} steps, about {plan.memory_bytes / GIB:.2f} GiB:"
        f" {fits} {escape(forecast.device or 'this machine')}"
        f" ({forecast.device_memory / GIB:.1f} GiB)",
        highlight=False,
    )
    grid = Table.grid(padding=(0, 2, 0, 0))
    for name, said in _needs(forecast):
        grid.add_row(f"  {name}", escape(said))
    out.print(grid, highlight=False)


def _needs(forecast: Forecast) -> Iterator[tuple[str, str]]:
    """(what, figures) for a person, a line each."""
    from tunesmith.report.figures import duration

    plan, gpu, best = forecast.plan, forecast.gpu, forecast.cheapest
    yield "memory", ", ".join(f"{k} {_size(n)}" for k, n in asdict(forecast.memory).items() if n)
    took = "not known" if plan.seconds is None else f"about {duration(plan.seconds)} of training"
    yield "time", f"{took}: {forecast.time}"
    if plan.cost_usd is not None and gpu is not None:
        read = f" as of {gpu.read}" if gpu.read else ""
        yield "cost", f"{_usd(plan.cost_usd)} at ${gpu.usd:.2f} an hour{read}"
    if best is None:
        yield "cheapest", "no GPU of the table has the memory for it"
    else:
        yield (
            "cheapest",
            f"{best.gpu}: {_usd(best.cost_usd)}, {duration(best.seconds)}, "
            f"{best.memory_bytes / GIB:.1f} GiB ({best.price}; a typical price, yours goes into "
            "gpus.toml in the home folder)",
        )
    for number, advice in enumerate(forecast.advice):
        seconds = "" if advice.seconds is None else f", {duration(advice.seconds)}"
        then = "fits" if advice.fits else "still too much"
        needs = f"{advice.memory_bytes / GIB:.1f} GiB{seconds}: {then}"
        yield ("and then" if number else "to fit"), f"{advice.change}: {needs}"
    for warning in forecast.warnings:
        yield "[yellow]warning[/]", warning


def show_settings(plans: Mapping[str, Plan]) -> None:
    """Every setting with its reason and source; what the methods do not share, apart."""
    from tunesmith.report.background import settings

    table = Table(box=None, pad_edge=False)
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold", max_width=24)
    table.add_column("reason", overflow="fold")
    table.add_column("from", overflow="fold", max_width=24)
    for it in settings(plans):
        of = f" ({', '.join(it.methods)})" if it.methods else ""
        table.add_row(escape(it.name), escape(it.value + of), escape(it.reason), escape(it.source))
    out.print(table)


def _size(count: int) -> str:
    return f"{count / GIB:.2f} GiB" if count >= GIB / 10 else f"{count / 2**20:.1f} MiB"


def _usd(cost: float) -> str:
    return f"about ${cost:.2f}" if cost >= 0.01 else "less than $0.01"
