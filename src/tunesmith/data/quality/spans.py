"""A stretch of text that is private, by its kind."""

from __future__ import annotations

from typing import NamedTuple


class Span(NamedTuple):
    """From `start` up to `end`, and what stands there ("email", "GitHub Token")."""

    kind: str
    start: int
    end: int
