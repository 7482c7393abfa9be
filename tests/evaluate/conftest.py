"""A task with a closed set of labels, small enough for the tiny base; the base itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from tiny_models import load_base, write_base
from tunesmith.models.load import Loaded
from tunesmith.records import Example, Message, Outcome
from tunesmith.tasks.base import Draft, Parsed, Task, required_text
from tunesmith.tasks.refusal import is_refusal


class Colour(Task):
    """Name the colour that was asked for."""

    name = "colour"
    description = "one of three colours"
    labels = ("red", "green", "blue")
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "brief")
    primary = "accuracy"
    max_new_tokens = 12

    def shape(self, row: Mapping[str, object]) -> Draft:
        """A row with question and label."""
        label = required_text(row, "label")
        question = Message("user", required_text(row, "question"))
        return Draft((question,), f"{label}\nbecause", label, label)

    def parse(self, response: str) -> Parsed:
        """The first word, if it is a colour."""
        word = response.split(maxsplit=1)[0] if response.strip() else ""
        if word in self.labels:
            return Parsed(Outcome.SCORED, response, word)
        outcome = Outcome.REFUSED if is_refusal(response) else Outcome.UNPARSED
        return Parsed(outcome, response)

    def score(self, parsed: Parsed, example: Example) -> dict[str, float]:
        """Right, and right in few letters."""
        right = float(parsed.label is not None and parsed.label == example.label)
        return {"accuracy": right, "brief": right if len(parsed.text) < 40 else 0.0}


@pytest.fixture(scope="session")
def colour() -> Task:
    """The task."""
    return Colour()


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """A tiny Llama with random weights, in float32."""
    return load_base(write_base(tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="session")
def examples() -> list[Example]:
    """30 questions; the last six are twins: three duplicates, three with another label."""
    found = []
    for number in range(30):
        same = number % 24
        words = " ".join(("one", "two", "three", "four")[: 1 + same % 4] * (1 + same % 3))
        label = Colour.labels[(same + (number >= 27)) % 3]
        messages = (Message("system", "Answer with a colour."), Message("user", f"{same} {words}"))
        found.append(Example(messages, f"{label}\nbecause", label, place=f"rows:{number + 1}"))
    return found
