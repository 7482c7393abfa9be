"""`tunesmith data generate`: rows that a language model writes, within a budget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from tunesmith.cli.options import Home, Json, Profile, Sets
from tunesmith.cli.output import err, figures_table, out, print_json, verb
from tunesmith.cli.watch import Watch

if TYPE_CHECKING:
    from tunesmith.pipeline.generating import GeneratedRows

INCOMPLETE = 1  # the budget was reached: what was asked for is not all there


@verb
def generate(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The generation, as data.generate calls it.")
    ],
    recipe: Annotated[
        str, typer.Option("--recipe", "-r", metavar="RECIPE", help="The recipe that describes it.")
    ],
    sets: Sets = None,
    profile: Profile = None,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            metavar="USD",
            min=0.0001,
            help="Stop before all sittings together have cost more.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Take the first so many documents; rows of their own."),
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where the rows go; default: in the home."),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Let a language model write question-answer pairs, or paraphrase, from collected documents.

    Every answer is kept: the same command again makes no call twice, and goes on where it was
    stopped or killed. The budget counts all that NAME of this recipe file ever cost, whatever its
    settings and wherever the rows went. Exit 1: the budget ended it early.

    Examples:

    - `tunesmith data generate stats_qa --recipe my.yaml --budget 5.00`
    - `tunesmith data generate stats_qa --recipe my.yaml --limit 20 --json`
    """
    from tunesmith.config import load_recipe
    from tunesmith.pipeline import home_of
    from tunesmith.pipeline.generating import generate_named

    resolved = load_recipe(recipe, sets=sets or (), profile=profile)
    with Watch() as watch:
        made = generate_named(
            resolved,
            name,
            home=home_of(home),
            listener=watch,
            out=out_dir,
            budget=budget,
            limit=limit,
        )
    if as_json:
        print_json({"file": str(made.file), **made.facts})
    else:
        _show(made)
    if not made.complete:
        err.print(
            f"[bold]stopped[/]: {escape(made.facts['message'])}; a larger --budget goes on from "
            "here",
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit(INCOMPLETE)


def _show(made: GeneratedRows) -> None:
    facts = made.facts
    cost, calls, documents = facts["cost_usd"], facts["calls"], facts["documents"]
    each = f", ${cost['per_row']:.4f} a row" if cost["per_row"] is not None else ""
    figures = [
        ("rows", f"{facts['rows']:,}", f"of {facts['asked']:,} asked for"),
        *((f"  {kind}", f"{count:,}", "") for kind, count in facts["types"].items()),
        ("dropped", f"{facts['dropped']:,}", "reasons in dropped.jsonl"),
        ("documents", f"{documents['answered']:,}", f"of {documents['asked']:,}"),
        ("repaired", f"{documents['repaired']:,}", "documents, at the second attempt"),
        ("refused", f"{documents['refused']:,}", "documents, by the model"),
        ("calls", f"{calls['made']:,}", f"and {calls['kept']:,} answered from the store"),
        ("cost", f"${cost['spent']:.4f}", f"in all sittings{each}"),
    ]
    if cost["unsure"]:
        figures.append(("", f"${cost['unsure']:.4f}", "of it for calls without an answer, at most"))
    out.print(figures_table(figures))
    out.print(f"[bold]rows[/] {escape(str(made.file))}", highlight=False, soft_wrap=True)
