"""What it takes to be asked: the protocol of everything that answers, and what it says.

A model, a cheap baseline and a script all answer here in the same way, so that whoever asks
(`evaluate.answer`) need not know which one it is. No torch: baselines and scripts have no use
for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from tunesmith.records import Example


@dataclass(frozen=True, slots=True)
class Reply:
    """What was said to the example at `index`: a response, or a `failure` that says why none came.

    `seconds` is this reply's share of the time, `tokens` what was written (or read) for it.
    """

    index: int
    response: str = ""
    seconds: float = 0.0
    tokens: int = 0
    failure: str = ""


class Responder(Protocol):
    """Something that answers. It sees the prompt of an example; the gold answer is not for it."""

    def replies(self, examples: Sequence[Example]) -> Iterator[Sequence[Reply]]:
        """Answer every example once, in any order, a few at a time as they are ready."""
        ...
