"""A version of a data set: its files, and the id that follows from its rows alone.

    arrow/PART.arrow          everything an Example holds
    PART.jsonl                ChatML of all sources, shuffled by the seed
    sources/NAME/PART.jsonl   the same rows, source by source
    DATASET_CARD.md           what it is, for people and for the hub
    manifest.json             hashes, counts, how to repeat (written by the store's artefacts)

The id hashes each part's rows: turns, answer, label and metadata. Not the order, the place in a
file, nor the time: the same rows are the same version on every machine.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tunesmith.data.formats import chat, write_rows
from tunesmith.data.freeze import PARTS, read_splits, write_splits
from tunesmith.data.mix import shuffled
from tunesmith.errors import DataError
from tunesmith.records import Example, Splits, digest

ARROW = "arrow"
CARD = "DATASET_CARD.md"
_UNSAFE = re.compile(r"[^\w.-]+")


def content_id(splits: Splits) -> str:
    """SHA-256 over the parts and their rows, 64 hex digits."""
    whole = hashlib.sha256()
    for part in PARTS:
        for row in sorted(_row_id(example) for example in getattr(splits, part)):
            whole.update(f"{part} {row}\n".encode())
    return whole.hexdigest()


def write_version(directory: Path, splits: Splits, card: str, *, seed: int) -> None:
    """Write the files of a version into `directory`."""
    write_splits(directory / ARROW, splits)
    for part in PARTS:
        rows = shuffled(getattr(splits, part), seed=seed)
        if rows:
            write_rows(directory / f"{part}.jsonl", ({"messages": chat(e)} for e in rows))
        for name, members in by_source(rows).items():
            place = directory / "sources" / folder(name) / f"{part}.jsonl"
            write_rows(place, ({"messages": chat(e)} for e in members))
    (directory / CARD).write_text(card, "utf-8")


def is_version(directory: Path) -> bool:
    """Whether a folder holds the parts of a version."""
    return (directory / ARROW / "train.arrow").is_file()


def read_version(directory: Path) -> Splits:
    """The parts of a version; DataError where a file of it is missing or damaged."""
    if not is_version(directory):
        raise DataError(
            f"{directory}: not a version of a data set ({ARROW}/train.arrow is missing).",
            hint="`tunesmith data freeze RECIPE` writes one.",
        )
    return read_splits(directory / ARROW)


def by_source(examples: Sequence[Example]) -> dict[str, list[Example]]:
    """The examples of each source."""
    found: dict[str, list[Example]] = {}
    for example in examples:
        found.setdefault(example.meta.get("source", ""), []).append(example)
    return found


def counts(splits: Splits) -> dict[str, dict[str, int]]:
    """Examples of each source in each part."""
    found: dict[str, Counter[str]] = {}
    for part in PARTS:
        for name, members in by_source(getattr(splits, part)).items():
            found.setdefault(name, Counter())[part] += len(members)
    return {name: {part: count[part] for part in PARTS} for name, count in sorted(found.items())}


def folder(source: str) -> str:
    """A source's name as a folder's."""
    return _UNSAFE.sub("_", source).strip(".") or "unnamed"


def _row_id(example: Example) -> str:
    meta = [text for pair in sorted(example.meta.items()) for text in pair]
    return digest(example.id, *meta)


def origins(splits: Splits, said: Mapping[str, str]) -> dict[str, int]:
    """Examples whose answer a human wrote, that were generated, and of which nobody said it."""
    every = (e for part in PARTS for e in getattr(splits, part))
    return dict(Counter(origin(e, said) for e in every))


def origin(example: Example, said: Mapping[str, str]) -> str:
    """human, generated or unknown: by the row's own word, else by what the recipe says of its
    source (`said`)."""
    if example.meta.get("kind") in GENERATED or example.meta.get("origin") == "generated":
        return "generated"
    if example.meta.get("origin") == "human":
        return "human"
    return said.get(example.meta.get("source", ""), "unknown")


GENERATED = frozenset({"generated", "paraphrased", "flipped", "mended"})
