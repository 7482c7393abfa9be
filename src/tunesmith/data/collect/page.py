"""What collectors hand over: a page of documents, and where to go on from."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunesmith.data.collect.document import Document
from tunesmith.errors import CollectError

Cursor = Mapping[str, Any]  # JSON values; what a collector needs to go on from


@dataclass(frozen=True, slots=True)
class Page:
    """Documents in their order; `skipped` counts what was met and left out, by reason; `cursor` is
    where the next page begins, None where this was the last.

    `files` are names whose documents (KIND:NAME#...) and faults (NAME: ...) this page says anew:
    earlier ones that it does not repeat are gone. A collector of files says `last` itself, for its
    cursor is how it finds out later what has changed.
    """

    documents: tuple[Document, ...]
    cursor: Cursor | None
    skipped: Mapping[str, int] = field(default_factory=dict)
    note: str = ""
    files: frozenset[str] = frozenset()
    last: bool = False

    @property
    def done(self) -> bool:
        return self.last or self.cursor is None


def library(name: str) -> Any:
    """A library of the extra `collect`; CollectError that says how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise CollectError(
            f"this collector needs the Python library {name}, which is not installed.",
            hint="Install the extra: pip install 'tunesmith[collect]'",
        ) from error
