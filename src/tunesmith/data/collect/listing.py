"""Files that a setting names: files, folders and patterns, each under a stable name."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from tunesmith.errors import CollectError


def listing(paths: Sequence[str], endings: Sequence[str]) -> dict[str, Path]:
    """Name -> file, sorted by name; of folders and patterns only files with one of the endings.

    A name does not say where on a machine a file lies: in a folder `docs` it is "docs/a.md", else
    the path as seen from here, or the bare name.
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
        named = [(_name(path), path)]
    else:
        matches = map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207 - may be absolute
        named = [(_name(p), p) for p in sorted(matches) if _wanted(p, endings)]
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


def _name(path: Path) -> str:
    here, there = Path.cwd(), path.resolve()
    return there.relative_to(here).as_posix() if there.is_relative_to(here) else path.name
