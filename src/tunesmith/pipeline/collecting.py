"""Collections of a recipe (`data.collect`): where they lie, and their documents as a source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.config.collect import CollectorSettings
    from tunesmith.pipeline.context import Desk

FOLDER = "collected"
CACHE = "http.sqlite"


def collection_folder(home: Path, name: str, settings: CollectorSettings) -> Path:
    """The folder of a collection: its name, and a hash of what is asked for."""
    from tunesmith.data.collect import key_of

    return home / FOLDER / f"{name}-{key_of(settings)}"


def collected(desk: Desk, name: str) -> str:
    """The file of documents of the recipe's collector `name`; what is missing is collected.

    Files that have changed are read anew; other sources are asked again only by
    `tunesmith data collect NAME --recipe RECIPE --refresh`.
    """
    from tunesmith.data.collect import collect

    settings = desk.recipe.data.collect[name]
    home = desk.artefacts.folder.parent
    folder = collection_folder(home, name, settings)
    found = collect(settings, folder, cache=home / FOLDER / CACHE)
    desk.listener.say(
        f"{name}: {found.documents:,} documents collected"
        + (f", {found.new:,} of them now" if found.new else "")
        + (f", {found.changed:,} changed" if found.changed else "")
        + (f", {found.removed:,} removed" if found.removed else "")
        + (f"; the source was read to its end on {found.finished[:10]}" if found.finished else "")
    )
    return str(found.file)
