"""Frozen versions: listed, taken as the data of another recipe, removed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.errors import DataError, StoreError
from tunesmith.store.home import store_of

if TYPE_CHECKING:
    from tunesmith.pipeline.context import Desk
    from tunesmith.records import Splits
    from tunesmith.store.store import Store
    from tunesmith.store.versions import DataVersion

STAGE = "dataset"  # the artefacts of versions
ROWS = "rows.jsonl"


def list_versions(home: Path) -> list[DataVersion]:
    """Every version that the store has noted, the newest first."""
    from tunesmith.store.store import Store

    with Store.open(store_of(home)) as store:
        return store.data_versions()


def names_version(path: str) -> bool:
    """Whether a source's path is the name of a version: NAME@DIGITS, or a folder that holds one."""
    from tunesmith.data.versions import is_version

    place = Path(path).expanduser()
    return is_version(place) or ("@" in path and "/" not in path and not place.exists())


def version_rows(desk: Desk, path: str, part: str | None) -> str:
    """The file with the rows of a version (all of them, or those of one part), for a source that
    `names_version`; labels and metadata stay with them.

    It is known by the version's id, so by its content. DataError where there is no such version, no
    such part, or where its files are not what its id says.
    """
    from tunesmith.data.formats import export, write_rows
    from tunesmith.data.freeze import PARTS
    from tunesmith.data.versions import content_id

    if part is not None and part not in PARTS:
        raise DataError(f"{path} has no part {part!r}.", hint=f"It has {', '.join(PARTS)}.")
    splits, key = _version(path, desk.artefacts.folder.parent)
    if content_id(splits) != key:
        raise DataError(
            f"{path}: its rows are not those that were frozen ({key[:12]}).",
            hint="Remove it (`tunesmith data versions --remove`) and freeze its recipe again.",
        )

    def build(directory: Path) -> dict[str, Any]:
        wanted = [e for name in PARTS if part in (None, name) for e in getattr(splits, name)]
        write_rows(directory / ROWS, export(wanted, "jsonl").rows)
        return {"rows": len(wanted)}

    made = desk.stand_on("version", {"version": key, "part": part}, build, of=path)
    return str(made.directory / ROWS)


def _version(path: str, home: Path) -> tuple[Splits, str]:
    """The parts of a version that a recipe names, and the id that they were frozen under."""
    from tunesmith.data.versions import content_id, is_version, read_version
    from tunesmith.store.artefacts import read_manifest
    from tunesmith.store.store import Store

    place = Path(path).expanduser()
    if is_version(place):
        splits = read_version(place)
        return splits, (read_manifest(place) or {}).get("key") or content_id(splits)
    with Store.open(store_of(home)) as store:
        version = store.data_version(path)
    if version is None:
        raise DataError(
            f"{path}: no such version of a data set.",
            hint="`tunesmith data versions` lists those in this home.",
        )
    return read_version(version.directory), version.id


def remove_version(home: Path, said: str, *, force: bool = False) -> DataVersion:
    """Forget a version with its files. `said` is its id, the beginning of it, or NAME@DIGITS.

    Raises StoreError where there is none, or, but for `force`, where a run stands on it: where its
    recipe names the version, or where the version was frozen from the data of that run.
    """
    from tunesmith.store.artefacts import Artefacts
    from tunesmith.store.store import Store

    with Store.open(store_of(home)) as store:
        version = store.data_version(said)
        if version is None:
            raise StoreError(
                f"no data version begins with {said!r}",
                hint="`tunesmith data versions` lists those in this home",
            )
        if not version.id.startswith(said.rpartition("@")[2].lower()):
            raise StoreError(
                f"{said!r} is no version's id, nor the beginning of one",
                hint=f"the newest of that name is {version.id[:12]}: removing asks for the id",
            )
        runs = [] if force else _standing_on(store, version)
        if runs:
            raise StoreError(
                f"{version.id[:12]} is what {', '.join(runs[:3])} stands on"
                + (f", and {len(runs) - 3} more" if len(runs) > 3 else ""),
                hint="remove the runs first (`tunesmith runs rm`), or say --force",
            )
        store.remove_version(version.id)
    Artefacts(home).remove(version.directory)
    return version


def _standing_on(store: Store, version: DataVersion) -> list[str]:
    """The runs of the data that the version was frozen from, or whose recipe names it."""
    from tunesmith.store.artefacts import read_manifest

    inputs = (read_manifest(version.directory) or {}).get("inputs", {})
    frozen_from = store.runs_on_data(str(inputs.get("prepared", "")))
    runs = [
        run.id
        for run in store.runs()
        if run.id in frozen_from or _names(run.resolved.get("data"), version)
    ]
    others = [v for v in store.data_versions() if v.id != version.id]
    return runs + [f"version {v.id[:12]}" for v in others if _made_of(v, version)]


def _made_of(other: DataVersion, version: DataVersion) -> bool:
    """Whether another version was frozen from a recipe that has the version as a source."""
    from tunesmith.store.artefacts import read_manifest

    inputs = (read_manifest(other.directory) or {}).get("inputs", {})
    return _names(inputs.get("data"), version)


def _names(data: Any, version: DataVersion) -> bool:
    """Whether a recipe's data settings have the version as a source."""
    sources = data.get("sources") if isinstance(data, Mapping) else None
    for source in sources.values() if isinstance(sources, Mapping) else ():
        path = source.get("path") if isinstance(source, Mapping) else None
        name, at, digits = str(path or "").rpartition("@")
        if at and name == version.name and digits and version.id.startswith(digits.lower()):
            return True
        if path and Path(path).expanduser().absolute() == version.directory.absolute():
            return True
    return False
