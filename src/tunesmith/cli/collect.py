"""`tunesmith data collect`: documents from a source, into a folder that a recipe can read."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tunesmith.cli.options import Home, Json, Profile
from tunesmith.cli.output import err, out, print_json, verb
from tunesmith.errors import ConfigError

if TYPE_CHECKING:
    from tunesmith.config.collect import CollectorSettings
    from tunesmith.data.collect import Collected

SHOWN = 8  # reasons why something was left out


@verb
def collect(
    what: Annotated[
        str,
        typer.Argument(
            metavar="KIND_OR_NAME",
            help="stack_exchange, arxiv, graphviz, machines, files or hub; with --recipe a name "
            "under its data.collect.",
        ),
    ],
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", metavar="RECIPE", help="Take the settings from this recipe."),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="A setting of the collector; may be repeated."
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder of this collection; default: by home."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Stop at so many documents in all.")
    ] = None,
    refresh: Annotated[
        bool,
        typer.Option(
            "--refresh", help="Go through the source once more: add what is new, replace changes."
        ),
    ] = False,
    settings: Annotated[
        bool, typer.Option("--settings", help="Print the kind's settings instead of collecting.")
    ] = False,
    profile: Profile = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Collect documents with their source, licence, date and authors; go on where it stopped.

    Examples:

    - `tunesmith data collect stack_exchange --set tags=[ab-testing] --set min_score=5`
    - `tunesmith data collect files --set paths=docs --out documents`
    - `tunesmith data collect questions --recipe my.yaml --limit 500`
    - `tunesmith data collect questions --recipe my.yaml --refresh`
    - `tunesmith data collect arxiv --settings`
    """
    chosen = _settings(what, recipe, profile, sets or (), showing=settings)
    if settings:
        _show_settings(chosen, as_json=as_json)
        return
    from tunesmith.data.collect import collect as run
    from tunesmith.pipeline import home_of
    from tunesmith.pipeline.collecting import CACHE, FOLDER, collection_folder

    place = home_of(home)
    folder = target or collection_folder(place, what, chosen)
    began = time.monotonic()
    with err.status("collecting", spinner="line") as status:
        found = run(
            chosen,
            folder,
            cache=place / FOLDER / CACHE,
            limit=limit,
            refresh=refresh,
            say=lambda line: status.update(escape(line)),
        )
    seconds = time.monotonic() - began
    if as_json:
        print_json(as_plain(found, seconds))
    else:
        _show(found, chosen, limit or chosen.limit, seconds)


def as_plain(found: Collected, seconds: float) -> Mapping[str, Any]:
    """What --json prints."""
    return {
        "folder": str(found.folder),
        "file": str(found.file),
        "documents": found.documents,
        "new": found.new,
        "changed": found.changed,
        "removed": found.removed,
        "repeated": found.repeated,
        "pages": found.pages,
        "skipped": found.skipped,
        "licences": found.licences,
        "done": found.done,
        "finished": found.finished,
        "seconds": round(seconds, 3),
    }


def _settings(
    what: str, recipe: str | None, profile: str | None, sets: Sequence[str], *, showing: bool
) -> Any:
    """The settings of a kind with --set over them, or of a recipe's collector; of a kind that is
    only to be shown, its model."""
    from tunesmith.config.collect import KINDS, MODELS, collector_settings
    from tunesmith.config.text import read_pair

    values = dict(read_pair(item, "min_score=5") for item in sets)
    if recipe is None:
        if what not in KINDS:
            raise ConfigError(
                f"{what!r} is no kind of collector.",
                hint=f"A kind is one of {', '.join(KINDS)}; a recipe's own name needs --recipe.",
            )
        if showing:
            return MODELS[what]
        return collector_settings({"kind": what, **values}, what)
    from tunesmith.config import load_recipe

    resolved = load_recipe(recipe, profile=profile)
    collectors = resolved.recipe.data.collect
    if what not in collectors:
        raise ConfigError(
            f"{recipe} has no collector {what!r}.",
            hint=f"Under data.collect it has {', '.join(collectors) or 'none'}.",
        )
    said = collectors[what].model_dump(exclude_unset=True) | {"kind": collectors[what].kind}
    chosen = collector_settings({**said, **values}, f"data.collect.{what}")
    return chosen.located(resolved.beside)


def _show(found: Collected, settings: CollectorSettings, limit: int | None, seconds: float) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    table.add_row("documents", f"{found.documents:,}", f"{found.new:,} new in {seconds:,.0f} s")
    for what, count, note in (
        ("changed", found.changed, "and written anew"),
        ("removed", found.removed, "for their source holds them no more"),
        ("met again", found.repeated, "and not written again"),
    ):
        if count:
            table.add_row(what, f"{count:,}", note)
    for licence, count in sorted(found.licences.items(), key=lambda item: -item[1]):
        table.add_row(
            "licence", f"{count:,}", escape(licence or "unknown: look before you publish")
        )
    reasons = sorted(found.skipped.items(), key=lambda item: -item[1])
    for reason, count in reasons[:SHOWN]:
        table.add_row("left out", f"{count:,}", escape(reason))
    if len(reasons) > SHOWN:
        rest = sum(count for _, count in reasons[SHOWN:])
        table.add_row("left out", f"{rest:,}", f"for {len(reasons) - SHOWN:,} other reasons")
    out.print(table)
    out.print(f"[bold]→[/] {escape(str(found.file))}", soft_wrap=True, highlight=False)
    if any("PDF without text" in reason for reason in found.skipped):
        out.print("[dim]make PDFs of pictures readable by text recognition, then collect again[/]")
    out.print(f"[dim]{_outlook(found, settings, limit)}[/]", highlight=False)


def _outlook(found: Collected, settings: CollectorSettings, limit: int | None) -> str:
    """Where the collection stands, and how it goes on from there."""
    if not found.done:
        why = f"stopped at --limit {limit:,}" if limit is not None else "not at its end"
        return f"{why}; the same command with a higher limit goes on"
    day = found.finished.partition("T")[0]
    if settings.WATCHED:
        return f"up to date on {day}; the same command takes in what changes"
    return f"finished on {day}; --refresh brings it up to date"


def _show_settings(model: type[CollectorSettings] | CollectorSettings, *, as_json: bool) -> None:
    """Every setting of a kind with what it means; of a recipe's collector with its values."""
    kind = model if isinstance(model, type) else type(model)
    if as_json:
        print_json(
            kind.model_json_schema() if model is kind else dict(model.model_dump(mode="json"))  # type: ignore[call-arg]
        )
        return
    table = Table("setting", "default" if model is kind else "value", "", box=None, pad_edge=False)
    for name, info in kind.model_fields.items():
        if name == "kind":
            continue
        value = getattr(model, name) if model is not kind else info.default
        shown = "needed" if model is kind and info.is_required() else str(value)
        table.add_row(name, escape(shown), escape(info.description or ""))
    out.print(table)
