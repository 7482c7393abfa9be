"""A version of a data set: its files, and the id that follows from its rows alone.

    arrow/PART.arrow          everything an Example holds
    PART.jsonl                ChatML of all sources, shuffled by the seed
    sources/NAME/PART.jsonl   the same rows, source by source
    DATASET_CARD.md           what it is, for people
    README.md                 the same text, under the name that `datasets` and the hub read
    ATTRIBUTION.md            whom to credit, where a licence asks for it
    manifest.json             hashes, counts, how to repeat (written by the store's artefacts)

The id hashes each part's rows: turns, answer, label and metadata. Not the order, the place in a
file, nor the time: the same rows are the same version on every machine.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tunesmith.data.attribution import FILE, attribution, works
from tunesmith.data.formats import chat, write_rows
from tunesmith.data.freeze import PARTS, read_splits, write_splits
from tunesmith.data.mix import shuffled
from tunesmith.errors import DataError
from tunesmith.records import Example, Splits, digest

ARROW = "arrow"
CARDS = ("DATASET_CARD.md", "README.md")
DEFAULT = "default"  # the configuration that holds all sources
GENERATED = frozenset({"generated", "paraphrased"})  # kinds of rows
_UNSAFE = re.compile(r"[^\w.-]+")


def content_id(splits: Splits) -> str:
    """SHA-256 over the parts and their rows, 64 hex digits."""
    whole = hashlib.sha256()
    for part in PARTS:
        for row in sorted(_row_id(example) for example in getattr(splits, part)):
            whole.update(f"{part} {row}\n".encode())
    return whole.hexdigest()


def write_version(directory: Path, splits: Splits, card: str, *, seed: int, name: str = "") -> None:
    """Write the files of a version, which people know as `name`, into `directory`."""
    write_splits(directory / ARROW, splits)
    folders = source_folders(counts(splits))
    files: dict[str, tuple[Example, ...]] = {}
    for part in PARTS:
        rows = shuffled(getattr(splits, part), seed=seed)
        if rows:
            files[f"{part}.jsonl"] = rows
            write_rows(directory / f"{part}.jsonl", ({"messages": chat(e)} for e in rows))
        for source, members in by_source(rows).items():
            place = directory / "sources" / folders[source] / f"{part}.jsonl"
            write_rows(place, ({"messages": chat(e)} for e in members))
    credits = attribution(works(files), name)
    texts = dict.fromkeys(CARDS, card) | ({FILE: credits} if credits else {})
    for file, text in texts.items():
        (directory / file).write_text(text, "utf-8", newline="\n")


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


def source_folders(sources: Iterable[str]) -> dict[str, str]:
    """A folder's name for each source: its own where it can be one, and no two the same.

    Neither in capitals alone, which some file systems do not tell apart, nor the name of the whole.
    """
    safe = {source: _UNSAFE.sub("_", source).strip(".") or "unnamed" for source in set(sources)}
    taken = {DEFAULT}
    found: dict[str, str] = {}
    for source in sorted(safe, key=lambda source: (safe[source] != source, source)):
        name, tries = safe[source], 0
        while name.casefold() in taken:
            tries += 1
            name = f"{safe[source]}-{digest(source, str(tries))[:8]}"
        taken.add(name.casefold())
        found[source] = name
    return found


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
    meta = example.meta
    made = meta.get("kind") in GENERATED or "augmented" in meta
    if made or meta.get("origin") == "generated":
        return "generated"
    if meta.get("origin") == "human":
        return "human"
    return said.get(meta.get("source", ""), "unknown")
