"""What differs between two recipes, for the person who meant them to be the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

ABSENT = "not there"


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """One line for each value that differs: its dotted key, what it was, what it is."""
    old, new = dict(_leaves(before)), dict(_leaves(now))
    return [
        f"{key} was {old.get(key, ABSENT)}, is {new.get(key, ABSENT)}"
        for key in dict.fromkeys((*old, *new))
        if old.get(key, ABSENT) != new.get(key, ABSENT)
    ]


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
