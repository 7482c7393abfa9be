"""`tunesmith run`: a recipe from its files to its report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from tunesmith.cli.options import Home, Json, Profile, RecipeName, Sets
from tunesmith.cli.output import err, out, print_json, verb
from tunesmith.cli.show import show_metrics, show_verdicts
from tunesmith.cli.watch import Watch
from tunesmith.errors import ConfigError

if TYPE_CHECKING:
    from tunesmith.config import Resolved
    from tunesmith.pipeline import Finished


@verb
def run(
    recipe: RecipeName,
    sets: Sets = None,
    profile: Profile = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the recipe's last unfinished run.")
    ] = False,
    allow_changes: Annotated[
        bool,
        typer.Option("--allow-changes", help="Resume though the recipe is not the same any more."),
    ] = False,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            metavar="USD",
            min=0.0001,
            help="Let language models write the rows that are missing, for at most so much in all.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print every value and where it came from; do nothing."),
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Run a recipe: prepare the data, train, evaluate, compare, report.

    A stage whose inputs did not change is not run again, so the same command twice is quick, and
    after an interruption it goes on where it was.

    Examples:

    - `tunesmith run my.yaml`
    - `tunesmith run my.yaml --dry-run`
    - `tunesmith run statqa --profile real --budget 6.00`
    - `tunesmith run anecdot --set training.lora_r=32 --set data.sources.machines.rows=800`
    """
    from tunesmith.config import load_recipe
    from tunesmith.pipeline import home_of, run_recipe
    from tunesmith.pipeline.making import make_rows

    if allow_changes and not resume:
        raise ConfigError(
            "--allow-changes is of --resume", hint="a new run asks nothing of older ones"
        )
    resolved = load_recipe(recipe, sets=sets or (), profile=profile)
    if dry_run:
        _show_values(resolved, as_json=as_json)
        return
    place = home_of(home)
    with Watch() as watch:
        if budget is not None:
            make_rows(resolved, home=place, listener=watch, budget=budget)
        finished = run_recipe(
            resolved, home=place, listener=watch, resume=resume, allow_changes=allow_changes
        )
    show_finished(finished, as_json=as_json)


def show_finished(finished: Finished, *, as_json: bool) -> None:
    """The end of a run: figures, verdicts, and where the report is."""
    if as_json:
        print_json(finished.summary)
        return
    show_metrics(finished.metrics, confidence=finished.confidence)
    show_verdicts(finished.comparisons, confidence=finished.confidence)
    out.print(
        f"\n[bold]report[/] {escape(str(finished.report))}\n[dim]run {finished.id}[/]",
        highlight=False,
        soft_wrap=True,
    )


def _show_values(resolved: Resolved, *, as_json: bool) -> None:
    from tunesmith.config import resolved_rows

    rows = resolved_rows(resolved)
    for note in resolved.notes:
        err.print(note, highlight=False, soft_wrap=True)
    if as_json:
        print_json({key: {"value": value, "from": origin} for key, value, origin in rows})
        return
    wide = max(len(key) for key, _, _ in rows)
    for key, value, origin in rows:
        line = f"{key:<{wide}}  {value}  [{origin}]"
        style = "dim" if origin.startswith("default") else None
        out.print(line, style=style, markup=False, highlight=False, soft_wrap=True)
