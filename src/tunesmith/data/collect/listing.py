"""Files that a setting names: files, folders and patterns, each under a stable name; and the walk
through them that finds out what has changed."""

from __future__ import annotations

import glob
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tunesmith.data.collect.document import Document
from tunesmith.data.collect.page import Cursor, Page
from tunesmith.errors import CollectError

PAGE_S = 1.0  # neither do many small files write the state often, nor do a few slow ones cost much

Faults = Mapping[str, int]


def walk(
    files: Mapping[str, Path],
    cursor: Cursor | None,
    read: Callable[[str], tuple[Sequence[Document], Faults]],
) -> Iterator[Page]:
    """Pages of files: those that have changed since the cursor, then new ones, by their names.

    The cursor holds each file's size and time of change; what it holds and is there no more is
    named by the first page. There is always a last page.
    """
    known: dict[str, str] = dict(cursor["files"]) if cursor else {}
    marks = {name: _mark(file) for name, file in files.items()}
    gone = known.keys() - files.keys()
    changed = [name for name in files if name in known and known[name] != marks[name]]
    left = [*changed, *(name for name in files if name not in known)]
    known = {name: mark for name, mark in known.items() if name in files}
    names, documents, faults = set(gone), list[Document](), Counter[str]()
    began = time.monotonic()
    for number, name in enumerate(left, start=1):
        found, wrong = read(name)
        documents += found
        faults.update(wrong)
        names.add(name)
        known[name] = marks[name]
        if number in (len(changed), len(left)) or time.monotonic() - began > PAGE_S:
            now = {"files": dict(known)}
            last = number == len(left)
            yield Page(tuple(documents), now, dict(faults), name, frozenset(names), last)
            names, documents, faults = set(), [], Counter()
            began = time.monotonic()
    if not left:
        yield Page((), {"files": known}, files=frozenset(names), last=True)


def listing(paths: Sequence[str], endings: Sequence[str]) -> dict[str, Path]:
    """Name -> file, sorted by name; of folders and patterns only files with one of the endings.

    A name does not say where on a machine a file lies: in a folder `docs` it is "docs/a.md", else
    the path as seen from here, or from where a pattern begins.
    """
    found: dict[str, Path] = {}
    for text in paths:
        for name, file in _matches(text, endings):
            other = found.setdefault(name, file)
            if other.resolve() != file.resolve():
                raise CollectError(
                    f"two files would be called {name}: {other} and {file}.",
                    hint="Collect them into two folders, or name a folder that holds both.",
                )
    return dict(sorted(found.items()))


def _matches(text: str, endings: Sequence[str]) -> list[tuple[str, Path]]:
    path = Path(text).expanduser()
    if path.is_dir():
        inside = [
            p for p in sorted(path.rglob("*")) if _wanted(p, endings) and not _hidden(p, path)
        ]
        named = [(f"{path.resolve().name}/{p.relative_to(path).as_posix()}", p) for p in inside]
    elif path.is_file():
        if not _wanted(path, endings):
            raise CollectError(
                f"{text}: files that end in {path.suffix or 'nothing'!r} are not read here.",
                hint=f"Give one of {', '.join(endings)}.",
            )
        named = [(_name(path, path.parent), path)]
    else:
        matches = map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207 - may be absolute
        named = [(_name(p, _root(path)), p) for p in sorted(matches) if _wanted(p, endings)]
    if not named:
        raise CollectError(
            f"{text}: no file here that ends in {', '.join(endings)}.",
            hint="Check the path; a pattern may go deep with **.",
        )
    return named


def _wanted(path: Path, endings: Sequence[str]) -> bool:
    return path.suffix.lower() in endings and path.is_file()


def _hidden(path: Path, folder: Path) -> bool:
    return any(
        part.startswith(".") or part in {"node_modules", "__pycache__"}
        for part in path.relative_to(folder).parts
    )


def _name(path: Path, root: Path) -> str:
    here, there = Path.cwd(), path.resolve()
    if there.is_relative_to(here):
        return there.relative_to(here).as_posix()
    return path.relative_to(root).as_posix()


def _root(pattern: Path) -> Path:
    """The folder that a pattern begins to search in."""
    return next(p for p in pattern.parents if not glob.has_magic(str(p)))


def _mark(file: Path) -> str:
    facts = file.stat()
    return f"{facts.st_size} {facts.st_mtime_ns}"
