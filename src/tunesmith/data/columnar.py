"""Parquet and Arrow, read with pyarrow in batches; folders saved by `datasets`.

A null and a NaN both come out as None: pandas writes the one for the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tunesmith.data.source import RawRow
from tunesmith.errors import DataError, first_line

BATCH = 4096  # rows; about 4 MB of OrgAccess-sized rows


def read_parquet(path: Path, name: str) -> Iterator[RawRow]:
    """Rows of a parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield from _rows(file.schema_arrow, file.iter_batches(batch_size=BATCH), name)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: not a readable parquet file: {first_line(error)}",
            hint="Fetch or write it again; if it is text, give it the ending of what it is.",
        ) from error


def read_arrow(path: Path, name: str) -> Iterator[RawRow]:
    """Rows of an Arrow IPC file (Feather v2) or stream."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as memory:
            try:
                file = pa.ipc.open_file(memory)
                batches = (file.get_batch(i) for i in range(file.num_record_batches))
                schema = file.schema
            except pa.ArrowInvalid:
                memory.seek(0)
                stream = pa.ipc.open_stream(memory)
                batches, schema = iter(stream), stream.schema
            yield from _rows(schema, batches, name)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: not a readable Arrow file: {first_line(error)}",
            hint="Write it again with pyarrow or datasets.",
        ) from error


def read_saved(folder: Path, split: str | None) -> Iterator[RawRow]:
    """Rows of a folder written by `datasets`' save_to_disk; `split` where it holds several."""
    import datasets

    try:
        loaded = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder}: not a readable folder of `datasets`: {first_line(error)}",
            hint="Write it again with save_to_disk, or give the data files themselves.",
        ) from error
    yield from read_dataset(pick_split(loaded, split, str(folder)), folder.name)


def pick_split(loaded: Any, split: str | None, name: str) -> Any:
    """The one split that was asked for, or the only one there is; DataError otherwise."""
    import datasets

    if not isinstance(loaded, datasets.DatasetDict):
        return loaded
    names = list(loaded)
    if split is None and len(names) == 1:
        return loaded[names[0]]
    if split in names:
        return loaded[split]
    asked = "no split was named" if split is None else f"there is no split {split!r}"
    raise DataError(
        f"{name}: {asked}; it has {', '.join(names)}.", hint=f"Say split: {names[0]} in the recipe."
    )


def read_dataset(dataset: Any, name: str) -> Iterator[RawRow]:
    """Rows of a `datasets.Dataset`, in its order."""
    plain = dataset.with_format("arrow")
    tables = plain.iter(batch_size=BATCH)
    batches = (batch for table in tables for batch in table.to_batches())
    yield from _rows(dataset.features.arrow_schema, batches, name)


def _rows(schema: Any, batches: Iterator[Any], name: str) -> Iterator[RawRow]:
    cleaned = _without_nan if _may_hold_nan(schema) else None
    number = 0
    for batch in batches:
        for row, error in _plain(batch):
            number += 1
            place = f"{name}:{number}"
            if row is None:
                yield RawRow(place, None, error)
            else:
                yield RawRow(place, cleaned(row) if cleaned else row)


def _plain(batch: Any) -> Iterator[tuple[dict[str, Any] | None, str | None]]:
    """Python values of a batch; a row whose text is no UTF-8 is told apart from its neighbours."""
    try:
        rows = batch.to_pylist()
    except (UnicodeDecodeError, ValueError, OverflowError):
        for i in range(batch.num_rows):
            try:
                yield batch.slice(i, 1).to_pylist()[0], None
            except (UnicodeDecodeError, ValueError, OverflowError) as error:
                yield None, f"a value cannot be read: {first_line(error)}"
    else:
        for row in rows:
            yield row, None


def _may_hold_nan(schema: Any) -> bool:
    kinds = ("float", "double", "halffloat")
    return any(any(kind in str(field.type) for kind in kinds) for field in schema)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return value


READERS: dict[str, Callable[[Path, str], Iterator[RawRow]]] = {
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".feather": read_arrow,
}
