"""`tunesmith data show` and `report`: a data set as the model sees it, and drawn on a page."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from tunesmith.cli.export_data import tell_unusable
from tunesmith.cli.options import Home, Json, Sets, TaskName, Template
from tunesmith.cli.output import out, print_json, verb
from tunesmith.cli.watch import Watch

if TYPE_CHECKING:
    from tunesmith.pipeline.showing import Seen, Slot

STYLES = {
    "prompt": "",
    "answer": "bold green",
    "special": "dim magenta",
    "special answer": "bold magenta",
}
NEXT, BACK, QUIT = frozenset(" \r\nnj"), frozenset("pbk"), frozenset("q\x03\x04\x1b")


@verb
def show(
    what: Annotated[
        str,
        typer.Argument(metavar="FILE|RECIPE|VERSION", help="What to look at."),
    ],
    row: Annotated[
        int | None, typer.Option("--row", min=1, help="This example alone, counted from 1.")
    ] = None,
    label: Annotated[str | None, typer.Option("--label", help="Only with this label.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="Only of this source.")] = None,
    part: Annotated[
        str | None, typer.Option("--part", help="Only of this part: train, validation, test.")
    ] = None,
    shuffle: Annotated[
        bool, typer.Option("--shuffle", help="In an order drawn by --seed.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of --shuffle.")] = 0,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="At most so many; default 5, in a terminal all."),
    ] = None,
    model: Template = None,
    task: TaskName = None,
    unmasked: Annotated[
        bool,
        typer.Option("--unmasked", help="Show secrets and personal data as the model sees them."),
    ] = False,
    sets: Sets = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Page through examples as the model sees them: its template, special tokens, what is trained.

    Supervised tokens are green, special tokens magenta. In a terminal: Enter for the next, b for
    the one before, q to stop. Secrets and personal data are masked here, and only here: the model
    sees them, and --unmasked shows them.

    Examples:

    - `tunesmith data show train.jsonl --shuffle`
    - `tunesmith data show anecdot --label none --limit 2`
    - `tunesmith data show my.yaml --source stack --json --limit 3`
    - `tunesmith data show train.jsonl --row 7 --unmasked`
    """
    from tunesmith.pipeline import home_of
    from tunesmith.pipeline.datasets import open_any
    from tunesmith.pipeline.showing import hidden, region_of, renderer_of, seen, seen_json, slots

    with Watch() as watch:
        opened = open_any(
            what, home=home_of(home), listener=watch, task=task, sets=tuple(sets or ())
        )
    tell_unusable(opened.name, opened.unusable)
    found = slots(
        opened, row=row, label=label, source=source, part=part, seed=seed if shuffle else None
    )
    renderer = renderer_of(opened, model)

    def look(chosen: Sequence[Slot]) -> list[Seen]:
        whole = seen(renderer, chosen)
        return whole if unmasked else [hidden(it, region_of(opened)) for it in whole]

    paged = out.is_terminal and sys.stdin.isatty() and not as_json and len(found) > 1
    if paged:
        import click

        page(found[:limit], lambda slot: look([slot])[0], click.getchar)
        return
    shown = look(found[: limit or 5])
    if not as_json:
        _draw_all(shown, len(found))
        return
    print_json(
        {
            "name": opened.name,
            "kind": opened.kind,
            "model": renderer.tokenizer.name_or_path.rpartition("/")[2],
            "examples": sum(map(len, opened.parts.values())),
            "matching": len(found),
            "masked": not unmasked,
            "rows": [seen_json(it) for it in shown],
        }
    )


def _draw_all(shown: Sequence[Seen], of: int) -> None:
    for number, it in enumerate(shown, start=1):
        draw(it, number, of)
    if len(shown) < of:
        out.print(f"[dim]… and {of - len(shown):,} more (--limit, --row)[/]")


def page(found: Sequence[Slot], look: Callable[[Slot], Seen], key: Callable[[], str]) -> None:
    """Show one example at a time, as the keys say."""
    at = 0
    while at < len(found):
        out.clear()
        draw(look(found[at]), at + 1, len(found))
        out.print("[dim]Enter: next   b: back   q: stop[/]")
        pressed = key()
        if pressed in QUIT:
            return
        at = max(0, at - 1) if pressed in BACK else at + 1 if pressed in NEXT else at


def draw(it: Seen, number: int, of: int) -> None:
    """One example: where it stands, its tokens in colour, and what they count."""
    head = Text(f"{number:,} of {of:,}", style="bold")
    head.append(f"  row {it.row:,}, {it.part}", style="cyan")
    told = [it.example.place, it.example.meta.get("source", ""), it.example.label or ""]
    head.append("  " + " · ".join(filter(None, told)), style="dim")
    out.print(head, soft_wrap=True)
    body = Text()
    for piece in it.pieces:
        body.append(visible(piece.text), style=STYLES[piece.kind])
    out.print(body, soft_wrap=True)
    share = f"{it.supervised / it.tokens:.0%}" if it.tokens else "–"
    out.print(f"[dim]{it.tokens:,} tokens, {it.supervised:,} supervised ({share})[/]\n")


def visible(text: str) -> str:
    """Control characters as pictures: what a row holds cannot steer the terminal."""
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character in "\n\t" or character.isprintable():
        return character
    if ord(character) < 32:
        return chr(0x2400 + ord(character))
    return character if character.isspace() and ord(character) > 0x9F else "\ufffd"


@verb
def report(
    what: Annotated[
        list[str],
        typer.Argument(metavar="RECIPE|VERSION|FILE...", help="One recipe or version, or files."),
    ],
    to: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Where to write the page.")
    ] = Path("data_report.html"),
    examples: Annotated[
        int, typer.Option("--examples", min=0, help="Examples shown as the model sees them.")
    ] = 6,
    model: Template = None,
    task: TaskName = None,
    sets: Sets = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Draw a data set: lengths, sources, labels, duplicates, findings, examples; one HTML file.

    Examples:

    - `tunesmith data report train.jsonl`
    - `tunesmith data report my.yaml --out data.html`
    """
    from tunesmith.pipeline import home_of
    from tunesmith.pipeline.describing import data_report

    with Watch() as watch:
        page_at = data_report(
            what,
            to,
            home=home_of(home),
            listener=watch,
            model=model,
            task=task,
            examples=examples,
            sets=tuple(sets or ()),
        )
    if as_json:
        print_json({"report": str(page_at)})
    else:
        out.print(str(page_at), highlight=False, soft_wrap=True)
