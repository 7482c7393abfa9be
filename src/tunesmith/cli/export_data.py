"""`tunesmith data export`: a set in the format that another program trains from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tunesmith.cli.options import Fields, Home, Json, Sets, TaskName, fields_of
from tunesmith.cli.output import err, out, print_json, verb
from tunesmith.cli.watch import Watch


@verb
def export(
    what: Annotated[
        str, typer.Argument(metavar="RECIPE|V|FILE", help="A recipe, a version, or a file.")
    ],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="chatml, openai, sharegpt, alpaca, trl, trl-plain, or jsonl (holds everything).",
        ),
    ],
    to: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write.")],
    part: Annotated[
        str | None,
        typer.Option("--part", help="Part of a divided set: train (default), validation, test."),
    ] = None,
    skip: Annotated[
        bool, typer.Option("--skip", help="Leave out rows that the format cannot carry.")
    ] = False,
    task: TaskName = None,
    field: Fields = None,
    sets: Sets = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write a set in another program's format; what it cannot carry is refused by name.

    To import one, name its file wherever a file is taken: all of these are read by their columns.
    Whom to credit stands beside it (FILE.ATTRIBUTION.md), where a licence of its rows asks for it.

    Examples:

    - `tunesmith data export my.yaml --part test --format trl --out test.jsonl`
    - `tunesmith data export faq --format openai --out train.jsonl`
    - `tunesmith data export rows.jsonl --format alpaca --out alpaca.jsonl --skip`
    """
    from tunesmith.pipeline import home_of
    from tunesmith.pipeline.datasets import export_set, open_any

    with Watch() as watch:
        opened = open_any(
            what,
            home=home_of(home),
            listener=watch,
            task=task,
            fields=fields_of(field or ()),
            sets=tuple(sets or ()),
        )
    sent = export_set(opened, to, form=form, part=part, skip=skip)
    found = sent.exported
    if as_json:
        print_json(
            {
                "file": str(to),
                "format": form,
                "part": sent.part,
                "rows": len(found.rows),
                "unusable": opened.unusable,
                "skipped": {reason: count for reason, (count, _) in found.skipped.items()},
                "lost": dict(found.lost),
                "warnings": list(found.warnings),
                "attribution": None if sent.attribution is None else str(sent.attribution),
            }
        )
        return
    out.print(f"[bold]{len(found.rows):,} rows[/] ({sent.part}) {escape(str(to))}", soft_wrap=True)
    if sent.attribution is not None:
        out.print(f"whom to credit: {escape(str(sent.attribution))}", soft_wrap=True)
    tell_unusable(what, opened.unusable)
    for reason, (count, places) in found.skipped.items():
        err.print(f"[yellow]left out[/] {count:,} rows with {reason}: {escape(', '.join(places))}")
    if found.lost:
        lost = ", ".join(f"{escape(name)} of {count:,}" for name, count in found.lost.items())
        err.print(f"[dim]stays behind: {lost}[/]", highlight=False)
    for warning in found.warnings:
        err.print(f"[yellow]warning[/] {escape(warning)}", highlight=False)


def tell_unusable(name: str, rows: int) -> None:
    """Rows of a file that are not in what follows."""
    if rows:
        err.print(
            f"[yellow]left out[/] {rows:,} unusable rows of {escape(name)}; "
            "`tunesmith data check` says why",
            highlight=False,
            soft_wrap=True,
        )
