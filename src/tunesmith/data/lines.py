"""Text formats: JSON lines, JSON arrays, CSV and TSV, plain or gzipped, streamed where it goes.

Bytes are decoded here, strictly as UTF-8, so that a broken byte is named with its line and its
offset in the file. A broken line of JSONL or CSV is set aside; broken JSON, which has no lines to
resume at, is a DataError.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from tunesmith.data.source import RawRow
from tunesmith.errors import DataError

BOM = b"\xef\xbb\xbf"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
CONTROL = frozenset(range(32)) - set(b"\t\n\v\f\r\x1a")  # bytes that text does not hold
LONGEST_FIELD = 2**31 - 1  # characters in one CSV field; the standard library's default is 131,072
DELIMITERS = {".csv": (",", ";", "\t"), ".tsv": ("\t",)}


def read_jsonl(path: Path, name: str) -> Iterator[RawRow]:
    """One object a line; blank lines are skipped, broken ones come as errors.

    NaN and infinities, which JSON does not know but Python writes, become None.
    """
    decode = _decoder().decode
    for number, offset, raw in _lines(path):
        if not raw.strip():
            continue
        place = f"{name}:{number}"
        try:
            value = decode(raw.decode("utf-8").strip())
        except UnicodeDecodeError as error:
            yield RawRow(place, None, _bad_byte(error, number, offset))
            continue
        except json.JSONDecodeError as error:
            if number == 1 and raw.lstrip()[:1] == b"[":
                _refuse_array(path)
            yield RawRow(place, None, f"not JSON: {error.msg} at column {error.colno}")
            continue
        except RecursionError:
            yield RawRow(place, None, "not usable: JSON nested too deeply")
            continue
        if isinstance(value, dict):
            yield _row(place, value)
        elif number == 1 and isinstance(value, list) and value and isinstance(value[0], dict):
            _refuse_array(path)
        else:
            yield RawRow(place, None, f"not an object but {_kind(value)}")


def read_json(path: Path, name: str) -> Iterator[RawRow]:
    """A JSON array of objects, or an object that holds exactly one such array."""
    raw = b"".join(line for _, _, line in _lines(path))
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}: {_bad_byte(error, line, 0)}",
            hint="Save the file as UTF-8 and try again.",
        ) from error
    try:
        value = _decoder().decode(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text.lstrip()[:1] == "{":
            raise DataError(
                f"{path}:{error.lineno}: this is JSON lines (one object a line), not JSON.",
                hint=f"Rename it to {path.stem}.jsonl.",
            ) from error
        raise DataError(
            f"{path}:{error.lineno}: not JSON: {error.msg} at column {error.colno}.",
            hint="Mend the file there, or write it as JSON lines: a bad line is then set aside.",
        ) from error
    except RecursionError as error:
        raise DataError(
            f"{path}: JSON nested too deeply to read.", hint="Give an array of plain objects."
        ) from error
    for number, item in enumerate(_records(path, value), start=1):
        place = f"{name}:{number}"
        if isinstance(item, dict):
            yield _row(place, item)
        else:
            yield RawRow(place, None, f"not an object but {_kind(item)}")


def read_table(path: Path, name: str) -> Iterator[RawRow]:
    """CSV or TSV with a header; a record with too few or too many fields comes as an error.

    The delimiter of a .csv is read off its header: comma, else semicolon, else tab.
    """
    csv.field_size_limit(LONGEST_FIELD)
    bad: dict[int, str] = {}
    text = _decoded(path, bad)
    first = next(text, "")
    if not first.strip():
        raise DataError(f"{path}: no header in its first line.", hint="Name the columns there.")
    ending = text_ending(path)
    delimiter = next((d for d in DELIMITERS[ending] if d in first), ",")
    reader = csv.reader(_chain(first, text), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader)]
    except csv.Error as error:
        raise DataError(
            f"{path}:1: the header cannot be read: {error}.", hint="Mend it."
        ) from error
    _check_header(path, header, bad)
    while True:
        line = reader.line_num + 1
        place = f"{name}:{line}"
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield RawRow(place, None, f"not {ending[1:].upper()}: {error}")
            continue
        broken = [bad.pop(n) for n in range(line, reader.line_num + 1) if n in bad]
        if broken:
            yield RawRow(place, None, broken[0])
        elif len(record) == len(header):
            yield RawRow(place, dict(zip(header, record, strict=True)))
        elif record:
            reason = f"ragged: {len(record)} fields where the header names {len(header)}"
            yield RawRow(place, None, reason)


def text_ending(path: Path) -> str:
    """The ending in lower case, without .gz."""
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


def open_text(path: Path) -> IO[bytes] | gzip.GzipFile:
    """The bytes of a plain or gzipped file."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rb")
    return path.open("rb")


def no_text(head: bytes) -> int | None:
    """Where a file's first bytes show that it holds no text, None where they may.

    A NUL is in no text. Another control byte may be one bad line, which is set aside as such; it
    tells where the bytes are no UTF-8 either. UTF-16, full of NULs, is named by its own error.
    """
    if head.startswith(UTF_16):
        return None
    if (nul := head.find(0)) >= 0:
        return nul
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return next((at for at, byte in enumerate(head) if byte in CONTROL), None)
    return None


class _DoubledKeys(dict[str, Any]):
    """An object in which a key stands twice: which value is meant, nobody can tell."""

    key = ""


def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(parse_constant=_no_number, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    doubled = _DoubledKeys(value)
    keys = [key for key, _ in pairs]
    doubled.key = next(key for key in keys if keys.count(key) > 1)
    return doubled


def _row(place: str, value: dict[str, Any]) -> RawRow:
    try:
        doubled = _doubled(value)
    except RecursionError:
        return RawRow(place, None, "not usable: JSON nested too deeply")
    if doubled is None:
        return RawRow(place, value)
    return RawRow(place, None, f"the key {doubled!r} stands twice in one object")


def _doubled(value: Any) -> str | None:
    """The first key that stands twice somewhere in a value; None where none does."""
    if isinstance(value, _DoubledKeys):
        return value.key
    parts = value.values() if isinstance(value, dict) else value
    for part in parts:
        if isinstance(part, dict | list) and (found := _doubled(part)) is not None:
            return found
    return None


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Number (from 1), offset of the first byte in the (unpacked) file, and each line's bytes."""
    offset, number = 0, 0
    with open_text(path) as file:
        try:
            for number, whole in enumerate(file, start=1):
                raw = _without_mark(path, whole) if number == 1 else whole
                yield number, offset + len(whole) - len(raw), raw
                offset += len(whole)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(
                f"{path}: the gzip data breaks off or is damaged after line {number}: {error}.",
                hint="Fetch or pack it again; `gzip -t` tells whether it is whole.",
            ) from error


def _decoded(path: Path, bad: dict[int, str]) -> Iterator[str]:
    """Lines as text; one that is no UTF-8 is noted in `bad` and decoded with replacements."""
    for number, offset, raw in _lines(path):
        try:
            yield raw.decode("utf-8")
        except UnicodeDecodeError as error:
            bad[number] = _bad_byte(error, number, offset)
            yield raw.decode("utf-8", "replace")


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _without_mark(path: Path, raw: bytes) -> bytes:
    if raw.startswith(UTF_16):
        raise DataError(
            f"{path}: this is UTF-16 text (its first bytes are {raw[:2].hex(' ')}).",
            hint="Save it as UTF-8, for instance: iconv -f UTF-16 -t UTF-8 old > new.",
        )
    return raw.removeprefix(BOM)


def _check_header(path: Path, header: list[str], bad: dict[int, str]) -> None:
    if 1 in bad:
        raise DataError(f"{path}: {bad[1]}, in the header.", hint="Save the file as UTF-8.")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(
            f"{path}:1: the header names {', '.join(map(repr, twice))} more than once.",
            hint="Give each column a name of its own.",
        )


def _records(path: Path, value: Any) -> list[Any]:
    if isinstance(value, dict):
        lists = [v for v in value.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
        if len(lists) == 1:
            return list(lists[0])
    if isinstance(value, list):
        return value
    raise DataError(
        f"{path}: holds {_kind(value)}, not an array of objects.",
        hint="Give an array of objects, or JSON lines with one object a line.",
    )


def _refuse_array(path: Path) -> None:
    raise DataError(
        f"{path}: this is a JSON array, not JSON lines.", hint=f"Rename it to {path.stem}.json."
    )


def _bad_byte(error: UnicodeDecodeError, line: int, offset: int) -> str:
    byte = error.object[error.start]
    return (
        f"not UTF-8: byte 0x{byte:02x} in line {line}, at byte {offset + error.start} of the file"
    )


def _no_number(_: str) -> None:
    return None


def _kind(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a truth value", type(None): "null"}
    names |= {dict: "an object", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)
