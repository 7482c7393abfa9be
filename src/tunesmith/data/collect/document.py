"""A collected document: text with its source, licence, place, author and date.

One record for every collector, one JSON object a line with always the same keys, so that a file of
documents is an ordinary JSONL source of a recipe.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tunesmith.errors import DataError


@dataclass(frozen=True, slots=True)
class Document:
    """`id` is stable over collections ("arxiv:2401.01234v2", "file:docs/a.md#2"). `text` is
    Markdown, of a question its body; `answer` is the accepted or best answer, or the DOT of a pair.
    `licence` is an SPDX expression where there is one; `author` the credit; `date` is ISO 8601.
    """

    id: str
    source: str
    url: str
    title: str
    text: str
    answer: str | None = None
    licence: str = ""
    author: str = ""
    date: str = ""
    meta: Mapping[str, str] = field(default_factory=dict)


KEYS = tuple(Document.__dataclass_fields__)


def to_json(document: Document) -> str:
    """One line of JSON, without its end."""
    return json.dumps(asdict(document), ensure_ascii=False)


def from_json(line: str) -> Document:
    """The document of a line; DataError where it is none."""
    try:
        values: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"not a collected document: {error.msg} at column {error.colno}",
            hint="Collect it again, or remove the line.",
        ) from error
    if not isinstance(values, dict) or set(values) != set(KEYS):
        raise DataError(
            "not a collected document: its keys are not " + ", ".join(KEYS),
            hint="Files of documents are written by `tunesmith data collect`.",
        )
    return Document(**values)
