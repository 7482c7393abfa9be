"""`tunesmith data prepare`: drop and mask what was asked for, and say what went and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from tunesmith.cli.options import Fields, Home, Json, Profile, Sets, TaskName, fields_of
from tunesmith.cli.output import out, print_json, verb
from tunesmith.errors import ConfigError

if TYPE_CHECKING:
    from tunesmith.config.quality import QualitySettings

PREFIX = "data.quality."


@verb
def prepare(
    what: Annotated[
        list[str],
        typer.Argument(metavar="RECIPE|FILE...", help="A recipe, or files, patterns, hub ids."),
    ],
    to: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of what is kept and dropped.")
    ] = Path("prepared"),
    sets: Sets = None,
    profile: Profile = None,
    task: TaskName = None,
    field: Fields = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Apply data.quality: write the rows that are kept, and the dropped ones with their reasons.

    Nothing is changed that was not asked for. DIR/kept holds a file for each source, with the masks
    in every column; DIR/dropped.jsonl place, reason and whole row of the others (what is private is
    masked in it); DIR/prepared.json the counts.

    Examples:

    - `tunesmith data prepare my.yaml --out prepared`
    - `tunesmith data prepare qa.jsonl --set min_characters=50 --set actions.secrets=mask`
    - `tunesmith data prepare qa.jsonl --set max_near_duplicates_per_cluster=1`
    """
    from tunesmith.config import is_recipe

    if len(what) == 1 and is_recipe(what[0]):
        facts = _of_recipe(what[0], to, sets or (), profile, home, task=task, field=field)
    else:
        from tunesmith.pipeline.quality import prepare_files

        if profile is not None:
            raise ConfigError("--profile is of a recipe, and these are files.")
        settings = _settings(sets or ())
        facts = prepare_files(
            what, task=task, fields=fields_of(field or ()), settings=settings, to=to
        )
    if as_json:
        print_json({**facts, "directory": str(to)})
    else:
        _show(facts, to)


def _of_recipe(
    recipe: str,
    to: Path,
    sets: Sequence[str],
    profile: str | None,
    home: Path | None,
    *,
    task: str | None,
    field: list[str] | None,
) -> dict[str, Any]:
    from tunesmith.cli.watch import Watch
    from tunesmith.config import load_recipe
    from tunesmith.pipeline import home_of
    from tunesmith.pipeline.quality import prepare_recipe

    if task is not None or field:
        raise ConfigError(
            "--task and --field are for files.", hint="A recipe says both: task, data.sources."
        )
    resolved = load_recipe(recipe, sets=sets, profile=profile)
    with Watch() as watch:
        return prepare_recipe(resolved, home=home_of(home), to=to, listener=watch)


def _settings(sets: Sequence[str]) -> QualitySettings:
    """The settings that `--set KEY=VALUE` give, with or without `data.quality.` before the key."""
    from pydantic import ValidationError

    from tunesmith.config.quality import QualitySettings
    from tunesmith.config.text import read_pair

    values: dict[str, Any] = {}
    for item in sets:
        key, value = read_pair(item, "min_characters=50")
        place, *rest = key.removeprefix(PREFIX).split(".", 1)
        if rest:
            values.setdefault(place, {})[rest[0]] = value
        else:
            values[place] = value
    try:
        return QualitySettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "data.quality"
        known = ", ".join(QualitySettings.model_fields)
        raise ConfigError(
            f"--set {where}: {first['msg'].removeprefix('Value error, ')}", hint=f"keys: {known}"
        ) from error


def _show(facts: dict[str, Any], to: Path) -> None:
    out.print(
        f"[bold]{facts['kept']:,}[/] of {facts['rows']:,} rows kept, {facts['dropped']:,} dropped, "
        f"{facts['masked']:,} masked, {facts['unusable']:,} unusable",
        highlight=False,
    )
    for code, count in facts["reasons"].items():
        out.print(f"  {count:,} {escape(code)}", highlight=False)
    out.print(escape(str(to)), highlight=False, soft_wrap=True)
