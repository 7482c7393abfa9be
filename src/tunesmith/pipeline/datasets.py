"""Data sets as things of their own: frozen from a recipe, named by a version, compared, exported.

A set is named by a recipe, by a version (the beginning of its id, or its name), by a folder that
holds one, or by a file.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.errors import DataError
from tunesmith.pipeline.context import Desk, Listener, Prepared, Silent
from tunesmith.records import Example, Splits
from tunesmith.store.home import store_of
from tunesmith.store.whole import whole_folder

if TYPE_CHECKING:
    from tunesmith.config import Resolved
    from tunesmith.data.formats import Exported
    from tunesmith.store.versions import DataVersion

STAGE = "dataset"  # the artefacts of versions
WHOLE = "all"  # the part of a set that is not divided


@dataclass(frozen=True, slots=True)
class Frozen:
    """A version, and whether it was written now or stood there already."""

    version: DataVersion
    new: bool
    copied: Path | None


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


def freeze_recipe(
    resolved: Resolved, *, home: Path, listener: Listener | None = None, out: Path | None = None
) -> Frozen:
    """Prepare a recipe's data and freeze it; the version that is there where the rows are its.

    `out` gets a copy. Raises DataError where it holds something else.
    """
    from tunesmith.data.card import card
    from tunesmith.data.versions import content_id, counts, write_version
    from tunesmith.pipeline.preparing import prepare
    from tunesmith.store.artefacts import Artefacts
    from tunesmith.store.store import Store
    from tunesmith.store.versions import DataVersion

    recipe = resolved.recipe
    prepared = prepare(desk_of(resolved, home, listener))
    key = content_id(prepared.splits)
    artefacts = Artefacts(home)
    new = artefacts.get(STAGE, key) is None
    by_source = counts(prepared.splits)

    def build(directory: Path) -> dict[str, Any]:
        facts = _card_facts(resolved, prepared, key)
        write_version(directory, prepared.splits, card(facts), seed=recipe.seed)
        return {
            "name": recipe.name,
            "parts": prepared.splits.sizes(),
            "sources": by_source,
            "quality": asdict(replace(prepared.quality, findings=())),
            "set_aside": dict(prepared.reject_reasons),
        }

    place = artefacts.publish(STAGE, key, build, inputs=_inputs(resolved, prepared))
    sources = {name: sum(parts.values()) for name, parts in by_source.items()}
    version = DataVersion(
        key, recipe.name, datetime.now(UTC), prepared.splits.sizes(), sources, place
    )
    with Store.open(store_of(home)) as store:
        store.record_version(version)
        version = store.data_version(key) or version
    return Frozen(version, new, None if out is None else _copy(place, key, out))


def list_versions(home: Path) -> list[DataVersion]:
    """Every version that the store has noted, the newest first."""
    from tunesmith.store.store import Store

    with Store.open(store_of(home)) as store:
        return store.data_versions()


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
    name: str,
    out: Path,
    *,
    form: str,
    home: Path,
    part: str | None = None,
    skip: bool = False,
    task: str | None = None,
    fields: Mapping[str, str] | None = None,
) -> tuple[str, Exported, int]:
    """Write one part of a set as a file of another format: the part, what became of its rows, and
    how many rows of a file were unusable to begin with.

    The part is `train` where the set is divided and nobody says which.
    """
    from tunesmith.data.formats import export, write_rows

    opened = open_set(name, home=home, task=task, fields=fields)
    chosen = part or (WHOLE if WHOLE in opened.parts else "train")
    if chosen not in opened.parts:
        raise DataError(
            f"{name} has no part {chosen!r}.", hint=f"It has {', '.join(opened.parts)}."
        )
    exported = export(opened.parts[chosen], form, skip=skip)
    write_rows(out, exported.rows)
    return chosen, exported, opened.unusable


def _parts(splits: Splits) -> dict[str, tuple[Example, ...]]:
    return {"train": splits.train, "validation": splits.validation, "test": splits.test}


def _card_facts(resolved: Resolved, prepared: Prepared, key: str) -> Any:
    from tunesmith.data.card import CardFacts

    recipe = resolved.recipe
    sources = {n: s for n, s in recipe.data.sources.items() if s is not None}
    return CardFacts(
        name=recipe.name,
        description=recipe.description,
        id=key,
        task=recipe.task,
        seed=recipe.seed,
        splits=prepared.splits,
        quality=prepared.quality,
        rejected=prepared.reject_reasons,
        licences={name: source.licence for name, source in sources.items()},
        origins=origins_of(resolved),
        mix=_mix(prepared),
        repeat=_repeat(resolved, prepared),
    )


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


def _mix(prepared: Prepared) -> Mapping[str, Mapping[str, Any]]:
    import json

    facts = json.loads((prepared.directory / "facts.json").read_text("utf-8"))
    found: Mapping[str, Mapping[str, Any]] = facts.get("mix", {})
    return found


def _repeat(resolved: Resolved, prepared: Prepared) -> tuple[tuple[str, str], ...]:
    """The command, the program's version, and each source by its hashes or its commit."""
    from tunesmith import __version__

    recipe = resolved.path.name if resolved.path else resolved.recipe.name
    rows = [("command", f"tunesmith data freeze {recipe}"), ("tunesmith", __version__)]
    for name, pin in prepared.pins.items():
        files = ", ".join(
            f"{Path(file['path']).name} sha256:{file['sha256'][:16]}"
            for file in (pin or {}).get("files", ())
        )
        revision = (pin or {}).get("revision")
        rows.append((f"source {name}", files or (f"commit {revision}" if revision else "")))
    return tuple(rows)


def _inputs(resolved: Resolved, prepared: Prepared) -> dict[str, Any]:
    """How to repeat, for the manifest: paths as the recipe has them, files by their hashes."""
    recipe = resolved.recipe
    return {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "task": recipe.task,
        "task_options": recipe.task_options,
        "data": recipe.data.model_dump(mode="json"),
        "max_length": recipe.training.max_length,
        "prepared": prepared.key,
        "repeat": dict(_repeat(resolved, prepared)),
    }


def _copy(place: Path, key: str, out: Path) -> Path:
    """The files of a version at `out`; nothing is written where they are there already."""
    from tunesmith.store.artefacts import read_manifest

    manifest = read_manifest(out) if out.is_dir() else None
    if manifest is not None and manifest.get("key") == key:
        return out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(
            f"{out} is there already and holds something else.",
            hint="Name another folder with --out, or remove it.",
        )
    with whole_folder(out) as new:
        shutil.copytree(place, new, dirs_exist_ok=True)
    return out
