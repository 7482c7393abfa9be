"""Data sets as things of their own: opened by name, whatever holds them, and exported.

A set is named by a recipe, by a version (the beginning of its id, or its name), by a folder that
holds one, or by a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import DataError
from tunesmith.pipeline.context import Desk, Listener, Prepared, Silent
from tunesmith.records import Example, Splits
from tunesmith.store.home import store_of
from tunesmith.store.whole import whole_file

if TYPE_CHECKING:
    from tunesmith.config import Resolved
    from tunesmith.data.formats import Exported

WHOLE = "all"  # the part of a set that is not divided


@dataclass(frozen=True, slots=True)
class Opened:
    """A set that was named: its parts, what it is, and the recipe where it came from one.

    `unusable` are rows of a file that no example could be made of.
    """

    name: str
    kind: str  # recipe, version, folder, file
    parts: Mapping[str, tuple[Example, ...]]
    resolved: Resolved | None = None
    prepared: Prepared | None = None
    unusable: int = 0


@dataclass(frozen=True, slots=True)
class Sent:
    """What was exported: the part, what became of its rows, and where their credits stand."""

    part: str
    exported: Exported
    attribution: Path | None


def desk_of(resolved: Resolved, home: Path, listener: Listener | None = None) -> Desk:
    """What it takes to prepare a recipe's data, without a run."""
    from tunesmith.models.hardware import find_hardware
    from tunesmith.store.artefacts import Artefacts
    from tunesmith.tasks.base import get_task

    return Desk(
        resolved=resolved,
        task=get_task(resolved.recipe.task, resolved.recipe.task_options),
        artefacts=Artefacts(home),
        hardware=find_hardware(),
        listener=listener or Silent(),
    )


def open_set(
    name: str, *, home: Path, task: str | None = None, fields: Mapping[str, str] | None = None
) -> Opened:
    """The set of that name: a folder or file, a version, or a hub id; no recipe is prepared.

    Raises DataError where there is none.
    """
    from tunesmith.data.rows import read_set
    from tunesmith.data.versions import is_version, read_version
    from tunesmith.store.store import Store

    place = Path(name).expanduser()
    if place.is_dir() and is_version(place):
        return Opened(name, "folder", _parts(read_version(place)))
    if not place.exists() and "/" not in name:
        with Store.open(store_of(home)) as store:
            version = store.data_version(name)
        if version is not None:
            return Opened(version.id, "version", _parts(read_version(version.directory)))
        if not place.suffix and "*" not in name:
            raise DataError(
                f"{name}: neither a file nor a version of a data set.",
                hint="`tunesmith data versions` lists the versions in this home.",
            )
    examples, unusable = read_set(name, task=task, fields=fields)
    return Opened(name, "file", {WHOLE: examples}, unusable=unusable)


def open_any(
    name: str,
    *,
    home: Path,
    listener: Listener | None = None,
    task: str | None = None,
    fields: Mapping[str, str] | None = None,
    sets: tuple[str, ...] = (),
) -> Opened:
    """As `open_set`; a recipe (a YAML file, or a shipped one's name) is prepared."""
    from tunesmith.config import is_recipe, load_recipe
    from tunesmith.pipeline.preparing import prepare

    if is_recipe(name):
        resolved = load_recipe(name, sets=sets)
        prepared = prepare(desk_of(resolved, home, listener))
        return Opened(resolved.recipe.name, "recipe", _parts(prepared.splits), resolved, prepared)
    return open_set(name, home=home, task=task, fields=fields)


def export_set(
    opened: Opened, out: Path, *, form: str, part: str | None = None, skip: bool = False
) -> Sent:
    """Write one part of a set as a file of another format, and beside it whom to credit, where a
    licence of its rows asks for that and the format leaves it behind.

    The part is `train` where the set is divided and nobody says which.
    """
    from tunesmith.data.attribution import attribution, works
    from tunesmith.data.formats import WHOLE as HOLDS_ALL
    from tunesmith.data.formats import export, write_rows

    chosen = part or (WHOLE if WHOLE in opened.parts else "train")
    if chosen not in opened.parts:
        raise DataError(
            f"{opened.name} has no part {chosen!r}.", hint=f"It has {', '.join(opened.parts)}."
        )
    exported = export(opened.parts[chosen], form, skip=skip)
    write_rows(out, exported.rows)
    credits = (
        "" if form == HOLDS_ALL else attribution(works({out.name: exported.kept}), opened.name)
    )
    beside = out.with_name(f"{out.name}.ATTRIBUTION.md")
    if credits:
        with whole_file(beside) as file:
            file.write(credits)
    return Sent(chosen, exported, beside if credits else None)


def _parts(splits: Splits) -> dict[str, tuple[Example, ...]]:
    return {"train": splits.train, "validation": splits.validation, "test": splits.test}


def origins_of(resolved: Resolved) -> dict[str, str]:
    """Who wrote the answers of each source, as far as the recipe says it."""
    found: dict[str, str] = {}
    for name, source in resolved.recipe.data.sources.items():
        if source is None:
            continue
        if source.origin is not None:
            found[name] = source.origin
        elif source.generate is not None:
            found[name] = "generated"
        elif source.collect is not None:
            found[name] = "human"
    return found
