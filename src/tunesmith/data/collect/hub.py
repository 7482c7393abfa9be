"""Rows of a Hugging Face data set as documents, at one commit, through the reading layer."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from tunesmith.config.collect import HUB_FIELDS, HubSettings
from tunesmith.data.collect.document import Document
from tunesmith.data.collect.page import Cursor, Page
from tunesmith.data.read import read_rows, resolve
from tunesmith.data.source import RawRow, ResolvedSource, Source
from tunesmith.errors import CollectError


def collect_hub(settings: HubSettings, cursor: Cursor | None = None) -> Iterator[Page]:
    """Pages of rows; a collection that goes on reads the commit that it began with."""
    start = int(cursor["row"]) if cursor else 0
    revision = str(cursor["pin"]) if cursor and cursor["hub"] else settings.revision
    source = resolve(Source("hub", path=settings.path, split=settings.split, revision=revision))
    pin = _pin(source)
    if cursor and cursor["pin"] != pin:
        raise CollectError(
            f"{settings.path}: has changed since the collection began.",
            hint="Add --refresh to begin anew with what is there now.",
        )
    rows = islice(read_rows(source), start, None)
    batch = list(islice(rows, settings.batch))
    while True:
        following = list(islice(rows, settings.batch))
        start += len(batch)
        documents, skipped = _documents(settings, source, batch)
        more = {"row": start, "pin": pin, "hub": source.kind == "hub"}
        yield Page(documents, more if following else None, skipped, note=f"{start:,} rows")
        if not following:
            return
        batch = following


def _pin(source: ResolvedSource) -> str:
    return source.revision or " ".join(file.sha256 for file in source.files)


def _documents(
    settings: HubSettings, source: ResolvedSource, rows: list[RawRow]
) -> tuple[tuple[Document, ...], Mapping[str, int]]:
    documents, skipped = [], Counter[str]()
    _check_columns(settings, rows)
    for row in rows:
        if row.row is None:
            skipped[f"unreadable row: {row.error}"] += 1
            continue
        values = {name: _text(_value(row.row, c)) for name, c in settings.fields.items()}
        if not values["text"].strip():
            skipped["no text"] += 1
        elif "answer" in values and not values["answer"].strip():
            skipped["no answer"] += 1
        else:
            documents.append(_document(settings, source, row.place, values))
    return tuple(documents), skipped


def _document(
    settings: HubSettings, source: ResolvedSource, place: str, values: Mapping[str, str]
) -> Document:
    name = settings.path.partition(":")[0]
    page = f"https://huggingface.co/datasets/{name}" if source.kind == "hub" else ""
    own = values.get("id")
    return Document(
        id=f"hub:{name}:{own}" if own else f"hub:{place}",
        source="hub",
        url=values.get("url") or page,
        title=values.get("title", ""),
        text=values["text"],
        answer=values.get("answer"),
        licence=values.get("licence") or settings.licence,
        author=values.get("author") or settings.author,
        date=values.get("date", ""),
        meta={
            **{k: v for k, v in values.items() if k not in HUB_FIELDS and v},
            **({"revision": source.revision} if source.revision else {}),
            "place": place,
        },
    )


def _check_columns(settings: HubSettings, rows: list[RawRow]) -> None:
    """Refuse columns that the first readable row does not have. Of a dotted one the parent
    suffices: objects leave out keys that are empty, as later rows of JSON lines may."""
    first = next((row for row in rows if row.row is not None), None)
    if first is None or first.row is None:
        return
    for name, column in settings.fields.items():
        if column not in first.row and column.partition(".")[0] not in first.row:
            raise CollectError(
                f"{first.place}: has no column {column}; it has {', '.join(map(str, first.row))}.",
                hint=f"Set fields: {{{name}: COLUMN}} to one of these.",
            )


def _value(row: Mapping[str, Any], column: str) -> Any:
    """The value of a column; one inside objects is written with dots."""
    if column in row:
        return row[column]
    value: Any = row
    for part in column.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
