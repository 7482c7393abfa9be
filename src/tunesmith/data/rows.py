"""A file as Examples, whatever shape its rows have; rows that cannot be used are counted.

A file that `tunesmith data export --format jsonl` wrote comes back whole, with labels and metadata;
any other is read as a recipe would read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, islice
from pathlib import Path

from tunesmith.data.clean import clean
from tunesmith.data.formats import from_whole, is_whole
from tunesmith.data.read import read_rows
from tunesmith.data.shape import LOOKED_AT, guess_task
from tunesmith.data.source import Source
from tunesmith.records import Example
from tunesmith.tasks.base import get_task


def read_set(
    path: str, *, task: str | None = None, fields: Mapping[str, str] | None = None
) -> tuple[tuple[Example, ...], int]:
    """The usable examples of a file, glob, folder or hub id, and how many rows are not usable.

    DataError where none is usable.
    """
    name = Path(path).name if Path(path).exists() else path
    source = Source(name=name, path=path, fields=dict(fields or {}))
    rows = read_rows(source)
    first = list(islice(rows, LOOKED_AT))
    readable = [raw.row for raw in first if raw.row is not None]
    if task is None and not fields and readable and all(map(is_whole, readable)):
        every = list(chain(first, rows))
        read = tuple(from_whole(raw.row, raw.place) for raw in every if raw.row is not None)
        return read, len(every) - len(read)
    columns = {str(column) for row in readable for column in row}
    columns |= set(fields or {})
    cleaned = clean([source], get_task(task or guess_task(columns)))
    return cleaned.examples, len(cleaned.rejects)
