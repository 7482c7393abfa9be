"""Clean: every row is kept, repaired or set aside with its place and reason; none is lost.

Labels are repaired by the task's explicit aliases only. Duplicates and contradictions are not
removed here: they are counted by `check` over the rendered prompt, and `split` keeps them on one
side.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tunesmith.data.read import names, read_rows, resolve
from tunesmith.data.shape import (
    GENERIC,
    LOOKED_AT,
    NULL_LABEL,
    MissingColumnError,
    Shape,
    Shaped,
    map_fields,
    recognise,
    to_example,
)
from tunesmith.data.source import RawRow, ResolvedSource, Source
from tunesmith.errors import DataError
from tunesmith.records import Example, Reject
from tunesmith.tasks.base import Task

TokenLengths = Callable[[Sequence[Example]], list[int]]  # tokens of prompt and answer, rendered
ASKED_AT_ONCE = 1024  # examples given to a TokenLengths function in one call


@dataclass(frozen=True, slots=True)
class Repair:
    """A label that was repaired: where, and from which spelling to which label."""

    place: str
    written: str
    label: str


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What cleaning made of some sources.

    `prompt_keys` and `places` are those of `examples`; `aside_keys` are the prompts of rows that
    were set aside for their label alone, which count as duplicates, too. `lengths` are tokens of
    the examples, there where a `token_lengths` was handed in. `rows` = examples + rejects.
    """

    rows: int
    examples: tuple[Example, ...]
    rejects: tuple[Reject, ...]
    prompt_keys: tuple[str, ...]
    aside_keys: tuple[tuple[str, str], ...]  # (place, prompt key)
    aside_texts: tuple[str, ...]  # their prompts as they are compared
    repairs: tuple[Repair, ...]
    unknown_labels: Mapping[str, int]
    shapes: Mapping[str, Shape | None]
    resolved: tuple[ResolvedSource, ...]
    lengths: tuple[int, ...] | None = None

    @property
    def repaired_labels(self) -> dict[str, int]:
        """How often each spelling was repaired."""
        return dict(Counter(repair.written for repair in self.repairs).most_common())


@dataclass(slots=True)
class _Tray:
    """Where the rows are laid, one after the other: each lands in `examples` or in `rejects`."""

    examples: list[Example] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    aside: list[tuple[str, str]] = field(default_factory=list)
    aside_texts: list[str] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)

    def put(self, place: str, shaped: Shaped) -> None:
        if shaped.example is not None:
            self.examples.append(shaped.example)
            self.keys.append(str(shaped.prompt_key))
            if shaped.repaired is not None:
                self.repairs.append(Repair(place, shaped.repaired, str(shaped.example.label)))
        elif shaped.reject is not None:
            self.rejects.append(shaped.reject)
            if shaped.unknown is not None:
                self.unknown[shaped.unknown] += 1
            if shaped.prompt_key is not None:
                self.aside.append((place, shaped.prompt_key))
                self.aside_texts.append(shaped.prompt or "")


def clean(
    sources: Sequence[Source],
    task: Task,
    *,
    token_lengths: TokenLengths | None = None,
) -> Cleaned:
    """Read the sources and make an Example, or a Reject, of every row.

    Raises DataError for a file that cannot be read, for a field that no row has, and where no row
    is usable.
    """
    tray = _Tray()
    shapes: dict[str, Shape | None] = {}
    resolved = [resolve(source) for source in sources]
    named = names(path for pinned in resolved for path in pinned.paths)
    for source, pinned in zip(sources, resolved, strict=True):
        shape, rows = _look_ahead(read_rows(pinned, named), source, task)
        shapes[source.name] = shape
        for raw in rows:
            tray.put(raw.place, to_example(raw, task, shape, source))
    cleaned = Cleaned(
        rows=len(tray.examples) + len(tray.rejects),
        examples=tuple(tray.examples),
        rejects=tuple(tray.rejects),
        prompt_keys=tuple(tray.keys),
        aside_keys=tuple(tray.aside),
        aside_texts=tuple(tray.aside_texts),
        repairs=tuple(tray.repairs),
        unknown_labels=dict(tray.unknown.most_common()),
        shapes=shapes,
        resolved=tuple(resolved),
        lengths=None if token_lengths is None else _measured(tray.examples, token_lengths),
    )
    _check_usable(cleaned, sources, task)
    return cleaned


def write_rejects(path: Path, rejects: Sequence[Reject]) -> None:
    """Write one JSON object a line: place, reason, row. Values that JSON lacks become text."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for reject in rejects:
            record = {"place": reject.place, "reason": reject.reason, "row": dict(reject.row)}
            text = json.dumps(record, ensure_ascii=False, default=str)
            # Half a surrogate pair, a reason to set a row aside, has no UTF-8: escape that row.
            if any("\ud800" <= c <= "\udfff" for c in text):
                text = json.dumps(record, default=str)
            file.write(text + "\n")


def _look_ahead(
    rows: Iterator[RawRow], source: Source, task: Task
) -> tuple[Shape | None, Iterator[RawRow]]:
    """The shape told from the first rows, and the rows from the first on."""
    first = list(islice(rows, LOOKED_AT))
    readable = [raw.row for raw in first if raw.row is not None]
    mapped: list[Mapping[str, Any]] = list(readable)
    if source.fields and readable:
        mapped = []
        missing = ""
        for row in readable:
            try:
                mapped.append(map_fields(row, source.fields))
            except MissingColumnError as error:
                missing = error.column
        if not mapped:
            raise DataError(
                f"{source.path}: no column {missing!r}, which fields of source {source.name!r} "
                f"names.",
                hint=f"Its columns are {', '.join(map(str, readable[0]))}.",
            )
    shape = recognise(mapped, source.fields) if task.name == GENERIC else None
    return shape, chain(first, rows)


def _check_usable(cleaned: Cleaned, sources: Sequence[Source], task: Task) -> None:
    if cleaned.examples:
        return
    names = ", ".join(str(source.path) for source in sources)
    if not cleaned.rejects:
        raise DataError(f"{names}: no rows.", hint="Check that these are the files you meant.")
    reasons = Counter(reject.reason for reject in cleaned.rejects).most_common(1)[0]
    first = next(reject for reject in cleaned.rejects if reject.reason == reasons[0])
    raise DataError(
        f"{names}: none of {cleaned.rows} rows is usable; {reasons[1]} of them: {reasons[0]} "
        f"({first.place}).",
        hint=_remedy(cleaned, reasons[0], first, task),
    )


def _remedy(cleaned: Cleaned, reason: str, first: Reject, task: Task) -> str:
    """What to do where every row was set aside: about labels, or about columns."""
    if sum(cleaned.unknown_labels.values()) * 2 > cleaned.rows or reason == NULL_LABEL:
        aliases = ", ".join(f"{alias} (for {label})" for alias, label in task.aliases.items())
        return (
            f"The labels of {task.name} are {', '.join(task.labels)}"
            + (f"; it also takes {aliases}" if aliases else "")
            + ". Rename them in the source, or write a task with labels of your own (--task)."
        )
    columns = ", ".join(str(c) for c in list(first.row)[:12])
    known = f"The columns are {columns}; map them with fields, or name " if columns else "Name "
    return known + "the task that the data is for (--task)."


def _measured(examples: Sequence[Example], token_lengths: TokenLengths) -> tuple[int, ...]:
    lengths: list[int] = []
    for start in range(0, len(examples), ASKED_AT_ONCE):
        lengths.extend(token_lengths(examples[start : start + ASKED_AT_ONCE]))
    return tuple(lengths)
