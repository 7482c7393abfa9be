"""Files and folders that appear whole or not at all, whenever the process or the machine stops.

What is written goes beside its place and is renamed into it, as POSIX's rename(2) allows: whoever
reads sees what stood there before, or what stands there now.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """A text file (UTF-8, `\\n`) that takes the place of `path` when the block ends well.

    It is on the disk before it is renamed, so it stands after a power cut, too. Folders above it
    are made. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(directory: Path) -> Iterator[Path]:
    """An empty folder beside `directory` that takes its place when the block ends well.

    Whatever goes wrong, `directory` is as it was. Raises OSError.
    """
    place = directory.resolve()
    partial, older = (place.with_name(f".{place.name}.{os.getpid()}.{x}") for x in ("new", "old"))
    partial.mkdir(parents=True)
    try:
        yield partial
        if place.exists():
            place.rename(older)
        partial.rename(place)
    finally:
        if older.exists() and not place.exists():
            older.rename(place)
        for rest in (partial, older):
            shutil.rmtree(rest, ignore_errors=True)
