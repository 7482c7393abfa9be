"""`tunesmith data freeze`, `versions` and `diff`: data sets with an address, and what changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tunesmith.cli.export_data import tell_unusable
from tunesmith.cli.options import (
    Fields,
    Home,
    Json,
    Profile,
    RecipeName,
    Sets,
    TaskName,
    fields_of,
)
from tunesmith.cli.output import err, figures_table, out, print_json, verb
from tunesmith.cli.watch import Watch

if TYPE_CHECKING:
    from tunesmith.data.differences import Change, Difference, Shift

SHORT = 12  # digits of an id, for people
COLOURS = {"changed": "yellow", "moved": "cyan", "removed": "red", "added": "green"}


@verb
def freeze(
    recipe: RecipeName,
    sets: Sets = None,
    profile: Profile = None,
    to: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Write a copy of the version here, too."),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Freeze a recipe's data: ChatML by source and combined, Arrow, hashes, and a card.

    The id of a version is the hash of its rows: the same data is the same version, and is not
    written twice.

    Examples:

    - `tunesmith data freeze my.yaml --out data-v1`
    - `tunesmith data freeze anecdot --json`
    """
    from tunesmith.config import load_recipe
    from tunesmith.pipeline import home_of
    from tunesmith.pipeline.freezing import freeze_recipe

    resolved = load_recipe(recipe, sets=sets or (), profile=profile)
    with Watch() as watch:
        frozen = freeze_recipe(resolved, home=home_of(home), listener=watch, out=to)
    version = frozen.version
    if as_json:
        print_json(
            {
                "version": version.id,
                "name": version.name,
                "new": frozen.new,
                "directory": str(version.directory),
                "copy": None if frozen.copied is None else str(frozen.copied),
                "parts": dict(version.parts),
                "sources": dict(version.sources),
                "errors": [
                    {"code": f.code, "count": f.count, "message": f.message, "action": f.action}
                    for f in frozen.errors
                ],
            }
        )
        return
    for finding in frozen.errors:
        count = f"{finding.count:,} " if finding.count else ""
        err.print(f"[red]error[/] {count}{escape(finding.message)}", soft_wrap=True)
        err.print(f"  [bold]→[/] {escape(finding.action)}", soft_wrap=True)
    state = "frozen" if frozen.new else "unchanged, nothing was written:"
    parts = ", ".join(f"{count:,} {part}" for part, count in version.parts.items())
    out.print(f"[bold]{state} {version.id[:SHORT]}[/] {parts}", highlight=False)
    for place in (version.directory, frozen.copied):
        if place is not None:
            out.print(escape(str(place)), highlight=False, soft_wrap=True)


@verb
def versions(
    remove: Annotated[
        str | None,
        typer.Option("--remove", metavar="ID", help="Remove this version with its files."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Remove it though a run stands on it.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List the frozen versions in this home, the newest first; or remove one.

    A recipe takes one as a source by its name and id: `path: faq@3f2a91`.

    Examples:

    - `tunesmith data versions`
    - `tunesmith data versions --remove 3f2a91`
    """
    from tunesmith.pipeline import home_of
    from tunesmith.pipeline.versions import list_versions, remove_version

    if remove is not None:
        removed = remove_version(home_of(home), remove, force=force)
        if as_json:
            print_json({"removed": removed.id})
        else:
            out.print(f"removed {removed.id[:SHORT]} {escape(removed.name)}", highlight=False)
        return
    found = list_versions(home_of(home))
    if as_json:
        print_json(
            {
                "versions": [
                    {
                        "version": v.id,
                        "name": v.name,
                        "created": v.created.isoformat(timespec="seconds"),
                        "parts": dict(v.parts),
                        "sources": dict(v.sources),
                        "directory": str(v.directory),
                        "there": v.directory.is_dir(),
                    }
                    for v in found
                ]
            }
        )
        return
    if not found:
        out.print("no version yet: `tunesmith data freeze RECIPE` makes one", markup=False)
        return
    table = Table("version", "name", "frozen", "parts", box=None, pad_edge=False)
    for v in found:
        parts = ", ".join(f"{count:,} {part}" for part, count in v.parts.items())
        gone = "" if v.directory.is_dir() else " [red]its files are gone[/]"
        table.add_row(v.id[:SHORT], escape(v.name), f"{v.created:%Y-%m-%d %H:%M}", f"{parts}{gone}")
    out.print(table)


@verb
def diff(
    a: Annotated[str, typer.Argument(metavar="V1", help="A version, its folder, or a file.")],
    b: Annotated[str, typer.Argument(metavar="V2", help="What to hold against it.")],
    task: TaskName = None,
    field: Fields = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Show so many rows.")] = 20,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say what lies between two sets: rows added, removed, changed, moved between parts.

    Examples:

    - `tunesmith data diff 3f2a 91bc`
    - `tunesmith data diff old.jsonl new.jsonl --json`
    """
    from tunesmith.data.differences import difference, difference_json
    from tunesmith.pipeline import home_of
    from tunesmith.pipeline.datasets import open_set

    place = home_of(home)
    fields = fields_of(field or ())
    one, other = (open_set(name, home=place, task=task, fields=fields) for name in (a, b))
    found = difference(one.parts, other.parts)
    for opened in (one, other):
        tell_unusable(opened.name, opened.unusable)
    if as_json:
        print_json({"a": one.name, "b": other.name, **difference_json(found)})
    else:
        _show(found, limit)


def _show(found: Difference, limit: int) -> None:
    table = figures_table()
    table.add_row("rows", f"{found.rows_b:,}", f"before: {found.rows_a:,}")
    table.add_row("the same", f"{found.same:,}", "")
    notes = {
        "added": "in the second alone",
        "removed": "in the first alone",
        "changed": "the prompt is the same, the answer or the label is not",
        "moved": "the same row in another part",
    }
    for kind, note in notes.items():
        table.add_row(f"[{COLOURS[kind]}]{kind}[/]", f"{found.count(kind):,}", note)
    if found.retold:
        table.add_row("other metadata", f"{found.retold:,}", "source, licence and the like")
    if found.leaked:
        table.add_row(
            "[red]test to training[/]", f"{found.leaked:,}", "scores cannot be compared any more"
        )
    out.print(table)
    for title, shifts in (("label", found.labels), ("source", found.sources)):
        if any(shift.a != shift.b for shift in shifts):
            out.print(_shifts(title, shifts))
    for change in found.changes[:limit]:
        out.print(_change(change), highlight=False, soft_wrap=True)
    if len(found.changes) > limit:
        out.print(f"[dim]… and {len(found.changes) - limit:,} more (--limit, --json)[/]")


def _shifts(title: str, shifts: tuple[Shift, ...]) -> Table:
    table = Table(title, box=None, pad_edge=False, header_style="bold")
    for head in ("before", "after", "shift"):
        table.add_column(head, justify="right")
    for shift in shifts:
        points = 100 * (shift.share_b - shift.share_a)
        table.add_row(escape(shift.name), f"{shift.a:,}", f"{shift.b:,}", f"{points:+.1f} points")
    return table


def _change(change: Change) -> str:
    where = " → ".join(p for p in dict.fromkeys((change.part_a, change.part_b)) if p)
    line = f"[{COLOURS[change.kind]}]{change.kind}[/] [dim]{where}[/] {escape(change.prompt)}"
    if change.label_before != change.label_after and change.kind == "changed":
        line += f" [bold]{escape(f'{change.label_before} → {change.label_after}')}[/]"
    if change.before != change.after and change.kind == "changed":
        line += f"\n  [red]-[/] {escape(_short(change.before))}"
        line += f"\n  [green]+[/] {escape(_short(change.after))}"
    return line


def _short(text: str | None) -> str:
    line = " ".join((text or "").split())
    return line if len(line) <= 100 else line[:99] + "…"
