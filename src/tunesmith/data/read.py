"""Read: a path, a glob, a folder or a hub id -> rows with their places.

Local files are read by their ending, after a look at their first bytes: a file that is not what
its name says is refused with the name of what it seems to be. The readers are pyarrow and the
standard library; folders saved by `datasets` and hub data sets go through `datasets`.
"""

from __future__ import annotations

import glob
import gzip
import hashlib
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from tunesmith.data import columnar, hub, lines
from tunesmith.data.source import FileHash, RawRow, ResolvedSource, Source
from tunesmith.errors import DataError

READERS: dict[str, Callable[[Path, str], Iterator[RawRow]]] = {
    **columnar.READERS,
    ".jsonl": lines.read_jsonl,
    ".ndjson": lines.read_jsonl,
    ".json": lines.read_json,
    ".csv": lines.read_table,
    ".tsv": lines.read_table,
}
BINARY = {b"PAR1": ".parquet", b"ARROW1": ".arrow", b"\xff\xff\xff\xff": ".arrow"}
OTHER = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd"}
SAVED = ("state.json", "dataset_dict.json")


def resolve(source: Source) -> ResolvedSource:
    """Find what `source` names and pin it: files with their hashes, or the hub's commit.

    Raises DataError where nothing is found, or where the hub cannot be asked.
    """
    path = source.path
    if not path:
        raise DataError(
            f"Source {source.name!r} names no path.", hint="Give it a file, a glob or a hub id."
        )
    local = Path(path).expanduser()
    if local.is_dir():
        return _folder(source, local)
    if local.is_file():
        return _files(source, (local,))
    matches = glob.glob(str(local), recursive=True)  # noqa: PTH207 - a pattern may be absolute
    found = sorted(p for p in map(Path, matches) if p.is_file())
    if found:
        return _files(source, tuple(found))
    if hub.looks_like_hub_id(path) and _ending(local) not in READERS:
        revision = hub.resolve_revision(path, source.revision)
        return ResolvedSource(source, "hub", revision=revision)
    what = "no file matches this pattern" if glob.has_magic(path) else "no such file"
    raise DataError(
        f"{path}: {what}.",
        hint="Check the spelling; a hub data set is written owner/name.",
    )


def names(paths: Iterable[Path]) -> dict[Path, str]:
    """Under which name each file's rows are told: its own, with folders where two share it."""
    found = list(dict.fromkeys(paths))
    named = {path: path.name for path in found}
    depth = 2
    while len(set(named.values())) < len(named):
        shared = {name for name, n in Counter(named.values()).items() if n > 1}
        for path, name in named.items():
            if name in shared:
                named[path] = "/".join(path.absolute().parts[-depth:])
        depth += 1
    return named


def read_rows(
    source: Source | ResolvedSource, named: Mapping[Path, str] | None = None
) -> Iterator[RawRow]:
    """The rows of a source in the order of its files (sorted by name) and rows, with their places.

    `named` says under which name a file's rows are told, where more than this source is read.

    Unreadable rows of JSONL and CSV, and rows that are no objects, come as errors; an unreadable
    file raises DataError. At most `source.rows` rows.
    """
    resolved = source if isinstance(source, ResolvedSource) else resolve(source)
    return islice(_read(resolved, named or names(resolved.paths)), resolved.source.rows)


def _read(resolved: ResolvedSource, named: Mapping[Path, str]) -> Iterator[RawRow]:
    if resolved.kind == "hub":
        yield from hub.read_hub(resolved.source, str(resolved.revision))
    elif resolved.kind == "folder":
        yield from columnar.read_saved(resolved.paths[0], resolved.source.split)
    else:
        for path in resolved.paths:
            yield from READERS[_ending(path)](path, named[path])


def _folder(source: Source, folder: Path) -> ResolvedSource:
    arrows = sorted(folder.glob("*.arrow"))
    if any((folder / name).is_file() for name in SAVED):
        inside = sorted(p for p in folder.rglob("*") if p.suffix in (".arrow", ".json"))
        return ResolvedSource(source, "folder", (folder,), tuple(map(_hash, inside)))
    if arrows:
        return _files(source, tuple(arrows))
    endings = sorted({p.suffix for p in folder.iterdir() if p.suffix.lower() in READERS})
    raise DataError(
        f"{folder}: a folder, but no Arrow folder: it holds no state.json and no .arrow file.",
        hint=f"Give its files as a pattern: {folder / ('*' + endings[0])}"
        if endings
        else "Give a file, a pattern, or a folder written by save_to_disk.",
    )


def _ending(path: Path) -> str:
    """The ending that chooses the reader; text may be gzipped (.jsonl.gz)."""
    inner = lines.text_ending(path)
    return inner if inner not in columnar.READERS else path.suffix.lower()


def _files(source: Source, paths: tuple[Path, ...]) -> ResolvedSource:
    for path in paths:
        _look(path)
    return ResolvedSource(source, "files", paths, tuple(map(_hash, paths)))


def _look(path: Path) -> None:
    """Refuse a file that is empty, of no known ending, or not what its ending says."""
    ending = _ending(path)
    if ending not in READERS:
        raise DataError(
            f"{path}: no reader for files that end in {ending or 'nothing'!r}.",
            hint=f"Give one of {', '.join(READERS)}.",
        )
    head = _head(path)
    if not head.removeprefix(lines.BOM).strip():
        raise DataError(f"{path}: the file is empty.", hint="Write or fetch it again.")
    seems = _seems(head)
    binary = {".feather": ".arrow"}.get(ending, ending)
    if binary in columnar.READERS and seems != binary:
        raise DataError(
            f"{path}: not {ending[1:]}: it looks like {seems[1:] if seems else 'other data'}.",
            hint=f"Rename it to {path.stem}{seems}." if seems else "Write or fetch it again.",
        )
    if binary not in columnar.READERS and seems in columnar.READERS:
        raise DataError(
            f"{path}: not {ending[1:]}: it looks like {seems[1:]}.",
            hint=f"Rename it to {path.stem}{seems}.",
        )
    packed = next((name for magic, name in OTHER.items() if head.startswith(magic)), None)
    if packed:
        remedy = f"Rename it to {path.name}.gz." if packed == "gzip" else "Unpack it first."
        raise DataError(f"{path}: this is {packed} data, not {ending[1:]}.", hint=remedy)
    if binary not in columnar.READERS and (at := lines.no_text(head)) is not None:
        raise DataError(
            f"{path}: this is no text (byte 0x{head[at]:02x} at {at}), not {ending[1:]}.",
            hint="Check that it is the file you meant, or export it again as text in UTF-8.",
        )


def _head(path: Path) -> bytes:
    """The first bytes, unpacked where the name ends in .gz."""
    try:
        with lines.open_text(path) as file:
            return file.read(512)
    except gzip.BadGzipFile as error:
        raise DataError(
            f"{path}: not gzip data, though its name ends in .gz.",
            hint=f"Rename it to {path.stem}.",
        ) from error
    except (EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: the gzip data breaks off or is damaged: {error}.",
            hint="Fetch or pack it again; `gzip -t` tells whether it is whole.",
        ) from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}.", hint="Check its permissions."
        ) from error


def _seems(head: bytes) -> str:
    for magic, ending in BINARY.items():
        if head.startswith(magic):
            return ending
    # An Arrow stream of the old format begins with a bare length instead of the marker; datasets
    # has written the marker since Arrow 0.15.
    text = head.removeprefix(lines.BOM).lstrip()
    if text[:1] == b"[":
        return ".json"
    if text[:1] == b"{":
        return ".jsonl"
    printable = all(byte >= 0x20 or byte in b"\t\r\n" for byte in head)
    return ".csv" if printable and b"," in head else (".txt" if printable else "")


def _hash(path: Path) -> FileHash:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}.", hint="Check its permissions."
        ) from error
    return FileHash(str(path), digest, path.stat().st_size)
