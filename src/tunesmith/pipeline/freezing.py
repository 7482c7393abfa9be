"""Freezing: a recipe's data as a version, with its card, addressed by its rows."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.errors import DataError
from tunesmith.pipeline.context import Listener, Prepared
from tunesmith.pipeline.datasets import desk_of, origins_of
from tunesmith.pipeline.versions import STAGE
from tunesmith.records import Finding, Severity
from tunesmith.store.home import store_of
from tunesmith.store.whole import whole_folder

if TYPE_CHECKING:
    from tunesmith.config import Resolved
    from tunesmith.data.card import CardFacts
    from tunesmith.store.versions import DataVersion


@dataclass(frozen=True, slots=True)
class Frozen:
    """A version, and whether it was written now or stood there already; `errors` are the findings
    that forbid its use as it is, incompatible licences above all."""

    version: DataVersion
    new: bool
    copied: Path | None
    errors: tuple[Finding, ...] = ()


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
        write_version(directory, prepared.splits, card(facts), seed=recipe.seed, name=recipe.name)
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
    errors = tuple(f for f in prepared.quality.findings if f.severity is Severity.ERROR)
    return Frozen(version, new, None if out is None else _copy(place, key, out), errors)


def _card_facts(resolved: Resolved, prepared: Prepared, key: str) -> CardFacts:
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
        "max_length": prepared.max_length,
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
