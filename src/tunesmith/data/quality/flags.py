"""A Flag: one kind of fault, the rows that have it, and what one might do; told as a Finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.records import Example, Finding, Severity

SHOWN = 5  # rows told in a finding


@dataclass(frozen=True, slots=True)
class Hit:
    """A row by its position among the examples, and in a few words what is there (masked)."""

    row: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Flag:
    """A finding about single rows; `hits` in the order in which they are best looked at."""

    code: str
    severity: Severity
    message: str
    hits: tuple[Hit, ...]
    advice: str = ""

    @property
    def rows(self) -> frozenset[int]:
        """The rows that are hit, each once."""
        return frozenset(hit.row for hit in self.hits)


def told(flag: Flag, examples: Sequence[Example]) -> Finding:
    """The flag as a finding: how many rows, the places of some with what is there."""
    shown = tuple(
        f"{examples[hit.row].place}: {hit.note}" if hit.note else examples[hit.row].place
        for hit in flag.hits[:SHOWN]
    )
    return Finding(flag.code, flag.severity, flag.message, len(flag.rows), shown, flag.advice)
