"""Examples made from two texts, for the tests of the detectors."""

from __future__ import annotations

from typing import Any

from tunesmith.records import Example, Message


def example(prompt: str, target: str = "An answer.", place: str = "a:1", **rest: Any) -> Example:
    """An example with one user turn; `rest` is its label and meta."""
    return Example((Message("user", prompt),), target, place=place, **rest)
